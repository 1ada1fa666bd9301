"""Each number of rgd.metrics against an oracle: a closed form, a printed table, or torch-fidelity itself."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torch_fidelity
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor, nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from rgd import measure as metrics
from rgd.attacks import L2, PGD
from rgd.data import Dataset, load
from rgd.errors import CheckpointError
from rgd.lab import registry as zoo
from rgd.lab.judge import JudgeConfig
from rgd.measure import (
    METRICS,
    Estimate,
    Features,
    accuracy_by_t,
    estimate,
    evaluate,
    extract,
    jackknife,
    paired_difference,
    proportion,
    quantise,
)
from rgd.measure.scores import TABLE
from rgd.networks import build
from rgd.schedule import linear

SHAPE, CLASSES, WIDTH = (1, 6, 6), 3, 8


class Judge(nn.Module):
    """Random weights; batch normalisation, so that its training mode would give other numbers."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(SHAPE), WIDTH), nn.BatchNorm1d(WIDTH), nn.Tanh()
            )
            self.head = nn.Linear(WIDTH, CLASSES)

    def features(self, x0: Tensor) -> Tensor:
        return self.body(x0)

    def forward(self, x0: Tensor) -> Tensor:
        return self.head(self.features(x0))


class Blind(Judge):
    """It must not be asked."""

    def features(self, x0: Tensor) -> Tensor:
        raise AssertionError("work")


