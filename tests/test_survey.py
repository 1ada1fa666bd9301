"""The survey: what is asked, which files count, and what is made of them, against statsmodels and simulated raters.

Where chance decides, a bound is five standard errors, so that another seed would fail it once in a million times or
less.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from rgd import checkpoints, cli, schedule
from rgd.book import live
from rgd.errors import RgdError
from rgd.measure import Estimate
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.survey import Drawn, Key, Method, Survey, analyse, analysis, answers, draw, page, report, simulate, widget
from rgd.survey.answers import Rater, Trial, write
from rgd.survey.design import SPOILED, pairs_of
from rgd.survey.page import packed

DIGITS = tuple("0123456789")
METHODS = tuple(Method(f"mnist/{name}", 4.0) for name in ("vanilla", "robust", "clean"))
ALIKE = simulate.People(taste=0, clarity=0)
FIVE = 5.0  # standard errors: a false failure in less than one of a million seeds


def drawn(methods: int = 2, **options: Any) -> Drawn:
    """A survey with images of noise."""
    survey = Survey(METHODS[:methods], **options)
    pairs = pairs_of(survey, 10)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(pairs), 2, 1, 28, 28), generator=random, dtype=torch.uint8)
    return Drawn(Key(survey, DIGITS, pairs, hashlib.sha256(images.numpy().tobytes()).hexdigest(), {}), images)


def told(key: Key, raters: int = 20, worths: tuple[float, ...] = (0.0, 0.5), seed: int = 0, **people: Any) -> Any:
    """What simulated raters say, through files and back."""
    found = simulate.raters(key, worths, raters, simulate.People(**people), seed)
    return answers.read({rater.code: write(key, rater) for rater in found}, key)


# ---- What is asked.


def test_every_two_methods_meet_in_every_class() -> None:
    pairs = pairs_of(Survey(METHODS, classes=(3, 8), each=2, checks=5), 10)
    compared = Counter((frozenset((p.first, p.second)), p.label) for p in pairs if p.clean is None)
    assert compared == {(frozenset(two), label): 2 for two in ((0, 1), (0, 2), (1, 2)) for label in (3, 8)}
    checks = [p for p in pairs if p.clean is not None]
    assert len(checks) == 5
    assert all((p.first, p.second)[1 - p.clean] == SPOILED for p in checks if p.clean is not None)
    assert len({(p.first, p.second) for p in pairs if p.clean is None}) == 3, "one method of two is always the first"
    assert {frozenset(p.start for p in pairs if p.clean is None and p.label == c) for c in (3, 8)} == {
        frozenset((0, 2)), frozenset((1, 3))}, "what is compared has the same noise"  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": METHODS[:1]}, "methods must be at least two"),
        ({"methods": METHODS[:1] * 2}, "of different names"),
        ({"each": 0}, "each must be a whole number, at least 1"),
        ({"address": "ftp://x"}, "address must be one of the web"),
    ],
)
def test_surveys_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Survey(**{"methods": METHODS, **options})


def test_methods_are_read() -> None:
    assert Method.parse("robust:4", "mnist/ddpm") == Method("mnist/robust", 4.0)
    assert Method.parse("cifar10/robust:0.5", "mnist/ddpm") == Method("cifar10/robust", 0.5)
    assert Method.parse("none:1", "mnist/ddpm") == Method(None, 1.0)
    for wrong in ("robust", "robust:", ":4", "robust:inf"):
        with pytest.raises(RgdError, match=r"GUIDE:SCALE, such as robust:4"):
            Method.parse(wrong, "mnist/ddpm")


TINY = {"image_size": 8, "in_channels": 1, "model_channels": 32, "num_res_blocks": 1, "channel_mult": (1,),
        "attention_resolutions": ()}  # fmt: skip


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a denoiser and a classifier were made, both of random weights."""
    monkeypatch.chdir(tmp_path)
    for name, config in {
        "ddpm": UNetConfig(**TINY, out_channels=1),
        "guide": EncoderConfig(**TINY, out_channels=3),
    }.items():
        network = build(config)
        with torch.no_grad():
            for weight in network.parameters():
                weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
        denoising = {"predicts": "eps", "variance": "large"} if name == "ddpm" else {}
        model = checkpoints.Model(network, schedule.linear(), denoising, ("ant", "bee", "cow"))
        model.save(tmp_path / "runs" / "tiny" / name / "model.safetensors")
    return tmp_path


