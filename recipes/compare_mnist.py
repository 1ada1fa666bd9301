"""Ways to guide MNIST's unconditional DDPM."""

from rgd.comparison import Comparison, Entry, small

DENOISER = "mnist/ddpm"
CLASSIFIERS = {
    "clean": "mnist/clean",
    "vanilla": "mnist/vanilla",
    "robust": "mnist/robust",
    "robust, radius 1": "mnist/robust_1",
    "robust, radius 2": "mnist/robust_2",
    "robust, growing radius": "mnist/robust_growing",
}
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

experiment = Comparison(
    data="mnist",
    judge="mnist/judge",
    entries=(
        Entry("none", DENOISER),
        *(Entry(name, DENOISER, "classifier", model, SCALES) for name, model in CLASSIFIERS.items()),
        Entry("robust, t from 100 to 599", DENOISER, "classifier", "mnist/robust", SCALES, (100, 600)),
        Entry("clean, through x0", DENOISER, "through x0", "mnist/clean", SCALES),
        Entry("clean, at x0", DENOISER, "at x0", "mnist/clean", tuple(4 * scale for scale in SCALES)),
    ),
    pairs=(
        *((name, "vanilla") for name in CLASSIFIERS if name.startswith("robust")),
        ("robust, t from 100 to 599", "vanilla"),
    ),
)


quick = small(experiment)