class Bytes(torch.utils.data.Dataset):
    """uint8 images as torch-fidelity wants them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, seed: int, low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, (n, *SHAPE), generator=gen(seed), dtype=torch.uint8)


def dataset(images: Tensor) -> Dataset:
    return Dataset(images=images, labels=torch.arange(len(images)) % CLASSES, classes=("a", "b", "c"), name="test")


def seen(features: Tensor, logits: Tensor | None = None, labels: Tensor | None = None) -> Features:
    logits = torch.zeros(len(features), CLASSES) if logits is None else logits
    return Features(features.double(), logits.double(), "made up", SHAPE, labels, features.double().flip(1))


def normal(n: int, seed: int, dim: int = 4, shift: float = 0.0) -> Tensor:
    return torch.randn(n, dim, generator=gen(seed), dtype=torch.float64) + shift


# ---------------------------------------------------------------------------------------------------- intervals


# Newcombe (1998), Statistics in Medicine 17, Table I, method 3 (score without continuity correction).
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    made = proportion(successes, n)
    assert made.value == successes / n
    assert (round(made.low, 4), round(made.high, 4)) == (low, high)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_no_proportion(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        proportion(successes, n)


def test_estimate_prints_as_many_digits_as_it_knows_and_becomes_json() -> None:
    assert str(Estimate(0.93412, 0.92134, 0.94521, 1500, "Wilson")) == "0.934 [0.921, 0.945]"
    assert str(Estimate(123.4, 110.2, 136.6, 10, "")) == "123 [110, 137]"
    assert str(Estimate(0.000123, 0.000101, 0.000145, 10, "")) == "0.000123 [0.000101, 0.000145]"
    assert str(Estimate(1.0, 1.0, 1.0, 10, "")) == "1.000 [1.000, 1.000]"
    made = proportion(3, 4)
    assert Estimate(**json.loads(json.dumps(made.to_json()))) == made


def test_a_share_is_the_proportion_of_a_mask() -> None:
    assert metrics.share(torch.tensor([[True, False], [True, True]])) == proportion(3, 4)
    with pytest.raises(ValueError, match="no proportion"):
        metrics.share(torch.zeros(0, dtype=torch.bool))


def test_the_interval_of_a_mean_is_students() -> None:
    x = normal(7, seed=2, dim=1)[:, 0]
    made, theirs = metrics.mean(torch.cat([x, torch.tensor([math.nan])])), ttest_1samp(x, 0).confidence_interval(0.95)
    assert made.n == 7
    assert (made.low, made.high) == pytest.approx((theirs.low, theirs.high))
    same = metrics.mean(torch.full((5,), 0.25))
    assert (same.low, same.value, same.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("n", [60, 5])
def test_jackknife_gives_the_standard_error_of_a_mean(n: int) -> None:
    x = normal(n, seed=1, dim=1)[:, 0]
    made = jackknife(lambda i: x[i].mean().item(), n, halves=4000)
    error = x.std().item() / math.sqrt(n)  # 4000 halves know it to 1.1 %
    assert made.value == pytest.approx(x.mean().item())
    assert made.high - made.value == pytest.approx(1.96 * error, rel=0.05)
    assert made.value - made.low == pytest.approx(made.high - made.value)


def test_jackknife_covers_a_mean_at_the_stated_rate() -> None:
    runs, n = 500, 80
    x = torch.empty(runs, n, dtype=torch.float64).exponential_(1.0, generator=gen(2))  # skewed, mean 1
    made = [jackknife(lambda i, row=row: row[i].mean().item(), n, seed=k) for k, row in enumerate(x)]
    covered = sum(e.low <= 1.0 <= e.high for e in made) / runs
    # 95 % by the normal law; 30 halves and the skew cost about 2 %. Three standard errors of `covered` are 3 %.
    assert 0.90 <= covered <= 0.98


def test_jackknife_depends_on_its_seed_alone_and_owns_up_to_no_spread() -> None:
    x = normal(20, seed=3, dim=1)[:, 0]

    def made(seed: int) -> Estimate:
        return jackknife(lambda i: x[i].median().item(), 20, seed=seed)

    torch.manual_seed(0)
    first = made(5)
    torch.rand(7)
    assert made(5) == first
    assert made(6) != first
    assert "says nothing" in jackknife(lambda i: 1.0, 10).method
    assert "says nothing" not in first.method
    with pytest.raises(ValueError, match="at least 2"):
        jackknife(lambda i: 1.0, 10, halves=1)


# ------------------------------------------------------------------------------------------------------ distances


def exactly(mean: Tensor, root: Tensor, n: int, seed: int) -> Tensor:
    """n points whose sample mean is `mean` and whose sample covariance is `root @ root.T`, to rounding."""
    z = normal(n, seed, len(mean))
    z = z - z.mean(dim=0)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T @ z / (n - 1)), z.T, upper=False).T
    return z @ root.T + mean


def test_fd_of_gaussians_is_the_closed_form() -> None:
    roots = torch.randn(2, 4, 4, generator=gen(4), dtype=torch.float64)
    means = torch.randn(2, 4, generator=gen(5), dtype=torch.float64)
    a, b = (exactly(m, r, 300, seed) for seed, (m, r) in enumerate(zip(means, roots)))
    one, two = (r @ r.T for r in roots)
    cross = sqrtm(one.numpy() @ two.numpy()).real
    closed = (means[0] - means[1]).square().sum() + one.trace() + two.trace() - 2 * np.trace(cross)
    made = estimate("fd", seen(a), seen(b))
    assert made.value == pytest.approx(closed.item(), rel=1e-9)
    assert made.low < made.value < made.high
    assert estimate("fd", seen(a), seen(a)).value == pytest.approx(0, abs=1e-9)


def test_fd_is_computed_in_float64() -> None:
    full = torch.full((3,), 1e4, dtype=torch.float64)
    a = exactly(full, torch.eye(3).double(), 200, 1)  # in float32 the spread would drown in the mean
    b = exactly(full + 1e-3, torch.eye(3).double(), 200, 2)
    assert estimate("fd", seen(a), seen(b)).value == pytest.approx(3e-6, rel=1e-3)


def test_fd_interval_covers_where_the_bias_is_small() -> None:
    shift, runs = 2.0, 60
    reference = seen(exactly(torch.zeros(2).double(), torch.eye(2).double(), 500, 9))
    made = [estimate("fd", seen(normal(400, k, 2, shift)), reference) for k in range(runs)]
    covered = sum(e.low <= 2 * shift**2 <= e.high for e in made) / runs
    assert covered >= 0.85  # 0.94 less three standard errors


@pytest.mark.parametrize("sizes", [(90, 70), (80, 80), (60, 100)])
def test_everything_agrees_with_torch_fidelity(sizes: tuple[int, int]) -> None:
    images, reference = pictures(sizes[0], 1, 0, 200), pictures(sizes[1], 2, 30, 256)
    judge = Judge().eval()
    name = metrics.register_judge("rgd-test-judge", judge)
    theirs = torch_fidelity.calculate_metrics(
        input1=Bytes(images), input2=Bytes(reference), feature_extractor=name, cuda=False, verbose=False,
        isc=True, fid=True, kid=True, prc=True, kid_subset_size=min(sizes), save_cpu_ram=True,
    )  # fmt: skip
    ours = evaluate(images / 127.5 - 1, dataset(reference), judge=judge, halves=2, batch_size=32)
    assert list(ours) == ["fd_judge", "kid", "isc", "precision", "recall"]
    for mine, key in [
        ("fd_judge", torch_fidelity.KEY_METRIC_FID),
        ("isc", torch_fidelity.KEY_METRIC_ISC_MEAN),
        ("precision", torch_fidelity.KEY_METRIC_PRECISION),
        ("recall", torch_fidelity.KEY_METRIC_RECALL),
        *([("kid", torch_fidelity.KEY_METRIC_KID_MEAN)] if sizes[0] == sizes[1] else []),  # else it draws subsets
    ]:
        assert ours[mine].value == pytest.approx(theirs[key], rel=1e-6), mine
        assert ours[mine].low <= ours[mine].value <= ours[mine].high
    assert 0 < theirs["precision"] < 1  # or the last two would be no test
    assert 0 < theirs["recall"] < 1
    assert all(p.requires_grad for p in judge.parameters())  # torch-fidelity froze its copy, not ours


def test_judges_of_one_name_do_not_share_torch_fidelitys_cache(tmp_path: Path) -> None:
    images, reference, names = Bytes(pictures(40, 1, 0, 200)), Bytes(pictures(40, 2, 30, 256)), []
    for seed in (1, 2):
        judge = Judge(seed).eval()
        names.append(metrics.register_judge("rgd-test-same", judge))
        assert metrics.register_judge("rgd-test-same", copy.deepcopy(judge)) == names[-1]
        cached, fresh = (
            torch_fidelity.calculate_metrics(
                input1=images, input2=reference, input2_cache_name="reference", feature_extractor=names[-1], fid=True,
                cache=cache, cache_root=str(tmp_path), cuda=False, verbose=False, save_cpu_ram=True,
            )
            for cache in (True, False)
        )  # fmt: skip
        assert cached == pytest.approx(fresh)
    assert len(set(names)) == 2


def test_spatial_distance_is_the_frechet_distance_of_spatial_features() -> None:
    network = build(JudgeConfig(image_size=8, in_channels=1, out_channels=10), seed=3).eval()
    images = [torch.rand(90, 1, 8, 8, generator=gen(k)) * 2 - 1 for k in (1, 2)]
    a, b = (extract(x, network) for x in images)
    with torch.no_grad():
        # Seven channels at each of 2 x 2 places, which the rest of the judge sees too.
        stages = network.body[:14](quantise(images[0]) / 127.5 - 1)
    assert stages.shape == (90, 64, 2, 2)
    assert torch.equal(a.spatial, stages[:, :7].reshape(90, 28).double())
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(x.spatial) for x in (a, b)), False)
    found = estimate("sfd", a, b, halves=2)
    assert found.value == pytest.approx(theirs[torch_fidelity.KEY_METRIC_FID])
    assert a[torch.arange(5)].spatial.shape == (5, 28)
    scores = evaluate(images[0], images[1], judge=network, halves=2)
    assert scores["sfd_judge"].value == pytest.approx(theirs[torch_fidelity.KEY_METRIC_FID])
    with pytest.raises(ValueError, match="spatial features"):
        estimate("sfd", replace(a, spatial=None), b)


def test_a_named_reference_brings_its_data_and_its_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(JudgeConfig(image_size=8, in_channels=1, out_channels=10), seed=3).eval()
    monkeypatch.setattr(zoo, "names", lambda: ("digits/judge",))
    monkeypatch.setattr(zoo, "load", {"digits/judge": network}.__getitem__)
    digits = load("digits")
    found = evaluate(digits.x0()[:60], "digits", labels=digits.labels[:60], halves=2, metrics=["accuracy", "fd"])
    assert found == evaluate(digits.x0()[:60], digits, judge=network, labels=digits.labels[:60], halves=2,
                             metrics=["accuracy", "fd"])  # fmt: skip
    monkeypatch.setattr(zoo, "names", lambda: ())
    with pytest.raises(ValueError, match="nothing sees the images"):
        evaluate(digits.x0()[:60], "digits")


def test_kid_is_the_mean_over_all_pairs() -> None:
    a, b = normal(1500, 1), normal(1100, 2, shift=0.3)  # more than one block of rows
    xx, yy, xy = (polynomial_kernel(p, q, degree=3) for p, q in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    expected = (xx.sum() - xx.trace()) / n / (n - 1) + (yy.sum() - yy.trace()) / m / (m - 1) - 2 * xy.mean()
    made = estimate("kid", seen(a), seen(b))
    assert made.value == pytest.approx(expected, rel=1e-9)
    subsets = kid_features_to_metric(a, b, kid_subset_size=1000, kid_subsets=20, verbose=False)
    mean, spread = (subsets[key] for key in (torch_fidelity.KEY_METRIC_KID_MEAN, torch_fidelity.KEY_METRIC_KID_STD))
    assert abs(mean - made.value) < spread  # what torch-fidelity estimates


def test_recall_interval_is_about_as_wide_as_fresh_samples_vary() -> None:
    reference = seen(normal(300, 0, 3))
    fresh = torch.tensor(
        [estimate("recall", seen(normal(200, k, 3, 1.0)), reference, halves=2).value for k in range(1, 61)]
    )
    widths = [estimate("recall", seen(normal(200, k, 3, 1.0)), reference) for k in range(1, 11)]
    error = sum(e.high - e.low for e in widths) / len(widths) / (2 * 1.96)
    assert 0.6 <= error / fresh.std().item() <= 1.6


@pytest.mark.parametrize("metric", ["fd", "sfd", "kid", "isc", "recall"])
def test_halves_scored_at_once_are_as_if_alone(metric: str) -> None:
    """Also so few, far apart, that none of a point's nearest neighbours is among them."""
    x, y = normal(300, 1, 5), normal(2100, 2, 5, 0.3)
    chosen = [torch.arange(300), torch.randperm(300, generator=gen(3))[:150], torch.arange(0, 300, 50)]
    chosen = chosen[:2] if metric == "isc" else chosen
    score = TABLE[metric][1](y)
    alone = [score(x[i], [torch.arange(len(i))])[0] for i in chosen]
    assert score(x, chosen) == pytest.approx(alone, rel=1e-9)


