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

import copy
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorBase, FeatureExtractorInceptionV3, register_feature_extractor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

from rgd import data as datasets
from rgd import zoo
from rgd.attacks import Attack
from rgd.data import Dataset
from rgd.errors import CheckpointError
from rgd.noise import generator, noise
from rgd.schedule import Schedule

INCEPTION = "inception-v3-compat"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # ends with the start of its SHA-256
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
NEIGHBOURS, ISC_SPLITS = 3, 10  # the papers' and torch-fidelity's defaults
FREE, SHARE = (-math.inf, math.inf), (0.0, 1.0)


@dataclass(frozen=True)
class Estimate:
    """A number from `n` samples, its 95 % interval, and how it was made, with any warning, in `method`."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def __str__(self) -> str:
        """`0.934 [0.921, 0.945]`: as many digits as the interval's width has use for."""
        width = self.high - self.low
        places = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
        return f"{self.value:.{places}f} [{self.low:.{places}f}, {self.high:.{places}f}]"

    def to_json(self) -> dict[str, float | int | str]:
        """The fields as plain values, ready for `json.dump`."""
        return asdict(self)


def proportion(successes: int, n: int) -> Estimate:
    """`successes` out of `n` with Wilson's interval; ValueError unless 0 <= successes <= n and n > 0."""
    if not (n > 0 and 0 <= successes <= n):
        raise ValueError(f"{successes} of {n} is no proportion: need n > 0 and 0 <= successes <= n")
    interval = binomtest(int(successes), int(n)).proportion_ci(0.95, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), int(n), "Wilson")


def mean(values: Tensor) -> Estimate:
    """The mean of independent values (N,) with its normal interval. Values that are not numbers (the cosine of a
    gradient of zero) do not count; ValueError where fewer than two are left."""
    values = values.detach().flatten().cpu().double()
    counted = values[values.isfinite()]
    if len(counted) < 2:
        raise ValueError(f"of {len(values)} values {len(counted)} are numbers: a mean needs at least 2")
    value, error = float(counted.mean()), 1.96 * float(counted.std()) / math.sqrt(len(counted))
    return Estimate(value, value - error, value + error, len(counted), "mean, normal")


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15, *, halves: int = 30) -> Estimate:
    """The expected calibration error (Guo et al., arXiv:1706.04599) of logits (N, K) for labels (N,): how far
    confidence and accuracy lie apart, averaged over bins of equal width in confidence, weighted by what is in them.

    It is biased up, by about the square root of bins / N: a perfectly calibrated classifier does not reach zero.
    """
    _check_labels(y, len(logits), logits.shape[1])
    confidence, verdict = logits.detach().cpu().double().softmax(dim=1).max(dim=1)
    gap = confidence - (verdict == y.cpu()).double()
    bin_of = (confidence * bins).long().clamp_max(bins - 1)

    def error(index: Tensor) -> float:
        sums = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_of[index], gap[index])
        return float(sums.abs().sum()) / len(index)

    return jackknife(error, len(gap), halves=halves, bounds=SHARE)


