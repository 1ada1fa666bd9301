"""How demonstrations are run: each for every seed, kept one by one, and put together into tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure.estimates import Estimate, mean, proportion

Row = dict[str, Any]
SHARES = ("accuracy", "agrees", "believed", "between", "ks", "recall", "right", *(f"right_{k}" for k in range(1, 6)))
NEVER_NEGATIVE = ("fd", "seconds", "unguided")
Gather = Callable[[str, Sequence[Any]], Any]
"""(the name of a number, what each seed says) -> what all of them say."""


def tables(
    plan: Any, bench: Bench, work: Any, demonstrations: Mapping[str, Callable[[Any, int], Iterator[Row]]], kind: str,
    gather: Gather, data: Any,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """What is known by now, demonstration by demonstration: rows of ways, what several seeds say of each gathered.

    A demonstration is (work, seed) -> rows. They are kept as `kind`, by the plan, its models, and the `data`.
    """
    fixed = {"plan": replace(plan, seeds=()), "models": [bench.key(name) for name in plan.models()], "data": data}

    def find(cell: tuple[str, int]) -> dict[str, Any]:
        name, seed = cell

        def compute() -> Kept:
            return Kept({"rows": list(demonstrations[name](work, seed))})

        return bench.store.once(compute, kind, what=name, seed=seed, **fixed).cell()

    cells = list(product(demonstrations, plan.seeds))
    for found in bench.each(cells, find, lambda _: plan.models()):
        whole = [name for name in demonstrations if all((name, seed) in found for seed in plan.seeds)]
        rows = {name: together([found[name, seed]["rows"] for seed in plan.seeds], gather) for name in whole}
        told = [{"what": cell[0], "seed": cell[1], **found[cell]} for cell in cells if cell in found]
        yield {**rows, "cells": told}


def together(seeds: Sequence[Sequence[Row]], gather: Gather) -> list[Row]:
    """Rows of the same ways from several seeds, as one."""
    return [{name: gather(name, [row[name] for row in rows]) for name in rows[0]} for rows in zip(*seeds, strict=True)]


def combine(parts: Sequence[dict[str, Any]]) -> Estimate:
    """The mean of estimates from independent seeds, as JSON, with the interval that their own intervals give it."""
    value = math.fsum(part["value"] for part in parts) / len(parts)
    error = math.sqrt(math.fsum(((part["high"] - part["low"]) / 2) ** 2 for part in parts)) / len(parts)
    n = sum(part["n"] for part in parts)
    return Estimate(value, value - error, value + error, n, f"mean over {len(parts)} seeds; {parts[0]['method']}")


def pooled(name: str, values: Sequence[Any]) -> Any:
    """Estimates as one: shares of all that was drawn, else means; what is none is the same in each."""
    if not isinstance(values[0], Mapping):
        return values[0]
    if values[0]["method"].startswith("Wilson"):
        return proportion(sum(round(v["value"] * v["n"]) for v in values), sum(v["n"] for v in values)).to_json()
    return combine(values).to_json()


def across(name: str, values: Sequence[Any]) -> Any:
    """Numbers as their mean, with the interval that the differences between seeds give it, within what such a number
    can be; the rest is the same."""
    if not isinstance(values[0], float):
        return values[0]
    found = mean(torch.tensor(values))
    least = 0.0 if name in SHARES + NEVER_NEGATIVE else -math.inf
    return replace(
        found, low=max(found.low, least), high=min(found.high, 1.0 if name in SHARES else math.inf)
    ).to_json()