def test_recall_is_that_of_its_definition() -> None:
    x, y = normal(200, 1, 3, 1.0), normal(150, 2, 3)
    radii = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1).values[:, 3]
    inside = torch.cdist(y, x, compute_mode="donot_use_mm_for_euclid_dist") <= radii
    assert TABLE["recall"][1](y)(x, [torch.arange(200)]) == [inside.any(1).double().mean().item()]


def test_frechet_distance_of_a_singular_covariance() -> None:
    """Fewer samples than features, as where a note warns of it."""
    x, y = normal(30, 1, 80), normal(40, 2, 80, 0.2)
    theirs = fid_statistics_to_metric(fid_features_to_statistics(x), fid_features_to_statistics(y), False)
    ours = TABLE["fd"][1](y)(x, [torch.arange(30)])
    assert ours == pytest.approx([theirs[torch_fidelity.KEY_METRIC_FID]], rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), metric=st.sampled_from(sorted(set(METRICS) - {"isc"})))
def test_the_order_of_images_does_not_matter(seed: int, metric: str) -> None:
    logits, labels = normal(24, 8, CLASSES), torch.arange(24) % CLASSES
    samples, reference = seen(normal(24, 6), logits, labels), seen(normal(24, 7, shift=0.5))
    i, j = (torch.randperm(24, generator=gen(seed + k)) for k in (0, 1))
    plain = estimate(metric, samples, reference, halves=2)
    mixed = estimate(metric, samples[i], reference[j], halves=2)
    assert mixed.value == pytest.approx(plain.value, rel=1e-9, abs=1e-12)


