"""Ways to guide MNIST's class-conditional DDPM: the unconditional one's, and two that need no classifier.

Pairs come in the order in which one would wait for them: a run that is stopped has finished those at the top.
"""

from rgd.lab.comparison import Comparison, Entry, small

DENOISER = "mnist/conditional"
CLASSIFIERS = {
    "vanilla": "mnist/vanilla",
    "robust": "mnist/robust",
    "robust, radius 1": "mnist/robust_1",
    "robust, radius 2": "mnist/robust_2",
    "robust, growing radius": "mnist/robust_growing",
    "robust, shrinking radius": "mnist/robust_shrinking",
}
# The model knows the class already, so that less is needed; a quarter of an octave apart where the best are.
SCALES = (0.35, 0.7, 0.84, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8)

guides = [Entry(name, DENOISER, "classifier", model, SCALES) for name, model in CLASSIFIERS.items()]
experiment = Comparison(
    data="mnist",
    judge="mnist/judge",
    entries=(
        Entry("none", DENOISER),
        *guides,
        Entry("classifier-free", DENOISER, "classifier-free", None, (1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 3.0)),
        Entry("autoguidance", DENOISER, "autoguidance", "mnist/early", (1.06, 1.12, 1.25, 1.4, 1.6, 2.0, 3.0)),
        Entry(
            "robust, t from 100 to 599",
            DENOISER,
            "classifier",
            "mnist/robust",
            (0.7, 1.4, 2.0, 2.8, 3.4, 4.0, 5.6),
            (100, 600),
        ),
        Entry("clean", DENOISER, "classifier", "mnist/clean", (0.03, 0.1, 0.3, 1.0)),
        Entry("clean, at x0, capped", DENOISER, "at x0", "mnist/clean", (0.35, 0.7, 1.0, 1.4, 2.0), most=3.0),
    ),
    pairs=(
        ("robust", "vanilla"),
        ("vanilla", "none"),
        ("robust", "classifier-free"),
        ("robust", "autoguidance"),
        ("robust, radius 1", "vanilla"),
        ("robust, radius 2", "vanilla"),
        ("robust, t from 100 to 599", "vanilla"),
        ("robust, growing radius", "vanilla"),
        ("robust, shrinking radius", "vanilla"),
    ),
)
quick = small(experiment)
