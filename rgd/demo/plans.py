"""What a demo trains and measures on one data set, chosen by the size of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rgd.attacks import L2, PGD
from rgd.data import Dataset
from rgd.errors import DataError
from rgd.experiments.comparison import Comparison, Entry
from rgd.experiments.study import Study
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig, UNetConfig
from rgd.training import Training
from rgd.training.objectives import CleanCrossEntropy, Denoising, NoisyCrossEntropy, RobustCrossEntropy

CLASSIFIERS = ("clean", "vanilla", "robust")
FEWEST = 8  # images that can be scored: recall looks at that many


@dataclass(frozen=True)
class Plan:
    """What a demo does on one data set.

    Attributes:
        recipes: of the "judge", the "denoiser", and the "clean", "vanilla" and "robust" classifiers.
        comparison: the classifiers as guides; without seeds of its own for headlines, scale by scale.
        study: the classifiers' gradients, held against the robust one's. (The demo walks by itself.)
        walk: length of the walk uphill, as a share of the median distance to the nearest image of another class.
    """

    recipes: dict[str, Recipe]
    comparison: Comparison
    study: Study
    walk: float = 0.8


def plan(data: Dataset, effort: float = 1.0, seed: int = 0, samples: int = 400, test_images: int = FEWEST) -> Plan:
    """A plan that fits the size of the images; `effort` multiplies the training steps.

    Raises:
        ValueError: if the effort is not positive, the samples are too few, or the images are not square.
        DataError: if there are too few test images to score them.
    """
    if test_images < FEWEST:
        raise DataError(f"{data.name} has {test_images} test images, and to score them takes {FEWEST}: add some")
    if not effort > 0:
        raise ValueError(f"the effort multiplies the training steps and must be positive, not {effort}")
    K = len(data.classes)
    fewest = max(FEWEST, K + min(10, K))  # two pictures of each class that is shown
    if samples < fewest:
        raise ValueError(f"{samples} samples of each guidance are too few to score and to show: take {fewest} or more")
    if data.shape[1] != data.shape[2]:
        side = f"{data.shape[1]} x {data.shape[2]}"
        raise ValueError(f"{data.name} has images of {side}; the demo's networks take square ones")
    small = data.shape[1] <= 16
    batch = 64 if small else 128
    unet, encoder, judge = _networks(data, small)

    def steps(on_small: int, on_large: int) -> int:
        return max(10, round(effort * (on_small if small else on_large)))

    # The paper's radius for colour images. In grey ones the classes are further apart, pixel for pixel.
    attack = PGD(L2(0.5 if data.shape[0] == 3 else 1.0), steps=7)
    guide_training = Training(steps(400, 1000), batch, lr=1e-3, seed=seed, save_every=100)
    judge_training = Training(steps(300, 1000), batch, lr=1e-3, seed=seed + 1)
    denoiser_training = Training(
        steps(1000, 1500), batch, lr=1e-3, ema=0.995, warmup=50, clip=1.0, seed=seed, save_every=100
    )
    recipes: dict[str, tuple[Any, Any, Training]] = {
        "judge": (judge, CleanCrossEntropy(takes_time=False), judge_training),
        "denoiser": (unet, Denoising(), denoiser_training),
        "clean": (encoder, CleanCrossEntropy(), guide_training),
        "vanilla": (encoder, NoisyCrossEntropy(), guide_training),
        "robust": (encoder, RobustCrossEntropy(attack), guide_training),
    }
    guides = (Entry(kind, "denoiser", "classifier", kind, (1.0, 2.0, 4.0, 8.0)) for kind in CLASSIFIERS)
    comparison = Comparison(
        data.name, "judge", (Entry("none", "denoiser"), *guides), (("robust", "clean"), ("robust", "vanilla")),
        samples, seed, headline_seeds=(), steps=20,
    )  # fmt: skip
    pairs = (("clean", "robust"), ("vanilla", "robust"), ("robust", None))
    probes = min(200, samples)
    study = Study(data.name, "judge", "denoiser", pairs, images=probes, attack=attack, change=1.0, move=None, seed=seed)
    named = {name: Recipe(f"{data.name}/{name}", data.name, *parts) for name, parts in recipes.items()}
    return Plan(named, comparison, study)


def _networks(data: Dataset, small: bool) -> tuple[UNetConfig, EncoderConfig, JudgeConfig]:
    """A denoiser, a time-dependent classifier and a judge for images of this size."""
    channels, size, _ = data.shape
    common: dict[str, Any] = {"image_size": size, "in_channels": channels, "num_res_blocks": 1}
    common |= {"attention_resolutions": (2,), "use_scale_shift_norm": True, "num_head_channels": 32}
    common |= {"channel_mult": (1, 2), "patch": 1} if small else {"channel_mult": (1, 2, 2), "patch": 2}
    unet = UNetConfig(**common, out_channels=channels, model_channels=32 if small else 64)
    encoder = EncoderConfig(**common, out_channels=len(data.classes), model_channels=32, pool="attention")
    return unet, encoder, JudgeConfig(image_size=size, in_channels=channels, out_channels=len(data.classes))