def test_paired_difference_is_narrower_when_matched() -> None:
    reference, base = seen(normal(300, 0)), normal(200, 1, shift=1.0)
    a, b = seen(base), seen(base + 0.05 * normal(200, 2) + 0.06)
    paired = paired_difference("fd", a, b, reference)
    single = [estimate("fd", f, reference) for f in (a, b)]
    assert paired.value == pytest.approx(single[0].value - single[1].value)
    assert paired.low < paired.high < 0  # b is farther, and that is seen ...
    assert single[1].low < single[0].high  # ... though each alone would leave it open
    unmatched = paired_difference("fd", a, b[torch.randperm(200, generator=gen(3))], reference)
    assert paired.high - paired.low < 0.5 * (unmatched.high - unmatched.low)
    zero = paired_difference("fd", a, a, reference)
    assert (zero.value, zero.low, zero.high) == (0, 0, 0)


def test_paired_difference_of_accuracies_counts_only_what_changed() -> None:
    labels = torch.arange(90) % CLASSES
    right = torch.nn.functional.one_hot(labels, CLASSES)
    wrong = right.roll(1, dims=1)
    logits_a = torch.where((torch.arange(90) < 60)[:, None], right, wrong)
    logits_b = torch.where((torch.arange(90) < 50)[:, None], right, wrong)
    a, b = (seen(normal(90, 0), logits, labels) for logits in (logits_a, logits_b))
    made = paired_difference("accuracy", a, b)
    share = 10 / 90  # of samples differ, all in a's favour, so the difference is binomial
    assert made.value == pytest.approx(share)
    width = 2 * student.ppf(0.975, 89)
    assert (made.high - made.low) / width == pytest.approx(math.sqrt(share * (1 - share) / 89))


