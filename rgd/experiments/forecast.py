"""How long a comparison will take, before it begins."""

from __future__ import annotations

import math
import time

import torch

from rgd.experiments.cells import SWEEP, Work
from rgd.processes import processes
from rgd.randomness import noise
from rgd.training import autocast


def forecast(work: Work) -> str:
    """What remains to be done, and about how long it will take, from a few timed calls of each way to guide."""
    plan, rows, missing, seconds, known = work.plan, 64, 0, 0.0, work.known()
    paired = {(row["a"], row["b"]) for row in known["differences"]}
    wanted = {*known["left"], *(name for pair in plan.pairs if pair not in paired for name in pair)}
    x, y = noise((rows, *work.data.shape)).to(processes().device), work.labels(rows)
    for entry in (e for e in plan.entries if all(map(work.bench.has, filter(None, (e.denoiser, e.guide))))):
        cells = [work.drawn((entry, scale), plan.seed, plan.samples) for scale in entry.scales]
        left = work.store.missing([("scores", {**cell, **work.scored(SWEEP)}) for cell in cells])
        images = len(left) * plan.samples + plan.headline_samples * len(plan.headline_seeds) * (entry.name in wanted)
        guided = work.build((entry, entry.scales[-1]))
        t = guided.schedule.timesteps[guided.schedule.T // 3].to(x.device).expand(rows)  # where guidance usually acts
        took = math.inf
        for _ in range(2):
            began = time.perf_counter()
            with torch.no_grad(), autocast(x.device, network=work.bench.model(entry.denoiser).network):
                float(guided(x, t, y.to(x.device)).eps.sum())
            took = min(took, time.perf_counter() - began)
        missing += len(left)
        seconds += images / rows * took * guided.schedule.respace(entry.sampling(plan.steps)[1]).T / processes().count
    return (
        f"{len(plan.entries)} ways to guide; {missing} cells of the sweep and "
        f"{len(wanted) * len(plan.headline_seeds)} of {plan.headline_samples} samples: about {seconds / 3600:.1f} "
        "hours of sampling at most. What is done is kept: stop with Ctrl-C, and the same command goes on."
    )
