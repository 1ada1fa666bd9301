"""The files that raters give back: read with mistrust, and those that do not count are named with the reason."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rgd.errors import RgdError
from rgd.lab.checks import need
from rgd.survey.design import Key

SIDES = ("left", "right")


@dataclass(frozen=True)
class Trial:
    """One answer: the pair's number, which of its images was `left`, the side that was preferred, and in what time."""

    pair: int
    left: int
    choice: str
    ms: int

    @property
    def preferred(self) -> int:
        """The image that was preferred, 0 or 1."""
        return self.left if self.choice == "left" else 1 - self.left


@dataclass(frozen=True)
class Rater:
    """Who answered, under a code drawn by lot, or by which simulation; all trials, in the order of asking."""

    code: str
    simulated: bool
    trials: tuple[Trial, ...]

    def missed(self, key: Key) -> int:
        """In how many checks of attention the spoiled image was preferred."""
        return sum(key.pairs[trial.pair].clean not in (None, trial.preferred) for trial in self.trials)


@dataclass(frozen=True)
class Answers:
    """The raters that count; and by file, why others do not: `bad` files, and the `inattentive`, by the survey's own
    rule."""

    raters: tuple[Rater, ...]
    bad: Mapping[str, str] = field(default_factory=dict)
    inattentive: Mapping[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether nobody was asked."""
        return any(rater.simulated for rater in self.raters)


def write(key: Key, rater: Rater) -> str:
    """A file of answers as the page writes it: JSON, with a checksum of what it says."""
    trials = [vars(trial) for trial in rater.trials]
    told = {"survey": key.digest, "simulated": rater.simulated, "rater": rater.code, "trials": trials}
    return json.dumps({"answers": told, "checksum": _checksum(told)})


def crc32(text: str) -> str:
    """A checksum in hex. It tells an accident or an edit by hand, and no forger."""
    return f"{zlib.crc32(text.encode(errors='replace')):08x}"


def _checksum(told: Any) -> str:
    return crc32(json.dumps(told, separators=(",", ":"), ensure_ascii=False))  # as JavaScript writes it


def parse(text: str, key: Key) -> Rater:
    """The rater of one file.

    Raises:
        RgdError: that says what is wrong with it.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        cut = text.lstrip().startswith('{"answers"') and not text.rstrip().endswith("}")
        raise RgdError("is cut off: it ends before its answers do" if cut else "is no JSON") from error
    try:
        told, checksum = whole["answers"], whole["checksum"]
        need(checksum == _checksum(told), "was changed after it was written: its checksum does not fit")
        need(told["survey"] == key.digest, f"is from another survey ({told['survey']}, not {key.digest})")
        trials = tuple(Trial(**trial) for trial in told["trials"])
        rater = Rater(told["rater"], told["simulated"], trials)
        kinds = [type(rater.code), type(rater.simulated), *(type(value) for t in trials for value in vars(t).values())]
        need(kinds == [str, bool, *[int, int, str, int] * len(trials)], "is no file of answers: its fields are others")
    except (KeyError, TypeError) as error:
        raise RgdError("is no file of answers: its fields are others") from error
    odd = [t for t in trials if t.left not in (0, 1) or t.choice not in SIDES or t.ms < 0]
    need(rater.code.isalnum() and len(rater.code) < 40, "has a rater's code that no page draws")
    need(not odd, f"has an answer that no page gives: {odd[:1]}")
    numbers, known = [trial.pair for trial in trials], range(len(key.pairs))
    need({*numbers} <= {*known}, f"answers pairs that there are not: {sorted({*numbers} - {*known})}")
    need(len({*numbers}) == len(numbers), "answers a pair twice")
    missing = [key.pairs[k].clean is not None for k in {*known} - {*numbers}]
    lacks = f"lacks {len(missing)} of {len(known)} answers, {sum(missing)} of them to checks of attention"
    need(not missing, lacks)
    return rater


def gather(paths: Iterable[Path]) -> dict[str, str]:
    """The text of each file, and of each .json in a folder, by its name. RgdError for a path that is not there."""
    found = {}
    for path in paths:
        need(path.exists(), f"there is no {path}: name files of answers, or a folder of them")
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            found[str(file)] = file.read_bytes().decode("utf-8-sig", errors="replace")
    return found


def read(files: Mapping[str, str], key: Key) -> Answers:
    """The answers in files, by name -> text. What does not count is named and left out.

    Of copies the first counts. A rater with two different files does not count: nobody can say which one is meant.

    Raises:
        RgdError: if some answers are simulated and others are not, or none are left.
    """
    raters, bad, inattentive = dict[str, Rater](), dict[str, str](), dict[str, str]()
    for name, text in files.items():
        try:
            raters[name] = parse(text, key)
        except RgdError as error:
            bad[name] = str(error)
    alike = defaultdict[tuple[Trial, ...], list[str]](list)
    for name, rater in raters.items():
        alike[rater.trials].append(name)
    for first, *copies in alike.values():
        bad |= dict.fromkeys(copies, f"is doubled: its answers are those of {first}")
    of_code = defaultdict[str, list[str]](list)
    for name in raters.keys() - bad.keys():
        of_code[raters[name].code].append(name)
    for code, names in of_code.items():
        bad |= dict.fromkeys(names if len(names) > 1 else [], f"is doubled: rater {code} also gave other answers")
    for name in raters.keys() - bad.keys():
        missed = raters[name].missed(key)
        if missed > key.survey.missed:
            inattentive[name] = f"missed {missed} of {key.survey.checks} checks, and {key.survey.missed} may be missed"
    counted = {name: rater for name, rater in raters.items() if name not in bad.keys() | inattentive.keys()}
    simulated = sorted(name for name, rater in counted.items() if rater.simulated)
    mixed = f"{len(simulated)} of {len(counted)} files are SIMULATED, such as {(simulated or [''])[0]}"
    need(len(simulated) in (0, len(counted)), f"{mixed}: nobody gave these answers; leave them out")
    reasons = "".join(f"\n  {name} {reason}" for name, reason in (bad | inattentive).items())
    need(bool(counted), f"no file of answers counts{reasons}")
    return Answers(tuple(counted.values()), dict(sorted(bad.items())), dict(sorted(inattentive.items())))
