"""Ways to guide CIFAR-10's small DDPM, which is not told the class: as compare_mnist.py, with fewer samples."""

from rgd.lab.comparison import Comparison, Entry, small

DENOISER = "cifar10/ddpm"
CLASSIFIERS = {
    "vanilla": "cifar10/vanilla",
    "robust": "cifar10/robust",
    "robust, radius 1": "cifar10/robust_1",
}
# As in compare_cifar10_conditional.py, and larger still: here the guide alone decides the class.
SCALES = (4.0, 8.0, 16.0, 23.0, 32.0, 45.0, 64.0)

experiment = Comparison(
    data="cifar10",
    judge="cifar10/judge",
    entries=(
        Entry("none", DENOISER, blind=True),
        *(Entry(name, DENOISER, "classifier", model, SCALES, blind=True) for name, model in CLASSIFIERS.items()),
        Entry("clean", DENOISER, "classifier", "cifar10/clean", (1.0, 2.0, 4.0, 8.0, 16.0), blind=True),
        Entry(
            "robust, t from 100 to 599",
            DENOISER,
            "classifier",
            "cifar10/robust",
            (16.0, 23.0, 32.0, 45.0, 64.0),
            (100, 600),
            blind=True,
        ),
        Entry(
            "clean, at x0, capped", DENOISER, "at x0", "cifar10/clean", (1.0, 2.0, 4.0, 8.0, 16.0), blind=True, most=3.0
        ),
    ),
    pairs=(("robust", "vanilla"), ("robust, radius 1", "vanilla"), ("vanilla", "none")),
    samples=1000,
    headline_samples=3000,
)
quick = small(experiment)