def test_both_images_of_a_pair_come_from_the_same_noise(models: Path) -> None:
    """Two guides that do not steer give the same images, and a check is one of them with noise."""
    still = (Method("tiny/guide", 0.0), Method(None, 1.0))
    survey = Survey(still, "tiny/ddpm", each=2, checks=3, steps=4)
    made = draw(survey)
    assert made.images.shape == (9, 2, 1, 8, 8)
    gap = (made.images[:, 0].int() - made.images[:, 1].int()).abs().flatten(1).float().mean(1)
    checks = torch.tensor([pair.clean is not None for pair in made.key.pairs])
    assert (gap[~checks] < 1).all()
    assert (gap[checks] > 20).all()
    clean = {made.images[k, pair.clean or 0].numpy().tobytes() for k, pair in enumerate(made.key.pairs)}
    assert len(clean) == 9, "each pair has noise of its own"
    again = draw(survey)
    assert again.key.digest == made.key.digest
    assert draw(replace(survey, seed=1)).key.digest != made.key.digest
    moved = draw(replace(survey, methods=(Method("tiny/guide", 3.0), still[1])))
    assert not moved.images.equal(made.images)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": (3,)}, r"knows the classes 0 to 2, not \[3\]"),
        ({"denoiser": "tiny/guide"}, "tiny/guide is no denoiser"),
        ({"methods": (Method("tiny/ddpm"), Method(None))}, "tiny/ddpm is no time-dependent classifier"),
        ({"methods": (Method("tiny/guide"), Method(None, 2.0))}, "the denoiser cannot guide itself"),
        ({"methods": (Method("tiny/nobody"), Method(None))}, "tiny/nobody is not published"),
    ],
)
def test_what_cannot_be_drawn(models: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RgdError, match=said):
        draw(
            Survey(**{"methods": (Method("tiny/guide"), Method(None)), "denoiser": "tiny/ddpm", "steps": 2, **options})
        )


def test_the_page_is_whole_and_does_not_say_who_made_what() -> None:
    made = drawn(consent="We are the <b>lab</b>.", title="A & B")
    html = page(made)
    assert "default-src 'none'" in html
    assert "connect-src 'none'" in html
    assert not [
        word for word in ("vanilla", "robust", "mnist", "import ", "http:") if word in html.split("<script>")[0]
    ]
    assert not [word for word in ("vanilla", "robust") if word in html]
    assert "<title>A &amp; B</title>" in html
    assert "<b>" not in html
    posts = page(drawn(address="https://lab.example:8/x;y"))
    assert "connect-src https://lab.example:8;" in posts


def test_a_notebook_is_given_what_the_page_is_given() -> None:
    pytest.importorskip("anywidget", reason="live notebooks show widgets by the extra 'live'")
    shown = widget(drawn(each=1))
    assert shown._esm == live.module("survey")
    assert shown.get_state()["survey"] == packed(drawn(each=1))
    assert shown.answers is None


# ---- Which files count.


def test_a_key_is_read_as_it_was_made(tmp_path: Path) -> None:
    key, path = drawn(3, classes=(1, 2)).key, tmp_path / "s.json"
    path.write_text(json.dumps(key.to_json()))
    assert Key.read(tmp_path / "s.html") == key
    path.write_text(path.read_text().replace('"missed": 0', '"missed": 3'))
    with pytest.raises(RgdError, match="was changed after the survey was made"):
        Key.read(path)
    path.write_text("{}")
    with pytest.raises(RgdError, match="is no key of a survey"):
        Key.read(path)
    with pytest.raises(RgdError, match=r"there is no .*other\.json, the key"):
        Key.read(tmp_path / "other.html")


KEY = drawn(each=1).key
OTHER = drawn(each=1, seed=9).key


def rater(code: str = "abc", seed: int = 0, careless: float = 0, simulated: bool = False) -> Rater:
    people = simulate.People(careless=careless)
    return Rater(code, simulated, simulate.raters(KEY, (0.0, 0.3), 1, people, seed)[0].trials)


