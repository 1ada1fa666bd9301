"""How good are samples? Every number comes with a 95 % interval.

Distances between sets of images are distances between *features*: those of a judge trained on clean images that did
not guide the sampling, or Inception's; only a Frechet distance between the latter may be called FID. Accuracy and
precision are proportions of the samples and get Wilson's interval; all else gets the delete-half jackknife over the
generated samples. In both the reference set is taken as fixed.

Sources: Frechet distance arXiv:1706.08500, sFID 2103.03841, KID 1801.01401, inception score 1606.03498, precision and
recall 1904.06991. The values are torch-fidelity's (0.4 or later); the inception score is computed by its function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from rgd.data import Dataset
from rgd.measure.estimates import FREE, SHARE, Estimate, jackknife_at_once, mean, share
from rgd.measure.features import Features, extract

Metric = Literal["fd", "sfd", "kid", "isc", "precision", "recall", "accuracy"]
METRICS: tuple[str, ...] = get_args(Metric)
NEIGHBOURS, ISC_SPLITS = 3, 10  # the papers' and torch-fidelity's defaults
FEWEST = {"isc": 4 * ISC_SPLITS, "recall": 2 * (NEIGHBOURS + 1)}  # samples whose halves still give a number; else 4

Indices = Sequence[Tensor]
Score = Callable[[Tensor, Indices], Any]
"""(samples' features (N, F), indices) -> a number for each of the indices, from the samples that it names."""


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), x.T.cov()


def _frechet(y: Tensor) -> Score:
    """The trace of the root of A B is that of the root of B^(1/2) A B^(1/2), whose eigenvalues take far less time."""
    mean, covariance = _moments(y)
    values, axes = torch.linalg.eigh(covariance)
    root = (axes * values.clamp(min=0).sqrt()) @ axes.T

    def score(x: Tensor) -> float:
        its_mean, its_covariance = _moments(x)
        shared = torch.linalg.eigvalsh(root @ its_covariance @ root).clamp(min=0).sqrt().sum()
        return float((its_mean - mean).square().sum() + its_covariance.trace() + covariance.trace() - 2 * shared)

    return lambda x, chosen: [score(x[i]) for i in chosen]


def _kid(y: Tensor) -> Score:
    """Over all pairs, which is what the mean over random subsets estimates, and here takes less time than they do. The
    kernel is unbiased: no point is paired with itself."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1).pow_(3)

    def itself(x: Tensor) -> Tensor:
        return (x.square().mean(dim=1) + 1).pow_(3)

    known = float(sum(kernel(part, y).sum() for part in y.split(1024)) - itself(y).sum()) / (len(y) * (len(y) - 1))

    def score(x: Tensor, chosen: Indices) -> list[float]:
        member = _membership(len(x), chosen).T.to(x)  # (N, halves)
        n, within, across = member.sum(0), -member.T @ itself(x), torch.zeros(len(chosen)).to(x)
        for part, own in zip(x.split(1024), member.split(1024)):  # the kernel of each pair once, for all halves
            within += (own * (kernel(part, x) @ member)).sum(0)
            across += own.T @ kernel(part, y).sum(1)
        return (within / (n * (n - 1)) + known - 2 * across / (n * len(y))).tolist()

    return score


def _membership(n: int, chosen: Indices) -> Tensor:
    """Who is in which: bool (halves, N)."""
    return torch.stack([torch.zeros(n, dtype=torch.bool).index_fill(0, i, True) for i in chosen])


def _radii(x: Tensor, chosen: Indices) -> Tensor:
    """Distances to the last of the nearest neighbours among those chosen, (halves, N); -inf for who is not."""
    many = min(len(x), 64 if len(chosen) > 1 else NEIGHBOURS + 1)  # half of them are chosen: the nearest few are there
    near = [torch.cdist(part, x).topk(many, largest=False) for part in x.split(2048)]
    distance, who = (torch.cat([getattr(found, name) for found in near]) for name in ("values", "indices"))
    radii = []
    for member in _membership(len(x), chosen):
        count = member[who].cumsum(1)
        last = (count <= NEIGHBOURS).sum(1).clamp(max=many - 1)  # + 1 because each point is its own nearest
        found = distance.gather(1, last[:, None])[:, 0]
        lost = member & (count[:, -1] <= NEIGHBOURS)
        if lost.any():
            others = torch.cdist(x[lost], x[member]).topk(NEIGHBOURS + 1, largest=False).values
            found = found.masked_scatter(lost, others[:, -1])
        radii.append(found.masked_fill(~member, -math.inf))
    return torch.stack(radii)


def _covered(x: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Whether each of x lies in a ball around a centre, bool (halves, N), for radii (halves, centres)."""
    parts = []
    for part in x.split(1024):
        distance = torch.cdist(part, centres)
        parts.append(torch.stack([(distance <= r).any(dim=1) for r in radii]))
    return torch.cat(parts, dim=1)


