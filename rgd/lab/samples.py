"""What `rgd sample` draws from, and the scores of the file that it writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rgd import measure
from rgd.data import same_classes
from rgd.denoiser import Denoiser
from rgd.guidance import Form, Interval, classifier_free, guide
from rgd.lab import datasets, named
from rgd.lab.checks import load, need
from rgd.lab.origin import provenance
from rgd.layers import image_shape
from rgd.measure.scores import Metric
from rgd.processes import processes
from rgd.training import checkpoints
from rgd.training.checkpoints import Model


def steered(model: Model, guiding: Model | None, scale: float, interval: Interval, form: Form, name: str) -> Denoiser:
    """The denoiser of a model, whose name errors use: guided by a classifier; or, where it knows classes and what it is
    not to know one, by itself (no student); else as it is. RgdError where there is a scale and nothing to guide."""
    denoise = model.use()
    if guiding is not None:
        sizes = sorted({image_shape(c) for m in (model, guiding) if hasattr(c := m.network.config, "image_size")})
        need(len(sizes) < 2 or guiding.role == "judge", f"{name} and its classifier see images of other sizes: {sizes}")
        return guide(denoise, named.gradient(guiding, denoise), scale, interval, form)
    if denoise.conditional and getattr(c := model.network.config, "null_label", None) and not hasattr(c, "scale"):
        return classifier_free(denoise, scale, interval)
    need(scale == 1, f"{name} cannot guide itself: name a --classifier, or leave --scale out")
    return denoise


def score(
    file: Path, judge: Path | None, inception: bool, reference: str | None, metrics: Sequence[Metric] | None,
    halves: int, out: Path | None,
) -> dict[str, measure.Estimate]:  # fmt: skip
    """Score what `rgd sample` wrote against the training images of a data set, as `rgd evaluate` says.

    Raises:
        RgdError: for a file without samples, or no judge where one is needed.
        DataError: where samples, judge and data differ in their classes.
    """
    given = judge is not None or (inception and "accuracy" not in (metrics or ()))
    need(given, "name a --judge, which accuracy needs, or give --inception for distances")
    tensors, origin = checkpoints.read(file)
    nothing = f"{file} holds no samples: `rgd sample` draws some, and `rgd info` says what a model is"
    need("images" in tensors, nothing)
    images, labels = tensors["images"], tensors.get("labels")
    made, classes = origin.get("made") or {}, origin.get("classes") or ()
    right = images.ndim == 4 and images.is_floating_point() and (labels is None or labels.shape == images.shape[:1])
    right &= isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    right &= isinstance(made, dict) and isinstance(made.get("data", ""), str | None)
    need(right and isinstance(made.get("made_from", {}), dict), f"{file} is damaged: draw its samples again")
    real = datasets.load_again(made, classes, "train", size=images.shape[-1]) if reference is None else None
    real = datasets.load(str(reference)) if real is None else real
    if labels is not None:
        same_classes(classes, real.classes, str(file), real.name)
    critic = None if judge is None else load(judge, "judge")
    if critic is not None:
        same_classes(critic.classes, real.classes, str(judge), real.name)
        fits = not hasattr(c := critic.network.config, "image_size") or image_shape(c) == images.shape[1:]
        need(fits, f"{judge} sees images of another size than those of {file}")
    scores = measure.evaluate(
        images, real, judge=None if critic is None else critic.network, labels=None if critic is None else labels,
        inception=measure.load_inception().to(processes().device) if inception else None, metrics=metrics,
        halves=halves,
    )  # fmt: skip
    if out is not None:
        record = {"samples": origin, "reference": real.source, **provenance(), "scores": scores}
        checkpoints.write_atomic(out, json.dumps(record, indent=1, default=measure.Estimate.to_json).encode())
    return scores
