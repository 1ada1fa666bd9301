"""What cheaper robust training buys on MNIST: guidance, with the unconditional DDPM."""

from rgd.lab.comparison import Comparison, Entry, small

SCALES = (2.0, 2.4, 2.8, 3.4, 4.0, 4.8)
FARTHER = (4.0, 4.8, 5.7, 6.7, 8.0, 9.5, 11.3)  # for the two whose gradient is shorter where the noise is strong
CLASSIFIERS = {"vanilla": SCALES, "free": FARTHER, "fgsm": FARTHER, "pgd3": SCALES, "robust_1": SCALES}
experiment = Comparison(
    data="mnist",
    judge="mnist/judge",
    entries=tuple(
        Entry(name, "mnist/ddpm", "classifier", f"mnist/{name}", scales) for name, scales in CLASSIFIERS.items()
    ),
    pairs=tuple((name, "robust_1") for name in CLASSIFIERS if name != "robust_1"),
    headline_samples=5000,
)
quick = small(experiment)