def _precision(y: Tensor) -> Score:
    radii = _radii(y, [torch.arange(len(y))])
    return lambda x, _: _covered(x, y, radii)[0]


def _recall(y: Tensor) -> Score:
    return lambda x, chosen: _covered(y, x, _radii(x, chosen)).double().mean(dim=1).tolist()


def _inception_score(_: object) -> Score:
    from torch_fidelity import metric_isc as isc  # here, for it takes seconds

    return lambda x, chosen: [isc.isc_features_to_metric(x[i], ISC_SPLITS)[isc.KEY_METRIC_ISC_MEAN] for i in chosen]


# For each metric, which of the features it looks at, and what is prepared with the reference's once: a score. Of
# `SHARES`, where each sample counts for itself, the score is a bool for each, whatever is chosen.
TABLE: dict[str, tuple[str, Callable[[Tensor], Score]]] = {
    "fd": ("features", _frechet),
    "sfd": ("spatial", _frechet),
    "kid": ("features", _kid),
    "isc": ("logits", _inception_score),
    "precision": ("features", _precision),
    "recall": ("features", _recall),
    "accuracy": ("right", lambda _: lambda right, _: right),
}
SHARES = ("precision", "accuracy")


def estimate(
    metric: str, samples: Features, reference: Features | None = None, *, halves: int = 30, seed: int = 0
) -> Estimate:
    """One of `METRICS`: fd, sfd, kid, isc, precision, recall, or accuracy (against `samples.labels`).

    sfd is the Frechet distance of spatial features, which sees what is in the wrong place. isc and accuracy need no
    reference. `halves` and `seed` as in `jackknife`; time grows with `halves`: on a CPU a half takes fd of Inception's
    2048 features many seconds. `method` warns where samples are too few for the value to be trusted. ValueError for an
    unknown metric, too few samples, and features that do not belong together.
    """
    notes, (sees, prepare) = _check(metric, samples, reference), TABLE[metric]
    score, x = prepare(getattr(reference or samples, sees)), getattr(samples, sees)
    if metric in SHARES:
        result = share(score(x, ()))
    else:  # kid is unbiased, so it may be negative; isc is at most the number of classes
        bounds = {"kid": FREE, "isc": (1.0, x.shape[1]), "recall": SHARE}.get(metric, (0.0, math.inf))
        result = jackknife_at_once(partial(score, x), len(x), halves, seed, bounds)
    return replace(result, method=f"{result.method}; {notes}")


def paired_difference(
    metric: str, a: Features, b: Features, reference: Features | None = None, *, halves: int = 30, seed: int = 0
) -> Estimate:
    """`metric` of `a` minus `metric` of `b`, whose i-th images share seed and label.

    By the jackknife, in which both lose the same halves, so that what the two have in common cancels; a share is
    compared sample by sample. ValueError as in `estimate`, and for sets of different length.
    """
    if len(a) != len(b) or a.source != b.source:
        raise ValueError(f"{len(a)} samples seen by {a.source} do not pair with {len(b)} seen by {b.source}")
    notes, _ = [_check(metric, samples, reference) for samples in (a, b)]
    sees, prepare = TABLE[metric]
    score, x, y = prepare(getattr(reference or a, sees)), getattr(a, sees), getattr(b, sees)
    if metric in SHARES:
        result = mean(score(x, ()).double() - score(y, ()).double())
    else:
        bounds = (-1.0, 1.0) if metric == "recall" else FREE

        def difference(chosen: Indices) -> list[float]:
            return [of_x - of_y for of_x, of_y in zip(score(x, chosen), score(y, chosen))]

        result = jackknife_at_once(difference, len(x), halves, seed, bounds)
    return replace(result, method=f"paired {result.method}; {notes}")


