"""`rgd survey make | power | simulate | analyse`: each is one typed function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from rgd.lab.checks import need, numbers, room_for
from rgd.lab.origin import provenance
from rgd.measure import Estimate
from rgd.survey import report
from rgd.survey import simulate as simulation
from rgd.survey.analysis import analyse as analysed
from rgd.survey.analysis import answers_needed
from rgd.survey.answers import gather, read, write
from rgd.survey.design import Key, Method, Survey, draw
from rgd.survey.page import page as whole_page
from rgd.training.checkpoints import write_atomic

File = Annotated[Path, tyro.conf.Positional]


def make(
    file: File = Path("survey.html"), methods: tuple[str, ...] = ("vanilla:4", "robust:4"),
    denoiser: str = "mnist/ddpm", classes: tuple[int, ...] = (), each: int = 2, checks: int = 4, missed: int = 0,
    seed: int = 0, title: str = Survey.title, question: str = Survey.question, consent: str = "", address: str = "",
) -> None:  # fmt: skip
    """Draw the images, and write the page for the raters and, beside it, the key, which stays with you.

    Args:
        file: the page, one file that needs no other.
        methods: GUIDE:SCALE each, as robust:4 or cifar10/robust:4; none:1 has no classifier.
        denoiser: a published model, or one that `rgd train` made.
        classes: the labels to ask for; default all.
        each: pairs for each class and each two methods.
        checks: pairs that check attention.
        missed: raters that miss more checks than these do not count.
        question: asked of each pair; {} is the class.
        consent: who asks, for what, and whom to turn to.
        address: where answers are posted to; without one, raters are given a file.
    """
    need(room_for(file).suffix == ".html", f"{file}: a page ends in .html, and its key has the same name")
    chosen = tuple(Method.parse(method, denoiser) for method in methods)
    survey = Survey(chosen, denoiser, classes, each, checks, missed, seed, title=title, question=question,
                    consent=consent, address=address)  # fmt: skip
    drawn = draw(survey)
    key = file.with_suffix(".json")
    write_atomic(key, json.dumps(drawn.key.to_json(), indent=1).encode())
    write_atomic(file, whole_page(drawn).encode())
    print(f"{len(drawn.key.pairs)} pairs in {file}, for the raters. {key} says who made what: do not give it away")


def power(
    share: float = 0.6, raters: int = 20, pairs: int = 40, taste: float = 0.6, clarity: float = 0.8,
    wanted: float = 0.8, runs: int = 400,
) -> None:  # fmt: skip
    """Before anybody is asked: how many answers it takes, and what raters and pairs that differ make of it.

    Args:
        share: the preference that would matter.
        raters: each sees every pair.
        taste: standard deviation of the raters' own preferences, as log odds.
        clarity: the same of pairs.
        wanted: power that is wanted.
        runs: simulated surveys.
    """
    numbers(2, raters=raters, pairs=pairs, runs=runs)
    n = answers_needed(share, wanted)
    print(f"{n} independent answers notice a share of {share:g} with probability {wanted:g}")
    found = simulation.power(share, raters, pairs, taste, clarity, runs)
    worth = raters * pairs / found["design_effect"]
    print(f"{raters} raters of {pairs} pairs, SIMULATED {runs} times: {found['power']}")
    print(f"their {raters * pairs} answers are worth {worth:.0f} independent ones")


def simulate(
    survey: Path, worths: tuple[float, ...] = (0.0, 0.4), raters: int = 20, taste: float = 0.6, clarity: float = 0.8,
    lazy: float = 0.0, careless: float = 0.0, seed: int = 0, out: Path = Path("simulated"),
) -> None:  # fmt: skip
    """Write the answers of raters of known bias, to try the analysis on. Every file says SIMULATED.

    Args:
        survey: the page, or its key.
        worths: of the methods, in their order, as log odds.
        taste: standard deviation of the raters' own preferences, as log odds.
        clarity: the same of pairs.
        lazy: share of answers that say left whatever is shown.
        careless: share of raters that toss a coin for everything.
        out: a folder.
    """
    numbers(1, raters=raters)
    key, people = Key.read(survey), simulation.People(taste, clarity, lazy, careless)
    for rater in simulation.raters(key, worths, raters, people, seed):
        write_atomic(room_for(out / f"{rater.code}.json"), write(key, rater).encode())
    print(f"{raters} files of SIMULATED answers in {out}")


def analyse(
    answers: Annotated[tuple[Path, ...], tyro.conf.Positional], survey: Path, out: Path = Path("results.json")
) -> None:
    """Read the files that raters gave back, name those that do not count, and say what the others found.

    Args:
        answers: files, or folders of them.
        survey: the page, or its key beside it.
        out: the numbers and their origin; a picture of them goes beside it.
    """
    picture, key = room_for(out).with_suffix(".png"), Key.read(survey)
    need(out.suffix == ".json", f"--out: {out} ends in .json, and the picture has the same name")
    results = analysed(read(gather(answers), key), key)
    record = {**results, "made": dict(key.made), **provenance()}
    write_atomic(out, json.dumps(record, indent=1, default=Estimate.to_json).encode())
    report.figure(results).savefig(picture, dpi=150)
    print(f"{report.text(results)}\n\nThe results are {out}, a picture of them is {picture}")


_STEPS = [
    Annotated[Any, tyro.conf.subcommand(name=f.__name__, constructor=f)] for f in (make, power, simulate, analyse)
]


def survey(step: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[Union[tuple(_STEPS)]]]) -> None:  # type: ignore # noqa: UP007
    """Ask people which of two images is better: make a survey, plan its size, try it, analyse its answers."""
