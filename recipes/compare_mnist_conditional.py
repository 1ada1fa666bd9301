"""Ways to guide MNIST's class-conditional DDPM: the unconditional one's, and two that need no classifier."""

from dataclasses import replace
from pathlib import Path

from rgd.comparison import Comparison, Entry, small
from rgd.recipes import read_named

DENOISER = "mnist/conditional"
WEAKER = 1 / 8  # the model knows the class already
SCALES = (1.25, 1.5, 2.0, 3.0, 5.0)

unconditional = read_named(Path(__file__).with_name("compare_mnist.py"), "experiment", Comparison)
experiment = replace(
    unconditional,
    entries=(
        *(
            replace(entry, denoiser=DENOISER, scales=tuple(WEAKER * scale for scale in entry.scales))
            for entry in unconditional.entries
        ),
        Entry("classifier-free", DENOISER, "classifier-free", None, SCALES),
        Entry("autoguidance", DENOISER, "autoguidance", "mnist/early", SCALES),
    ),
    pairs=(*unconditional.pairs, ("robust", "classifier-free")),
)
quick = small(experiment)