def evaluate(
    samples: Tensor, reference: Dataset | Tensor | Features | str, *, judge: nn.Module | None = None,
    labels: Tensor | None = None, inception: nn.Module | None = None, metrics: Sequence[str] | None = None,
    halves: int = 30, seed: int = 0, batch_size: int = 256,
) -> dict[str, Estimate]:  # fmt: skip
    """Score `samples`, float (N, C, H, W) in [-1, 1], against `reference` images or features of them, or the training
    images of a data set that is named.

    Features are Inception's if `inception=load_inception()` is given, and the Frechet distance is then `fid`; else
    they are the judge's (of a named set, by default the published judge) and it is `fd_judge`. `accuracy` is how
    often `judge`, which must not have guided the sampling, finds the class asked for: `labels` (N,). `metrics`
    defaults to all that can be had of `METRICS`. ValueError, with the reason, for what cannot be scored.
    """
    if isinstance(reference, str):
        from rgd.lab import datasets, registry

        if judge is None and f"{reference}/judge" in registry.names():
            judge = cast(nn.Module, registry.load(f"{reference}/judge"))
        reference = datasets.load(reference)
    network = inception if inception is not None else judge
    if network is None:
        raise ValueError("nothing sees the images: pass judge=..., or inception=load_inception()")
    lacking = {}
    if judge is None or labels is None:
        lacking["accuracy"] = "judge=... and labels=..., the classes the samples were asked for"
    if inception is not None or not hasattr(judge, "spatial"):
        lacking["sfd"] = "a judge with spatial features, and inception=None"
    names = [name for name in METRICS if name not in lacking] if metrics is None else metrics
    for name in names:  # before a network looks at anything
        _known(name)
        if name in lacking:
            raise ValueError(f"{name} needs {lacking[name]}: pass that, or leave {name} out")
    if samples.shape[-3:] != tuple(reference.shape[-3:]):  # before a network fails on it less clearly
        raise ValueError(f"samples {tuple(samples.shape[-3:])} and reference {tuple(reference.shape[-3:])} differ")
    see: Any = partial(extract, batch_size=batch_size)
    seen = judged = see(samples, network, labels=labels if network is judge else None)
    if network is not judge and "accuracy" in names:
        judged = see(samples, judge, labels=labels)
    known = reference if isinstance(reference, Features) else see(reference, network)
    shown = {"fd": "fid"} if inception is not None else {"fd": "fd_judge", "sfd": "sfd_judge"}
    score = partial(estimate, reference=known, halves=halves, seed=seed)
    return {shown.get(name, name): score(name, judged if name == "accuracy" else seen) for name in names}


def _known(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(METRICS)}")


def _check(metric: str, samples: Features, reference: Features | None) -> str:
    """What must be said beside the number; ValueError where it would mean nothing."""
    _known(metric)
    n, classes, notes = len(samples), samples.logits.shape[1], [f"features of {samples.source}"]
    if n < (fewest := FEWEST.get(metric, 4)):
        raise ValueError(f"{metric} needs at least {fewest} samples, not {n}: draw more, or leave it out")
    if metric == "accuracy" and samples.labels is None:
        raise ValueError("accuracy needs the labels the samples were asked for: extract(..., labels=...)")
    if metric == "isc" and n // ISC_SPLITS < classes:
        notes.append(f"biased low: {ISC_SPLITS} splits of {n // ISC_SPLITS} samples for {classes} classes")
    if metric == "sfd" and samples.spatial is None:
        raise ValueError(f"sfd needs spatial features, which {samples.source} does not give: leave it out")
    if metric not in ("isc", "accuracy"):
        if reference is None or len(reference) <= NEIGHBOURS:
            raise ValueError(f"{metric} needs a reference of more than {NEIGHBOURS} images: pass its features")
        if (samples.source, samples.shape) != (reference.source, reference.shape):
            raise ValueError(
                f"samples {samples.shape} seen by {samples.source}, reference {reference.shape} seen by "
                f"{reference.source}: extract both with one network, from images of one shape"
            )
        n, dim = min(n, len(reference)), getattr(samples, TABLE[metric][0]).shape[1]
        if metric in ("fd", "sfd") and n <= dim:
            notes.append(f"biased up: the covariance of {n} samples in {dim} dimensions is singular")
    return "; ".join(notes)
