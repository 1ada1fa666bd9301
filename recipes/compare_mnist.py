"""Ways to guide MNIST's unconditional DDPM."""

from rgd.lab.comparison import Comparison, Entry, small

DENOISER = "mnist/ddpm"
CLASSIFIERS = {
    "vanilla": "mnist/vanilla",
    "robust": "mnist/robust",
    "robust, radius 1": "mnist/robust_1",
    "robust, radius 2": "mnist/robust_2",
    "robust, growing radius": "mnist/robust_growing",
    "robust, shrinking radius": "mnist/robust_shrinking",
}
# A quarter of an octave apart where the best are: FD-judge rises steeply to both sides, and a coarse grid would compare
# one guide at its best with another beside it.
SCALES = (1.0, 1.4, 2.0, 2.4, 2.8, 3.4, 4.0, 4.8, 5.7, 8.0, 16.0)

experiment = Comparison(
    data="mnist",
    judge="mnist/judge",
    entries=(
        Entry("none", DENOISER),
        Entry("clean", DENOISER, "classifier", "mnist/clean", (0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)),
        *(Entry(name, DENOISER, "classifier", model, SCALES) for name, model in CLASSIFIERS.items()),
        Entry(
            "robust, t from 100 to 599",
            DENOISER,
            "classifier",
            "mnist/robust",
            (2.0, 4.0, 5.7, 6.7, 8.0, 9.5, 11.3, 16.0),
            (100, 600),
        ),
        # As published, and with a cap on the gradient: it is tens of times too long where the noise is strong.
        Entry("clean, at x0", DENOISER, "at x0", "mnist/clean", (0.03, 0.12, 0.5, 1.0, 2.0, 4.0)),
        Entry(
            "clean, at x0, capped",
            DENOISER,
            "at x0",
            "mnist/clean",
            (0.18, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0),
            most=3.0,
        ),
        Entry("clean, through x0", DENOISER, "through x0", "mnist/clean", (0.01, 0.03, 0.1, 0.3, 1.0)),
        Entry("clean, through x0, capped", DENOISER, "through x0", "mnist/clean", (0.35, 0.7, 1.4, 2.8), most=3.0),
    ),
    pairs=(
        ("robust", "vanilla"),
        ("robust, radius 1", "vanilla"),
        ("robust, radius 2", "vanilla"),
        ("robust, shrinking radius", "vanilla"),
        ("robust, growing radius", "vanilla"),
        ("robust, t from 100 to 599", "vanilla"),
        ("clean, at x0, capped", "vanilla"),
    ),
)


quick = small(experiment)