# -------------------------------------------------------------------------------------------------------- evaluate


def test_accuracy_is_the_judges_and_gets_wilsons_interval() -> None:
    judge, images = Judge(1).eval(), pictures(50, 3)
    labels = torch.arange(50) % CLASSES
    with torch.no_grad():
        right = int((judge(images / 127.5 - 1).argmax(dim=1) == labels).sum())
    made = evaluate(images / 127.5 - 1, pictures(20, 4), judge=judge, labels=labels, metrics=["accuracy"])
    wilson = proportion(right, 50)
    assert (made["accuracy"].value, made["accuracy"].low, made["accuracy"].high) == (
        wilson.value,
        wilson.low,
        wilson.high,
    )
    assert made["accuracy"].n == 50


def test_features_can_be_computed_once_and_do_not_depend_on_mode_or_batch() -> None:
    judge, reference = Judge(), pictures(30, 5)  # in training mode, as a new module is
    once = extract(reference, judge)
    assert judge.training
    assert torch.equal(judge.body[2].running_mean, torch.zeros(WIDTH))
    again = extract(dataset(reference), judge.eval(), batch_size=7)
    assert not judge.training
    assert torch.allclose(once.features, again.features, atol=1e-6)
    assert once.features.dtype == torch.float64
    x0 = pictures(40, 6) / 127.5 - 1
    direct = evaluate(x0, reference, judge=judge, metrics=["fd", "recall"])
    assert evaluate(x0, once, judge=judge, metrics=["fd", "recall"]) == direct


