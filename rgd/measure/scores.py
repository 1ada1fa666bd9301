"""How good are samples? Every number comes with a 95 % interval.

Distances between sets of images are distances between *features*: those of a judge trained on clean images (one
that did not guide the sampling), or Inception's; only a Frechet distance between the latter may be called FID.
Images are rounded to 8 bits first, as files would be, so that samples and reference are the same kind of thing.

Accuracy and precision are proportions of the samples and get Wilson's interval. All else gets the delete-half
jackknife over the generated samples (`jackknife`). In both the reference set is taken as fixed.

Sources: Frechet distance arXiv:1706.08500, KID 1801.01401, inception score 1606.03498, precision and recall
1904.06991. The values are torch-fidelity's (0.4 or later), whose functions compute the first and the third.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

from rgd.data import Dataset
from rgd.measure.estimates import FREE, SHARE, Estimate, jackknife, mean, proportion
from rgd.measure.features import Features, extract

Metric = Literal["fd", "sfd", "kid", "isc", "precision", "recall", "accuracy"]
METRICS: tuple[str, ...] = get_args(Metric)
NEIGHBOURS, ISC_SPLITS = 3, 10  # the papers' and torch-fidelity's defaults
FEWEST = {"isc": 4 * ISC_SPLITS, "recall": 2 * (NEIGHBOURS + 1)}  # samples whose halves still give a number; else 4

# A metric is prepared with the reference once; what it returns scores all samples and each half of them. Where, the
# reference being fixed, each sample counts for itself, it tells which of them do (N,): the metric is their share.
Score = Callable[[Features], float]
Hits = Callable[[Features], Tensor]


def _fd(reference: Features, which: str = "features") -> Score:
    def statistics(seen: Features) -> Any:
        return fid_features_to_statistics(getattr(seen, which))

    target = statistics(reference)
    return lambda samples: fid_statistics_to_metric(statistics(samples), target, False)[KEY_METRIC_FID]


def _kid(reference: Features) -> Score:
    """Over all pairs, which is what the mean over random subsets estimates, and here takes less time than they do."""
    y = reference.features

    def total(x: Tensor, y: Tensor) -> float:
        return sum(float((part @ y.T / x.shape[1] + 1).pow_(3).sum()) for part in x.split(1024))

    def within(x: Tensor) -> float:
        itself = float((x.square().mean(dim=1) + 1).pow_(3).sum())  # unbiased: no point is paired with itself
        return (total(x, x) - itself) / (len(x) * (len(x) - 1))

    known = within(y)
    return lambda samples: within(samples.features) + known - 2 * total(samples.features, y) / (len(samples) * len(y))


def _isc(_: Features) -> Score:
    return lambda samples: isc_features_to_metric(samples.logits, ISC_SPLITS)[KEY_METRIC_ISC_MEAN]


# torch-fidelity would search the reference's neighbours anew for every half, for minutes: hence these four.
def _radii(x: Tensor) -> Tensor:
    rows = [torch.cdist(part, x).topk(NEIGHBOURS + 1, largest=False).values[:, -1] for part in x.split(2048)]
    return torch.cat(rows)  # + 1 because each point is its own nearest


def _covered(x: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    return torch.cat([(torch.cdist(part, centres) <= radii).any(dim=1) for part in x.split(2048)])


def _precision(reference: Features) -> Hits:
    radii = _radii(reference.features)
    return lambda samples: _covered(samples.features, reference.features, radii)


def _recall(reference: Features) -> Score:
    seen = reference.features
    return lambda samples: _covered(seen, samples.features, _radii(samples.features)).double().mean().item()


def _accuracy(_: Features) -> Hits:
    def hits(samples: Features) -> Tensor:
        assert samples.labels is not None  # `_check` saw to it
        return samples.logits.argmax(dim=1).eq(samples.labels)

    return hits


SHARES: dict[str, Callable[[Features], Hits]] = {"precision": _precision, "accuracy": _accuracy}
SCORES: dict[str, tuple[Callable[[Features], Score], tuple[float, float]]] = {  # with the range of each
    "fd": (_fd, (0.0, math.inf)),
    "sfd": (partial(_fd, which="spatial"), (0.0, math.inf)),
    "kid": (_kid, FREE),  # the estimator is unbiased, so it may be negative
    "isc": (_isc, (1.0, math.inf)),  # and at most the number of classes
    "recall": (_recall, SHARE),
}


def estimate(
    metric: str, samples: Features, reference: Features | None = None, *, halves: int = 30, seed: int = 0
) -> Estimate:
    """One of `METRICS`: fd, sfd, kid, isc, precision, recall, or accuracy (against `samples.labels`).

    sfd is the Frechet distance of spatial features (as sFID is FID's, arXiv:2103.03841), which sees what is in the
    wrong place. isc and accuracy need no reference. `halves` and `seed` as in `jackknife`; time grows with `halves`:
    on a CPU a half takes fd of Inception's 2048 features many seconds. `method` warns where samples are too few for
    the value to be trusted. ValueError for an unknown metric, too few samples, and features that do not belong
    together.
    """
    notes, n = _check(metric, samples, reference), len(samples)
    if metric in SHARES:
        result = proportion(int(SHARES[metric](reference or samples)(samples).sum()), n)
    else:
        prepare, bounds = SCORES[metric]
        score = prepare(reference or samples)
        bounds = (1.0, samples.logits.shape[1]) if metric == "isc" else bounds
        result = jackknife(lambda i: score(samples[i]), n, halves=halves, seed=seed, bounds=bounds)
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
    notes = _check(metric, a, reference)
    _check(metric, b, reference)
    if metric in SHARES:
        hits = SHARES[metric](reference or a)
        result = mean(hits(a).double() - hits(b).double())
    else:
        prepare, bounds = SCORES[metric]
        score, bounds = prepare(reference or a), (-1.0, 1.0) if bounds == SHARE else FREE
        result = jackknife(lambda i: score(a[i]) - score(b[i]), len(a), halves=halves, seed=seed, bounds=bounds)
    return replace(result, method=f"paired {result.method}; {notes}")


def evaluate(
    samples: Tensor,
    reference: Dataset | Tensor | Features | str,
    *,
    judge: nn.Module | None = None,
    labels: Tensor | None = None,
    inception: nn.Module | None = None,
    metrics: Sequence[str] | None = None,
    halves: int = 30,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, Estimate]:
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
            published = registry.load(f"{reference}/judge")
            assert isinstance(published, nn.Module)
            judge = published
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
    seen = see(samples, network, labels=labels if network is judge else None)
    known = reference if isinstance(reference, Features) else see(reference, network)
    shown = {"fd": "fid"} if inception is not None else {"fd": "fd_judge", "sfd": "sfd_judge"}
    results = {}
    for name in names:
        judged = name == "accuracy" and judge is not None and network is not judge
        features = see(samples, judge, labels=labels) if judged else seen
        results[shown.get(name, name)] = estimate(name, features, known, halves=halves, seed=seed)
    return results


def _known(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(METRICS)}")


def _check(metric: str, samples: Features, reference: Features | None) -> str:
    """What must be said beside the number; ValueError where it would mean nothing."""
    _known(metric)
    n, dim, classes = len(samples), samples.features.shape[1], samples.logits.shape[1]
    notes = [f"features of {samples.source}"]
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
        n = min(n, len(reference))
        if metric == "sfd" and samples.spatial is not None:
            dim = samples.spatial.shape[1]
        if metric in ("fd", "sfd") and n <= dim:
            notes.append(f"biased up: the covariance of {n} samples in {dim} dimensions is singular")
    return "; ".join(notes)
