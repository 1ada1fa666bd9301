"""What cheaper robust training buys on MNIST: guidance, with the unconditional DDPM."""

from rgd.comparison import Comparison, Entry, small

SCALES = (2.0, 2.4, 2.8, 3.4, 4.0, 4.8)
NAMES = ("vanilla", "free", "fgsm", "pgd3", "robust_1")
experiment = Comparison(
    data="mnist",
    judge="mnist/judge",
    entries=tuple(Entry(name, "mnist/ddpm", "classifier", f"mnist/{name}", SCALES) for name in NAMES),
    pairs=tuple((name, "robust_1") for name in NAMES[:-1]),
    headline_samples=5000,
)
quick = small(experiment)