def test_quantise_inverts_bytes_and_clamps() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(quantise(levels / 127.5 - 1), levels)
    assert quantise(torch.tensor([-1.3, 1.3]).reshape(1, 1, 1, 2)).flatten().tolist() == [0, 255]


def test_too_few_samples_are_flagged() -> None:
    few, many = seen(normal(40, 0, dim=50)), seen(normal(200, 1, dim=50))
    assert "singular" in estimate("fd", few, many).method
    assert "singular" in estimate("fd", many, few).method
    assert "singular" not in estimate("fd", many, many).method
    logits = normal(50, 2, dim=10)
    assert "biased low: 10 splits of 5 samples for 10 classes" in estimate("isc", seen(normal(50, 0), logits)).method
    with pytest.raises(ValueError, match="isc needs at least 40 samples, not 39"):
        estimate("isc", seen(normal(39, 0)))
    with pytest.raises(ValueError, match="recall needs at least 8"):
        estimate("recall", seen(normal(7, 0)), many)
    with pytest.raises(ValueError, match="more than 3"):
        estimate("kid", many, seen(normal(3, 0, dim=50)))


def test_intervals_stay_within_their_range() -> None:
    sure = 20 * torch.nn.functional.one_hot(torch.arange(400) % CLASSES, CLASSES)
    score = estimate("isc", seen(normal(400, 0), sure))
    assert score.value < score.high == CLASSES  # a sure judge and equal classes: the most there is
    near, reference = seen(normal(60, 0)), seen(normal(60, 1))
    assert estimate("fd", near, reference, seed=1).low >= 0
    assert estimate("recall", near, reference).high <= 1
    assert estimate("precision", seen(reference.features), reference).value == 1
    assert estimate("precision", seen(reference.features), reference).low == proportion(60, 60).low < 1


