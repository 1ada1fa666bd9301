"""Ways to guide CIFAR-10's small DDPM: told the class or not."""

from rgd.comparison import Comparison, Entry, small

DENOISER = "cifar10/ddpm"
CLASSIFIERS = {
    "clean": "cifar10/clean",
    "vanilla": "cifar10/vanilla",
    "robust": "cifar10/robust",
    "robust, radius 1": "cifar10/robust_1",
}
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
TOLD = tuple(scale / 4 for scale in SCALES)  # the model knows the class already

experiment = Comparison(
    data="cifar10",
    judge="cifar10/judge",
    entries=(
        Entry("none", DENOISER, blind=True),
        *(Entry(name, DENOISER, "classifier", model, SCALES, blind=True) for name, model in CLASSIFIERS.items()),
        Entry("clean, at x0", DENOISER, "at x0", "cifar10/clean", SCALES, blind=True),
        Entry("none, told", DENOISER),
        Entry("vanilla, told", DENOISER, "classifier", "cifar10/vanilla", TOLD),
        Entry("robust, told", DENOISER, "classifier", "cifar10/robust", TOLD),
        Entry("classifier-free", DENOISER, "classifier-free", None, (1.25, 1.5, 2.0, 3.0)),
    ),
    pairs=(("robust", "vanilla"), ("robust, radius 1", "vanilla"), ("robust, told", "vanilla, told")),
    samples=1000,
    headline_samples=5000,
)
quick = small(experiment)
