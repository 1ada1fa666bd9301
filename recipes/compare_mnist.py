"""Ways to guide on MNIST: with an unconditional and with a class-conditional DDPM."""

from dataclasses import replace

from rgd.comparison import Comparison, Entry

CLASSIFIERS = {
    "clean": "mnist/clean",
    "vanilla": "mnist/vanilla",
    "robust": "mnist/robust",
    "robust, radius 1": "mnist/robust_1",
    "robust, radius 2": "mnist/robust_2",
    "robust, growing radius": "mnist/robust_growing",
}
MIDDLE = (100, 600)


def ways(title: str, denoiser: str, scales: tuple[float, ...]) -> tuple[Entry, ...]:
    """The guidances by a classifier, of one denoiser."""
    return (
        Entry(title, denoiser),
        *(Entry(f"{title}, {name}", denoiser, "classifier", model, scales) for name, model in CLASSIFIERS.items()),
        Entry(f"{title}, robust in the middle", denoiser, "classifier", "mnist/robust", scales, MIDDLE),
        Entry(f"{title}, clean through x0", denoiser, "through x0", "mnist/clean", scales),
        Entry(f"{title}, clean at x0", denoiser, "at x0", "mnist/clean", tuple(4 * scale for scale in scales)),
    )


UNCONDITIONAL, CONDITIONAL = "unconditional", "conditional"
experiment = Comparison(
    data="mnist",
    judge="mnist/judge",
    entries=(
        *ways(UNCONDITIONAL, "mnist/ddpm", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)),
        *ways(CONDITIONAL, "mnist/conditional", (0.25, 0.5, 1.0, 2.0, 4.0)),
        Entry(
            f"{CONDITIONAL}, classifier-free", "mnist/conditional", "classifier-free", None, (1.25, 1.5, 2.0, 3.0, 5.0)
        ),
        Entry(
            f"{CONDITIONAL}, autoguidance",
            "mnist/conditional",
            "autoguidance",
            "mnist/early",
            (1.25, 1.5, 2.0, 3.0, 5.0),
        ),
    ),
    pairs=tuple(
        (f"{title}, {robust}", f"{title}, vanilla")
        for title in (UNCONDITIONAL, CONDITIONAL)
        for robust in CLASSIFIERS
        if robust.startswith("robust")
    ),
)

# Small and complete: every way, at two of its scales.
quick = replace(
    experiment,
    entries=tuple(replace(entry, scales=entry.scales[1:4:2] or entry.scales) for entry in experiment.entries),
    samples=100,
    headline_samples=200,
    headline_seeds=(1, 2),
    steps=10,
    reference=2000,
)