def nan_image() -> Tensor:
    x0 = pictures(10, 0) / 127.5 - 1
    x0[3, 0, 2, 2] = math.nan
    return x0


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (nan_image(), "1 of 10 images hold NaN"),
        (torch.zeros(0, *SHAPE), "N > 0"),
        (torch.zeros(1, *SHAPE), "at least 2"),
        (torch.zeros(9, 1, 5, 6), r"samples \(1, 5, 6\) and reference \(1, 6, 6\) differ"),
        (torch.zeros(*SHAPE), r"need \(N, C, H, W\)"),
        (pictures(9, 0).float(), r"must lie in \[-1, 1\]"),
    ],
)
def test_samples_that_cannot_be_scored(samples: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(samples, pictures(20, 1), judge=Judge())


def test_arguments_that_do_not_fit() -> None:
    x0, reference, judge = pictures(10, 0) / 127.5 - 1, pictures(20, 1), Judge()
    for labels in (torch.full((10,), 3), torch.full((10,), -1)):
        with pytest.raises(ValueError, match=r"need 0\.\.2"):
            evaluate(x0, reference, judge=judge, labels=labels, metrics=["accuracy"])
    with pytest.raises(ValueError, match="one for each of 10"):
        evaluate(x0, reference, judge=judge, labels=torch.zeros(9, dtype=torch.long), metrics=["accuracy"])
    with pytest.raises(ValueError, match="accuracy needs judge"):
        evaluate(x0, reference, judge=judge, metrics=["accuracy"])
    with pytest.raises(ValueError, match="nothing sees the images"):
        evaluate(x0, reference)
    with pytest.raises(ValueError, match="unknown metric 'fib'"):  # before what is blind looks at anything
        evaluate(x0, reference, judge=Blind(), metrics=["fd", "fib"])
    with pytest.raises(ValueError, match="sfd needs a judge with spatial features"):
        evaluate(x0, reference, judge=Blind(), metrics=["fd", "sfd"])
    with pytest.raises(ValueError, match="with one network"):
        evaluate(x0, extract(reference, Judge(1)), judge=judge, metrics=["fd"])
    with pytest.raises(TypeError, match="is no judge"):
        evaluate(x0, reference, judge=nn.Flatten())
    with pytest.raises(ValueError, match="do not pair"):
        paired_difference("fd", extract(x0, judge), extract(x0[:9], judge), extract(reference, judge))
    with pytest.raises(ValueError, match="accuracy needs the labels"):
        estimate("accuracy", extract(x0, judge))
    with torch.no_grad():
        judge.head.bias[0] = math.inf
    with pytest.raises(ValueError, match="NaN or infinite features"):
        extract(x0, judge)


# ------------------------------------------------------------------------------------------------------- inception


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights in the file format of the real ones."""
    path = str(tmp_path_factory.mktemp("inception") / "random.pth")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(nn.Module, "load_state_dict", lambda self, state, **_: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        network = torch_fidelity.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="none")
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.check
def test_inception_features_are_torch_fidelitys(inception_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RGD_INCEPTION", inception_file)
    images, reference, judge = pictures(8, 0), pictures(6, 1), Judge()
    theirs = torch_fidelity.calculate_metrics(
        input1=Bytes(images.repeat(1, 3, 1, 1)), input2=Bytes(reference.repeat(1, 3, 1, 1)), cuda=False, kid=True,
        kid_subset_size=6, feature_extractor_weights_path=inception_file, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    ours = evaluate(
        images / 127.5 - 1, reference, judge=judge, labels=torch.zeros(8, dtype=torch.long), batch_size=4,
        inception=metrics.load_inception(), metrics=["kid", "accuracy"], halves=2,
    )  # fmt: skip
    assert ours["kid"].value == pytest.approx(theirs[torch_fidelity.KEY_METRIC_KID_MEAN], rel=1e-3)
    assert "inception" in ours["kid"].method
    assert "judge" in ours["accuracy"].method


def test_only_inception_may_give_a_fid() -> None:
    class Tiny(torch_fidelity.FeatureExtractorBase):
        """Stands in for Inception: three channels of bytes in, features and logits out."""

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "2048", "logits_unbiased"

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            assert images.dtype == torch.uint8
            assert images.shape[1:] == (3, 6, 6)
            assert torch.equal(images[:, 0], images[:, 2])
            flat = images[:, 0].flatten(1).float() / 255
            return flat[:, :WIDTH], flat[:, :CLASSES]

    tiny = Tiny("tiny", ["2048", "logits_unbiased"])
    made = evaluate(pictures(50, 0) / 127.5 - 1, pictures(60, 1), inception=tiny, judge=Judge(), halves=2)
    assert "fid" in made
    assert "fd_judge" not in made


def test_inception_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delenv("RGD_INCEPTION", raising=False)

    def offline(url: str, **options: object) -> None:
        assert options["check_hash"]
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(CheckpointError, match=r"6726825d\.pth: .*no network.*https://.*RGD_INCEPTION"):
        metrics.load_inception()
    with pytest.raises(CheckpointError, match=r"absent\.pth"):
        metrics.load_inception(tmp_path / "absent.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        metrics.load_inception(tmp_path / "other.pth")


class Trap:
    """Unpickling it would leave a mark."""

    def __reduce__(self) -> tuple:
        return (eval, ("__import__('builtins').__dict__.__setitem__('trapped', True)",))


def test_inception_weights_are_not_unpickled(tmp_path) -> None:
    import builtins

    torch.save(Trap(), tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="eval"):
        metrics.load_inception(tmp_path / "evil.pth")
    assert not hasattr(builtins, "trapped")


# --------------------------------------------------------------------------------------------------- accuracy by t


def brightness(xt: Tensor, t: Tensor) -> Tensor:
    """Two classes, dark and bright."""
    mean = xt.flatten(1).mean(dim=1)
    return torch.stack([-mean, mean], dim=1)


def test_accuracy_by_t_is_gausss_integral_and_attacks_lower_it() -> None:
    n, schedule = 4000, linear(100)
    y = torch.arange(n) % 2
    x0 = (y * 2.0 - 1).reshape(-1, 1, 1, 1).expand(n, *SHAPE) * 0.2

    def attack(classifier, xt: Tensor, t: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        xt = xt.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(classifier(xt, t), y, reduction="sum"), xt)
        return xt.detach() + 0.05 * gradient.sign()

    rows = accuracy_by_t(brightness, x0, y, schedule, [0, 50, 99], attack=attack, batch_size=999)
    assert [row["t"] for row in rows] == [0, 50, 99]
    for row in rows:
        keep, sigma = schedule.alpha_bar[row["t"]].sqrt(), (1 - schedule.alpha_bar[row["t"]]).sqrt() / 6
        for kind, margin in (("accuracy", 0.2 * keep), ("accuracy_attacked", 0.2 * keep - 0.05)):
            exact = torch.distributions.Normal(0.0, 1.0).cdf(margin / sigma).item()
            error = math.sqrt(max(exact * (1 - exact), 1e-4) / n)
            assert abs(row[kind].value - exact) < 3.5 * error
            assert row[kind].n == n
    assert rows[1]["accuracy_attacked"].high < rows[1]["accuracy"].low


def test_accuracy_by_t_depends_on_the_seed_not_on_the_batches() -> None:
    y = torch.arange(200) % 2
    x0 = (y * 2.0 - 1).reshape(-1, 1, 1, 1).expand(200, *SHAPE) * 0.1

    def rows(**options) -> list[dict]:
        return accuracy_by_t(brightness, x0, y, linear(100), [60, 90], **options)

    assert rows(batch_size=7) == rows()
    assert rows(seed=1) != rows()
    assert all(set(row) == {"t", "accuracy"} for row in rows())


def test_an_attack_may_begin_at_random() -> None:
    y = torch.arange(400) % 2
    x0 = (y * 2.0 - 1).reshape(-1, 1, 1, 1).expand(400, *SHAPE) * 0.05
    attack = PGD(L2(0.5), steps=3, random_start=True)
    rows = [accuracy_by_t(brightness, x0, y, linear(100), [50], attack=attack) for _ in range(2)]
    assert rows[0] == rows[1]
    assert rows[0][0]["accuracy_attacked"].high < rows[0][0]["accuracy"].low


def test_accuracy_by_t_refuses_nonsense() -> None:
    x0, y, schedule = torch.zeros(4, *SHAPE), torch.zeros(4, dtype=torch.long), linear(10)
    with pytest.raises(ValueError, match="0 <= t < 10"):
        accuracy_by_t(brightness, x0, y, schedule, [10])
    with pytest.raises(ValueError, match=r"need 0\.\.1"):
        accuracy_by_t(brightness, x0, y + 2, schedule, [0])
    with pytest.raises(ValueError, match="one for each of 4"):
        accuracy_by_t(brightness, x0, y[:3], schedule, [0])
    with pytest.raises(ValueError, match="empty"):
        accuracy_by_t(brightness, x0[:0], y[:0], schedule, [0])


def test_halves_and_seed_are_handed_on() -> None:
    x0, reference, judge = pictures(40, 0) / 127.5 - 1, pictures(60, 1), Judge().eval()
    a, b, r = extract(x0, judge), extract(-x0, judge), extract(reference, judge)
    options = {"halves": 5, "seed": 3}
    found = evaluate(x0, reference, judge=judge, metrics=["fd"], **options)["fd_judge"]
    assert found == estimate("fd", a, r, **options) != estimate("fd", a, r, halves=5)
    paired = paired_difference("fd", a, b, r, **options)
    assert paired != paired_difference("fd", a, b, r, halves=5)
