"""Ways to guide CIFAR-10's small DDPM when it is told the class, as in the paper."""

from rgd.lab.comparison import Comparison, Entry, small

DENOISER = "cifar10/ddpm"
CLASSIFIERS = {
    "vanilla": "cifar10/vanilla",
    "robust": "cifar10/robust",
    "robust, radius 1": "cifar10/robust_1",
}
# Ten times MNIST's: this denoiser is a poor one, and a classifier has much to add.
SCALES = (2.0, 4.0, 8.0, 11.0, 16.0, 23.0, 32.0)

experiment = Comparison(
    data="cifar10",
    judge="cifar10/judge",
    entries=(
        Entry("none", DENOISER),
        *(Entry(name, DENOISER, "classifier", model, SCALES) for name, model in CLASSIFIERS.items()),
        Entry("classifier-free", DENOISER, "classifier-free", None, (1.4, 2.0, 3.0, 4.0, 5.7, 8.0, 11.0, 16.0)),
        Entry("autoguidance", DENOISER, "autoguidance", "cifar10/early", (1.06, 1.12, 1.25, 1.4, 1.7, 2.0)),
        Entry(
            "robust, t from 100 to 599",
            DENOISER,
            "classifier",
            "cifar10/robust",
            (8.0, 11.0, 16.0, 23.0, 32.0),
            (100, 600),
        ),
        Entry("clean", DENOISER, "classifier", "cifar10/clean", (0.5, 1.0, 2.0, 4.0)),
    ),
    pairs=(
        ("robust", "vanilla"),
        ("robust, radius 1", "vanilla"),
        ("vanilla", "none"),
        ("robust", "classifier-free"),
        ("robust", "autoguidance"),
        ("robust, t from 100 to 599", "robust"),
    ),
    samples=1000,
    headline_samples=3000,
)
quick = small(experiment)