def changed(**fields: Any) -> str:
    """A file whose first answer has other fields, and a checksum that fits them."""
    one = rater()
    trials = (Trial(**{**vars(one.trials[0]), **fields}), *one.trials[1:])
    return write(KEY, replace(one, trials=trials))


GOOD = write(KEY, rater())
FIRST = rater().trials[0].pair
BAD = {
    "empty": ("", "is no JSON"),
    "text": ("thank you!", "is no JSON"),
    "cut": (GOOD[: len(GOOD) // 2], "is cut off"),
    "list": ("[1, 2]", "is no file of answers"),
    "number": ("3", "is no file of answers"),
    "deep": ("[" * 100_000, "is no JSON"),
    "other fields": (json.dumps({"answers": {}, "checksum": f"{zlib.crc32(b'{}'):08x}"}), "is no file of answers"),
    "other trials": (GOOD.replace('"ms"', '"s"'), "its checksum does not fit"),
    "edited": (GOOD.replace('"left", "ms"', '"right", "ms"', 1), "was changed after it was written"),
    "unchecked": (GOOD.replace('"checksum"', '"sum"'), "is no file of answers"),
    "another survey": (write(OTHER, rater()), f"is from another survey ({OTHER.digest}, not {KEY.digest})"),
    "no such pair": (changed(pair=99), "answers pairs that there are not: [99]"),
    "negative pair": (changed(pair=-1), "answers pairs that there are not: [-1]"),
    "twice": (changed(pair=rater().trials[1].pair), "answers a pair twice"),
    "third image": (changed(left=2), "has an answer that no page gives"),
    "third side": (changed(choice="middle"), "has an answer that no page gives"),
    "before its time": (changed(ms=-100), "has an answer that no page gives"),
    "truth for a number": (changed(left=True), "is no file of answers"),
    "a code with lines": (write(KEY, rater("a\nb")), "a rater's code that no page draws"),
    "incomplete": (write(KEY, replace(rater(), trials=rater().trials[:-3])), "lacks 3 of 14 answers"),
    "without checks": (
        write(KEY, replace(rater(), trials=tuple(t for t in rater().trials if KEY.pairs[t.pair].clean is None))),
        "lacks 4 of 14 answers, 4 of them to checks of attention",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_left_out(name: str) -> None:
    text, why = BAD[name]
    found = answers.read({"bad": text, "good": write(KEY, rater("xyz", seed=1))}, KEY)
    assert [one.code for one in found.raters] == ["xyz"]
    assert list(found.bad) == ["bad"]
    assert why in found.bad["bad"]
    assert not found.inattentive


def test_a_good_file_is_good_however_it_is_laid_out() -> None:
    spread = json.dumps(json.loads(GOOD), indent=2)
    assert answers.parse(spread, KEY) == answers.parse(GOOD, KEY) == rater()


def test_doubled_files() -> None:
    good, other = rater("good", seed=3), rater("twice", seed=1)
    again = replace(rater("twice", seed=2), code="twice")
    copied = replace(good, code="anew")
    files = {"1": good, "2": good, "3": copied, "4": other, "5": again}
    found = answers.read({name: write(KEY, one) for name, one in files.items()}, KEY)
    assert found.raters == (good,), "of copies the first counts, and of two opinions of one rater neither"
    assert {name: why[:11] for name, why in found.bad.items()} == dict.fromkeys("2345", "is doubled:")
    assert "rater twice also gave other answers" in found.bad["4"]


def test_the_inattentive_are_left_out_by_the_surveys_own_rule() -> None:
    careless = rater("careless", seed=2, careless=1)
    missed = careless.missed(KEY)
    assert missed > 0
    files = {"a": write(KEY, rater()), "b": write(KEY, careless)}
    found = answers.read(files, KEY)
    assert found.inattentive == {"b": f"missed {missed} of 4 checks, and 0 may be missed"}
    assert not found.bad
    patient = replace(KEY, survey=replace(KEY.survey, missed=missed))
    assert len(answers.read({"a": write(patient, rater()), "b": write(patient, careless)}, patient).raters) == 2


def test_simulated_answers_are_never_mixed_with_peoples() -> None:
    files = {"person": write(KEY, rater()), "made up": write(KEY, rater("SIMULATED0", 1, simulated=True))}
    with pytest.raises(RgdError, match="1 of 2 files are SIMULATED, such as made up"):
        answers.read(files, KEY)
    with pytest.raises(RgdError, match="no file of answers counts\n  bad is no JSON"):
        answers.read({"bad": ""}, KEY)
    hidden = files["made up"].replace('"simulated": true', '"simulated": false')
    assert "its checksum does not fit" in answers.read({"1": files["person"], "2": hidden}, KEY).bad["2"]


# ---- What is made of them.


def test_intervals_and_worths_are_those_of_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api", reason="an oracle of the extra 'test'")
    from statsmodels.stats.proportion import proportion_confint

    key = drawn(3, each=3).key
    found = told(key, 15, (0.0, 0.4, 0.9), taste=1.0, clarity=0.5)
    votes, results = analysis.votes(found, key), analyse(found, key)
    groups = {"groups": np.stack([votes.rater.numpy(), votes.start.numpy()], axis=1)}
    X = np.zeros((len(votes), 3))
    X[np.arange(len(votes)), votes.first] = 1
    X[np.arange(len(votes)), votes.second] = -1
    y = votes.answer.double().numpy()
    fit = sm.GLM(y, X[:, 1:], family=sm.families.Binomial()).fit(cov_type="cluster", cov_kwds=groups, tol=1e-13)
    theta, covariance = analysis.bradley_terry(votes, 3)
    np.testing.assert_allclose(theta[1:], fit.params, rtol=1e-8)
    np.testing.assert_allclose(covariance[1:, 1:], fit.cov_params(), rtol=1e-7)
    times = analysis.quantile(votes)
    error = times * fit.bse[1]
    assert results["worths"]["clean, scale 4"].high == pytest.approx(fit.params[1] + error)

    mine, one = votes.between(1, 0), results["comparisons"][0]
    assert (one["a"], one["b"]) == ("robust, scale 4", "vanilla, scale 4")
    groups = {"groups": np.stack([mine.rater.numpy(), mine.start.numpy()], axis=1)}
    y = mine.answer.double().numpy()
    fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds=groups)
    assert one["share"].value == pytest.approx(fit.params[0])
    assert one["share"].high - one["share"].value == pytest.approx(analysis.quantile(mine) * fit.bse[0])
    assert (one["naive"].low, one["naive"].high) == pytest.approx(
        proportion_confint(y.sum(), len(y), method="wilson"), abs=1e-12
    )


def test_agreement_and_cochrans_q_are_those_of_statsmodels() -> None:
    pytest.importorskip("statsmodels", reason="an oracle of the extra 'test'")
    from statsmodels.stats.contingency_tables import cochrans_q
    from statsmodels.stats.inter_rater import fleiss_kappa

    for seed in range(3):
        votes = simulate.comparison(0.3, 7, 25, simulate.People(1.0, 1.5), seed)
        given = analysis.table(votes)
        wins = given.sum(0).numpy()
        assert analysis.kappa(given) == pytest.approx(fleiss_kappa(np.stack([wins, 7 - wins], axis=1)))
        assert analysis.raters_differ(given) == pytest.approx(cochrans_q(given.T.numpy()).pvalue)
    same = torch.ones(4, 6, dtype=torch.float64)
    assert (analysis.kappa(same), analysis.raters_differ(same)) == (1.0, 1.0)


def test_two_methods_are_worth_the_logit_of_their_share() -> None:
    key = drawn().key
    results = analyse(told(key), key)
    share = results["comparisons"][0]["share"].value
    assert results["worths"]["robust, scale 4"].value == pytest.approx(math.log(share / (1 - share)))
    assert results["comparisons"][0]["predicted"] == pytest.approx(share)


def test_the_shares_of_raters_of_known_bias_are_found() -> None:
    """Raters and pairs alike: then answers are independent, and their standard error is known."""
    key = drawn(each=20, checks=2).key
    results = analyse(told(key, 30, (0.0, 0.7), taste=0, clarity=0, lazy=0.2), key)
    n, one, people = 30 * 200, results["comparisons"][0], replace(ALIKE, lazy=0.2)
    truth = people.share(0.7)
    assert truth == pytest.approx(0.1 + 0.8 / (1 + math.exp(-0.7)))
    assert abs(one["share"].value - truth) < FIVE * 0.5 / n**0.5
    assert abs(results["left"].value - 0.6) < FIVE * 0.5 / n**0.5
    lazy = one["share_on_left"] - one["share_on_right"]
    assert abs(lazy - 0.2) < FIVE / n**0.5, "chapter 16's exercise"


def test_worths_of_known_size_are_found() -> None:
    key, true = drawn(3, each=20, checks=2).key, (0.0, -0.5, 0.8)
    found = told(key, 30, true, taste=0, clarity=0)
    votes = analysis.votes(found, key)
    theta, covariance = analysis.bradley_terry(votes, 3)
    gap = theta - torch.tensor(true)
    assert (gap[1:].abs() < FIVE * 1.2 * covariance.diag()[1:].sqrt()).all()  # the error is itself found to a tenth
    p = (theta[votes.first] - theta[votes.second]).sigmoid()
    for method in range(3):
        wins = (votes.answer * (votes.first == method) + (1 - votes.answer) * (votes.second == method)).sum()
        expected = (p * (votes.first == method) + (1 - p) * (votes.second == method)).sum()
        assert float(expected) == pytest.approx(int(wins)), "what greatest likelihood has"


def test_the_shares_of_raters_that_differ_are_those_that_were_ordered() -> None:
    people = simulate.People(taste=0.6, clarity=0.8)
    gap = people.gap(0.6)
    assert people.share(gap) == pytest.approx(0.6)
    assert gap > math.log(0.6 / 0.4), "where people differ, a preference shows less"
    with pytest.raises(ValueError, match=r"share must be from .*, which these raters can give"):
        simulate.People(lazy=1.0).gap(0.6)
    shares = torch.stack([simulate.comparison(gap, 20, 30, people, k).answer.double().mean() for k in range(200)])
    assert abs(float(shares.mean()) - 0.6) < FIVE * 1.15 * float(shares.std()) / 200**0.5


def test_the_clustered_interval_keeps_its_promise_and_wilsons_does_not() -> None:
    """Coverage of one half by 95 % intervals in 300 surveys: at a true coverage of 0.93 fewer than 0.84 are a chance of
    one in a billion; Wilson's is right in about half of them, and 0.7 are as rare."""
    people, clustered, naive = simulate.People(taste=0.6, clarity=0.8), 0, 0
    for k in range(300):
        votes = simulate.comparison(0.0, 20, 40, people, 1000 + k)
        honest = analysis.clustered(votes, votes.answer)
        near = analysis.proportion(int(votes.answer.sum()), len(votes))
        clustered += honest.low <= 0.5 <= honest.high
        naive += near.low <= 0.5 <= near.high
    assert clustered >= 0.84 * 300
    assert naive <= 0.7 * 300


def test_answers_that_are_all_alike_still_leave_room() -> None:
    votes = simulate.comparison(60.0, 5, 8, ALIKE, 0)
    found = analysis.clustered(votes, votes.answer)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(analysis.proportion(40, 40).low)
    with pytest.raises(RgdError, match="some methods never lose"):
        analysis.bradley_terry(votes, 2)
    with pytest.raises(RgdError, match="at least two of each are needed"):
        analysis.clustered(simulate.comparison(0.0, 1, 8, ALIKE, 0), simulate.comparison(0.0, 1, 8, ALIKE, 0).answer)


def test_raters_and_classes_that_differ_are_noticed_and_others_are_not() -> None:
    """P-values are uniform where nothing differs: of 200, fewer than 32 or none is below 0.05 but in one of 10^7."""
    below = Counter[str]()
    labels = torch.arange(40) % 10
    for k in range(200):
        given = analysis.table(simulate.comparison(0.2, 15, 40, simulate.People(0, 1.0), k))
        below["raters"] += analysis.raters_differ(given) < 0.05
        below["classes"] += analysis.classes_differ(given, labels, shuffles=99, seed=k) < 0.05
    assert all(0 < count < 32 for count in below.values()), below
    differ = analysis.table(simulate.comparison(0.0, 15, 40, simulate.People(2.0, 0), 0))
    assert analysis.raters_differ(differ) < 1e-6
    planted = torch.rand(15, 40, generator=torch.Generator().manual_seed(0)) < torch.where(labels < 5, 0.2, 0.8)
    assert analysis.classes_differ(planted.double(), labels) < 1e-3


def test_power_is_exact() -> None:
    for n, p in ((20, 0.7), (51, 0.6), (200, 0.55)):
        k = np.arange(n + 1)
        rejected = 2 * np.minimum(binom.cdf(k, n, 0.5), binom.sf(k - 1, n, 0.5)) <= 0.05
        assert analysis.power(n, p) == pytest.approx(binom.pmf(k, n, p)[rejected].sum())
    for p in (0.8, 0.6, 0.45, 0.52):
        n = analysis.answers_needed(p, 0.8)
        later = analysis.power(np.arange(n, 2 * n), p)
        assert (later >= 0.8).all()
        assert analysis.power(n - 1, p) < 0.8
        rule = (1.96 * 0.5 + 0.84 * math.sqrt(p * (1 - p))) ** 2 / (p - 0.5) ** 2
        assert n == pytest.approx(rule, rel=0.15, abs=4), "chapter 16's rule"
    for p in (0.5, 0.5001):
        with pytest.raises(RgdError, match="more than a million answers"):
            analysis.answers_needed(p)


def test_power_of_raters_that_differ() -> None:
    """Alike, they are as good as independent answers, to the quantile of few raters; else they are worth fewer."""
    alike = simulate.power(0.65, 10, 20, 0, 0, runs=300)
    assert abs(alike["design_effect"] - 1) < FIVE * (2 / 300) ** 0.5
    differ = simulate.power(0.65, 10, 20, 1.0, 0.8, runs=300)
    assert differ["design_effect"] > 2
    assert differ["power"].high < alike["power"].low


# ---- The command.


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["rgd", "survey", *map(str, arguments)])
    with contextlib.suppress(SystemExit):  # any other exception would be a traceback
        cli.main()
    said = capsys.readouterr()
    return said.out + said.err


def test_a_survey_from_its_making_to_its_results(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(capsys, monkeypatch, "make", "s.html", "--denoiser", "tiny/ddpm", "--methods", "guide:2", "none:1")
    assert "10 pairs in s.html" in made
    assert "SIMULATED" in run(capsys, monkeypatch, "simulate", "--survey", "s.html", "--raters", "6", "--out", "told")
    assert len(list((models / "told").glob("SIMULATED*.json"))) == 6
    (models / "told" / "cut.json").write_text((models / "told" / "SIMULATED0.json").read_text()[:90])
    said = run(capsys, monkeypatch, "analyse", "told", "--survey", "s.html", "--out", "out/found.json")
    assert said.startswith("SIMULATED: nobody was asked\nleft out, bad: told/cut.json is cut off")
    assert "none, scale 1 preferred to guide, scale 2, 6 raters, 6 pairs" in said
    found = json.loads((models / "out" / "found.json").read_text())
    assert found["simulated"] is True
    assert found["made"]["weights"].keys() == {"tiny/ddpm", "tiny/guide"}
    assert found["commit"] == found["commit"]
    assert (models / "out" / "found.png").stat().st_size > 10_000
    assert "there is no nowhere" in run(capsys, monkeypatch, "analyse", "nowhere", "--survey", "s.html")
    assert "a page ends in .html" in run(capsys, monkeypatch, "make", "s.htm")


def test_the_size_is_told_before(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(capsys, monkeypatch, "power", "--share", "0.7", "--raters", "5", "--pairs", "6", "--runs", "20")
    assert f"{analysis.answers_needed(0.7)} independent answers notice a share of 0.7" in said
    assert "SIMULATED 20 times" in said


def test_only_what_was_simulated_says_so() -> None:
    key = drawn(3).key
    found = told(key, 4, (0.0, 0.3, 0.5))
    people = replace(found, raters=tuple(replace(one, simulated=False) for one in found.raters))
    for who, says in ((found, True), (people, False)):
        results = analyse(who, key)
        assert ("SIMULATED" in report.text(results).splitlines()[0]) is says
        words = [text.get_text() for text in report.figure(results).texts]
        assert (words == ["SIMULATED"]) is says
        assert json.loads(json.dumps(results, default=Estimate.to_json))["simulated"] is says