def jackknife(
    statistic: Callable[[Tensor], float],
    n: int,
    *,
    halves: int = 30,
    seed: int = 0,
    bounds: tuple[float, float] = FREE,
) -> Estimate:
    """`statistic(index)`, a number from the samples with these indices, over all n, and its interval.

    The delete-d jackknife (Shao and Wu 1989): recompute the statistic on random subsets of n - d samples; its
    variance is (n - d)/d times that of the subset values. For d = n/2 the factor is 1, so the standard deviation
    over half-samples *is* the standard error, and the interval is value +- 1.96 of it, clipped to `bounds`. A half
    holds no sample twice, so nearest-neighbour radii stay honest, which under the bootstrap they do not. A half's
    value may be biased (a Frechet distance grows as n shrinks), but only the spread is used; the bias of the full
    value is not in the interval. `halves` random halves come from `seed`; 30 give the error to 13 %.
    """
    if n < 2 or halves < 2:
        raise ValueError(f"{halves} halves of {n} samples have no spread: give at least 2 of each")
    draw = generator(seed, "halves")
    values = [statistic(torch.randperm(n, generator=draw)[: n // 2]) for _ in range(halves)]
    error = math.sqrt((n // 2) / (n - n // 2)) * float(torch.tensor(values, dtype=torch.float64).std())
    value = statistic(torch.arange(n))
    value, low, high = (min(max(value + k * error, bounds[0]), bounds[1]) for k in (0, -1.96, 1.96))
    note = "" if error > 0 else ", which all agree: the interval says nothing"
    return Estimate(value, low, high, n, f"delete-half jackknife, {halves} halves{note}")


@dataclass(frozen=True, eq=False)
class Features:
    """What a network sees in N images, on the CPU in float64: `features` (N, F) and `logits` (N, K).

    Made by `extract`. `source` names the network, `shape` is an image's (C, H, W), `labels` (N,) the classes asked
    for, if known; `spatial` (N, S) are features that still know where in the image they were seen, where the network
    offers them. ValueError for fewer than two images, values that are not finite, and labels that do not fit.
    """

    features: Tensor
    logits: Tensor
    source: str
    shape: tuple[int, ...]
    labels: Tensor | None = None
    spatial: Tensor | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.logits.ndim != 2:
            raise ValueError(f"{self.source} must give features (N, F) and logits (N, K): flatten them")
        if len(self) < 2:
            raise ValueError(f"{len(self)} image is no distribution: give at least 2")
        if not (self.features.isfinite().all() and self.logits.isfinite().all()):
            raise ValueError(f"{self.source} gives NaN or infinite features: check its weights and precision")
        if self.labels is not None:
            _check_labels(self.labels, len(self), self.logits.shape[1])

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: Tensor) -> Features:
        """Those of the images with these indices."""
        optional = {name: getattr(self, name) for name in ("labels", "spatial")}
        chosen: Any = {name: None if value is None else value[index] for name, value in optional.items()}
        return replace(self, features=self.features[index], logits=self.logits[index], **chosen)


def extract(
    images: Tensor | Dataset, network: nn.Module, *, labels: Tensor | None = None, batch_size: int = 256
) -> Features:
    """What a judge or `load_inception()` sees in `images`: float (N, C, H, W) in [-1, 1], uint8, or a Dataset.

    Runs in evaluation mode on the network's own device. For Inception grey images are repeated to three channels;
    it resizes to 299x299 itself, as TensorFlow 1 did, so do not resize before. Float64, because distances are small
    differences of large sums. ValueError as in `quantise` and `Features`, TypeError if `network` has no features.
    """
    pixels, inception = quantise(images), isinstance(network, FeatureExtractorBase)
    if not inception and not hasattr(network, "features"):
        raise TypeError(f"{type(network).__name__} is no judge: it needs features(x0) -> (B, F) besides logits")
    rgb = pixels.expand(-1, 3, -1, -1) if inception and pixels.shape[1] == 1 else pixels
    device, training, rows = _device(network, pixels), network.training, []
    network.eval()
    try:
        with torch.inference_mode():
            for batch in (part.to(device) for part in rgb.split(batch_size)):
                seen = network(batch) if inception else _see(network, batch)
                rows.append([tensor.cpu().double() for tensor in seen])
    finally:
        network.train(training)
    features, logits, *spatial = (torch.cat(column) for column in zip(*rows))
    digest = hashlib.sha256()  # of the weights, so that features of two networks are never compared
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    source = f"{'inception' if inception else 'judge'} {digest.hexdigest()[:8]}"
    labels = None if labels is None else labels.cpu()
    return Features(features, logits, source, tuple(pixels.shape[1:]), labels, *spatial)


def quantise(images: Tensor | Dataset) -> Tensor:
    """Images as uint8 (N, C, H, W), as files hold them: [-1, 1] is rounded to 0..255, beyond is clamped.

    ValueError if there are none, if they are not NCHW, hold NaN or infinities, or are plainly not in [-1, 1].
    """
    pixels = images.images if isinstance(images, Dataset) else images
    if pixels.ndim != 4 or len(pixels) == 0:
        raise ValueError(f"images are {tuple(pixels.shape)}: need (N, C, H, W) with N > 0")
    if pixels.dtype == torch.uint8:
        return pixels
    if bad := int((~pixels.isfinite()).flatten(1).any(dim=1).sum()):
        raise ValueError(f"{bad} of {len(pixels)} images hold NaN or infinite pixels: look at what made them")
    if pixels.abs().mean() > 1.5:  # the mean, because an unclamped sampler may overshoot in a few pixels
        raise ValueError("float images must lie in [-1, 1]: divide 0..255 by 127.5 and subtract 1")
    return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def load_inception(path: str | Path | None = None) -> nn.Module:
    """torch-fidelity's `inception-v3-compat` on the CPU, for 2048 features and unbiased logits.

    Weights come from `path`, else from $RGD_INCEPTION, else they are downloaded into torch.hub's cache and
    checked against the hash in their name. CheckpointError says where to get the file when that fails.
    """
    path = path or os.environ.get("RGD_INCEPTION")
    file = io.BytesIO()  # torch-fidelity takes only a file, and would unpickle whatever is in the user's
    layers = ["2048", "logits_unbiased"]
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        load = torch.hub.load_state_dict_from_url
        weights = torch.load(path, **options) if path else load(INCEPTION_URL, check_hash=True, **options)
        torch.save(weights, file)
        file.seek(0)
        return FeatureExtractorInceptionV3(INCEPTION, layers, feature_extractor_weights_path=file)
    except Exception as error:  # no network, no file, a damaged one, another model's: the remedy is the same
        raise CheckpointError(
            f"cannot use Inception's weights {path or INCEPTION_FILE}: {error}. Download {INCEPTION_URL} and pass "
            "its path to load_inception, or set RGD_INCEPTION to it"
        ) from error


def register_judge(name: str, judge: nn.Module) -> None:
    """Let `torch_fidelity.calculate_metrics(feature_extractor=name, ...)` use a copy of `judge`.

    Inputs are then uint8 images. ValueError (torch-fidelity's) if `name` is taken: it cannot be freed.
    """
    frozen = copy.deepcopy(judge)  # torch-fidelity freezes and moves what it is given

    class JudgeExtractor(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.judge = frozen

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            seen = dict(zip(self.get_provided_features_list(), _see(self.judge, images)[:2]))
            return tuple(seen[layer].double() for layer in self.features_list)

    register_feature_extractor(name, JudgeExtractor)


# A metric is prepared with the reference once; what it returns scores all samples and each half of them. Where, the
# reference being fixed, each sample counts for itself, it tells which of them do (N,): the metric is their share.
Score = Callable[[Features], float]
Hits = Callable[[Features], Tensor]


def _fd(reference: Features, which: str = "features") -> Score:
    def statistics(seen: Features) -> Any:
        return fid_features_to_statistics(getattr(seen, which))

    target = statistics(reference)
    return lambda samples: fid_statistics_to_metric(statistics(samples), target, False)[KEY_METRIC_FID]


def _sfd(reference: Features) -> Score:
    return _fd(reference, "spatial")


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
    def score(samples: Features) -> float:
        return _covered(reference.features, samples.features, _radii(samples.features)).double().mean().item()

    return score


def _accuracy(_: Features) -> Hits:
    def hits(samples: Features) -> Tensor:
        assert samples.labels is not None  # `_check` saw to it
        return samples.logits.argmax(dim=1).eq(samples.labels)

    return hits


SHARES: dict[str, Callable[[Features], Hits]] = {"precision": _precision, "accuracy": _accuracy}
# name -> (metric, range)
SCORES: dict[str, tuple[Callable[[Features], Score], tuple[float, float]]] = {
    "fd": (_fd, (0.0, math.inf)),
    "sfd": (_sfd, (0.0, math.inf)),
    "kid": (_kid, FREE),  # the estimator is unbiased, so it may be negative
    "isc": (_isc, (1.0, math.inf)),  # and at most the number of classes
    "recall": (_recall, SHARE),
}
METRICS = ("fd", "sfd", "kid", "isc", "precision", "recall", "accuracy")
FEWEST = {"isc": 4 * ISC_SPLITS, "recall": 2 * (NEIGHBOURS + 1)}  # samples whose halves still give a number; else 4


def estimate(
    metric: str, samples: Features, reference: Features | None = None, *, halves: int = 30, seed: int = 0
) -> Estimate:
    """One of `METRICS`: fd, sfd, kid, isc, precision, recall, or accuracy (against `samples.labels`).

    sfd is the Frechet distance of spatial features (as sFID is FID's, arXiv:2103.03841), which sees what is in the
    wrong place.

    isc and accuracy need no reference. `halves` and `seed` as in `jackknife`; time grows with `halves`: on a CPU a
    half takes fd of Inception's 2048 features many seconds. `method` warns where samples
    are too few for the value to be trusted. ValueError for an unknown metric, too few samples, and features that do
    not belong together.
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
        if judge is None and f"{reference}/judge" in zoo.names():
            published = zoo.load(f"{reference}/judge")
            assert isinstance(published, nn.Module)
            judge = published
        reference = datasets.load(reference)
    network = inception if inception is not None else judge
    if network is None:
        raise ValueError("nothing sees the images: pass judge=..., or inception=load_inception()")
    names = METRICS if metrics is None else metrics
    if metrics is None:
        spatial = inception is None and hasattr(judge, "spatial")
        lacking = {"accuracy": labels is None or judge is None, "sfd": not spatial}
        names = [m for m in METRICS if not lacking.get(m)]
    if "accuracy" in names and (judge is None or labels is None):
        raise ValueError("accuracy needs judge=... and labels=..., the classes the samples were asked for")
    if samples.shape[-3:] != tuple(reference.shape[-3:]):  # before a network fails on it less clearly
        raise ValueError(f"samples {tuple(samples.shape[-3:])} and reference {tuple(reference.shape[-3:])} differ")
    options: dict[str, Any] = {"batch_size": batch_size}
    seen = extract(samples, network, labels=labels if network is judge else None, **options)
    if not isinstance(reference, Features):
        reference = extract(reference, network, **options)
    results = {}
    for name in names:
        if name == "accuracy" and judge is not None and network is not judge:
            results[name] = estimate(name, extract(samples, judge, labels=labels, **options))
        else:
            distances = {"fd": "fd_judge", "sfd": "sfd_judge"} if inception is None else {"fd": "fid"}
            key = distances.get(name, name)
            results[key] = estimate(name, seen, reference, halves=halves, seed=seed)
    return results


def accuracy_by_t(
    classifier: Callable[[Tensor, Tensor], Tensor],
    dataset_x0: Tensor,
    y: Tensor,
    schedule: Schedule,
    ts: Iterable[int],
    *,
    attack: Attack | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> list[dict[str, Any]]:
    """A noisy classifier's accuracy by level: rows of `t` and Estimates `clean` and, with an attack, `robust`.

    `dataset_x0` is float (N, C, H, W) in [-1, 1], `y` int64 (N,); the attack is on xt. An image's eps
    depends on `seed` and its index only and is the same at all levels, so that curves are smooth.
    ValueError for levels outside 0..T-1, empty or NaN images, and labels that do not fit.
    """
    n, device = len(dataset_x0), _device(classifier, dataset_x0)
    if n == 0 or not dataset_x0.isfinite().all():
        raise ValueError("dataset_x0 is empty or holds NaN: give at least one image, all finite")
    if y.shape != (n,):
        raise ValueError(f"labels are {tuple(y.shape)}: need one for each of {n} images")
    eps, rows = noise(dataset_x0.shape, seed), []
    for level in map(int, ts):
        if not 0 <= level < schedule.T:
            raise ValueError(f"t = {level} is not a level of this schedule: need 0 <= t < {schedule.T}")
        random = generator(seed, "attack", level, device=device)
        right = {"clean": 0} if attack is None else {"clean": 0, "robust": 0}
        for x0, e, label in zip(*(part.split(batch_size) for part in (dataset_x0, eps, y))):
            x0, e, label = x0.to(device), e.to(device), label.to(device)
            t = torch.full(label.shape, level, device=device)
            xt = schedule.q_sample(x0, t, e)
            for kind in right:
                x = attack(classifier, xt, t, label, random) if attack is not None and kind == "robust" else xt
                with torch.no_grad():
                    logits = classifier(x, t)
                _check_labels(label, len(x0), logits.shape[1])
                right[kind] += int((logits.argmax(dim=1) == label).sum())
        rows.append({"t": level, **{kind: proportion(count, n) for kind, count in right.items()}})
    return rows


def _check(metric: str, samples: Features, reference: Features | None) -> str:
    """What must be said beside the number; ValueError where it would mean nothing."""
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(METRICS)}")
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


def _see(judge: Any, images: Tensor) -> list[Tensor]:
    """Features, logits and, where the judge offers them, spatial features."""
    x0 = images / 127.5 - 1
    return [judge.features(x0), judge(x0), *([judge.spatial(x0)] if hasattr(judge, "spatial") else [])]


def _device(network: object, images: Tensor) -> torch.device:
    weights = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return images.device if weights is None else weights.device


def _check_labels(labels: Tensor, n: int, classes: int) -> None:
    if labels.shape != (n,):
        raise ValueError(f"labels are {tuple(labels.shape)}: need one for each of {n} images")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {int(labels.min())} to {int(labels.max())}: need 0..{classes - 1}")
