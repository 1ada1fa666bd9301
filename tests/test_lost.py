"""A process dies in the midst of a run: the others end by themselves, and say which; and the run goes on with fewer, or
with more. Each process is given what a launcher gives it, and stands for a machine of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rgd import objectives, schedule
from rgd.data import Dataset, batch_indices
from rgd.denoiser import NetworkDenoiser
from rgd.experiments import cells
from rgd.lab import bench
from rgd.networks import UNetConfig, build
from rgd.processes import processes
from rgd.samplers import ddim, sample
from rgd.training import Training, checkpoints, fit

pytestmark = pytest.mark.check
CONFIG = UNetConfig(
    image_size=8, in_channels=1, out_channels=1, model_channels=8, num_res_blocks=1, channel_mult=(1,),
    attention_resolutions=(),
)  # fmt: skip
NOISE = schedule.linear(20)
MAIN = "import pathlib, sys, test_lost; test_lost.main(sys.argv[1], pathlib.Path(sys.argv[2]))"
N, SETTINGS = 30, Training(steps=8, batch_size=12, lr=1e-3, ema=0.5, save_every=3, precision="fp32")


def numbered() -> Dataset:
    """Every image has a label of its own."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (N, 1, 8, 8), generator=random, dtype=torch.uint8)
    return Dataset(pixels, torch.arange(N), tuple(map(str, range(N))), "numbered")


class Noted:
    """The DDPM loss, and which images it was shown, in a file of each process."""

    def __init__(self, folder: Path, rank: int, alone: bool, dies_at: int | None = None) -> None:
        self.file, self.alone, self.dies_at, self.step = folder / f"seen-{rank}.jsonl", alone, dies_at, 0

    def identity(self) -> Any:
        return objectives.Denoising()

    def __call__(self, network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, random: Any) -> objectives.Loss:
        if self.alone or isinstance(network, nn.parallel.DistributedDataParallel):  # not where room is tried out
            self.step += 1
            if self.step == self.dies_at:
                os.kill(os.getpid(), 9)
            with open(self.file, "a") as file:
                file.write(json.dumps(y.tolist()) + "\n")
        return objectives.Denoising()(network, schedule, x0, y, random)


def train(folder: Path, accumulate: int = 1, dies_at: int | None = None, limit: int | None = None) -> dict[str, Tensor]:
    """The weights at the end; with a limit there is no room for more images at once."""
    folder.mkdir(exist_ok=True)
    network = build(CONFIG)
    if limit is not None:

        def look(_: nn.Module, given: Any) -> None:
            if len(given[0]) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        next(m for m in network.modules() if isinstance(m, nn.Conv2d)).register_forward_pre_hook(look)
    group, training = processes(), replace(SETTINGS, accumulate=accumulate)
    objective = Noted(folder, group.rank, group.count == 1, dies_at)
    for _ in fit(network, objective, numbered(), NOISE, training, folder / "run"):
        pass
    return dict(network.state_dict())


def drawn() -> Tensor:
    return sample(NetworkDenoiser(build(CONFIG).eval(), NOISE), (7, 1, 8, 8), steps=3, batch_size=2, progress=False)


def slow_sampler(denoise: Any, x: Tensor, y: Tensor | None, **options: Any) -> Any:
    """The second process dies in its first step, while the first one has long to go."""
    for step in ddim(denoise, x, y, **options):
        if processes().rank == 1:
            os.kill(os.getpid(), 9)
        time.sleep(30)
        yield step


def main(what: str, place: Path) -> None:
    """What each process does."""
    group = processes()
    if what == "training":
        train(place, dies_at=5 if group.rank == 1 else None)
    elif what == "sampling":
        denoise = NetworkDenoiser(build(CONFIG).eval(), NOISE)
        sample(denoise, (8, 1, 8, 8), steps=9, sampler=slow_sampler, progress=False)
    elif what == "experiment":
        from test_processes import COMPARED, put_models  # type: ignore[import-not-found]

        if group.rank == 0:
            put_models(place / "runs")
        group.wait()
        draw, calls = sample, []

        def dying(*given: Any, **named: Any) -> Tensor:
            calls.append(1)
            if group.rank == 1 and len(calls) == 2:
                os.kill(os.getpid(), 9)
            return draw(*given, **named)

        cells.sample = dying
        bench.run(COMPARED, place / "compared.json", store=place / "cells", runs=place / "runs")
    else:
        tensors = {f"on.{name}": value for name, value in train(place / "killed").items()}
        tensors |= {f"full.{k}": v for k, v in train(place / "full", limit=1 if group.rank == 1 else None).items()}
        tensors["drawn"] = drawn()
        if group.rank == 0:
            checkpoints.write(place / "end.safetensors", tensors, {})
        group.wait()


def start(count: int, what: str, place: Path) -> list[tuple[int, str]]:
    """How each of several processes ended, and what it said. The last must end within two minutes, and the others
    within another."""
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [
        str(Path(__file__).parent.parent),
        str(Path(__file__).parent),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    ours = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(paths)}
    ours |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MAIN, what, str(place)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **ours, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        last = running[-1].communicate(timeout=120)[0]
        others = [process.communicate(timeout=60)[0] for process in running[:-1]]
    except subprocess.TimeoutExpired:
        for process in running:
            process.kill()
        pytest.fail(f"the processes hang: {[process.communicate()[0] for process in running]}")
    return [(process.returncode, said) for process, said in zip(running, [*others, last], strict=True)]


@pytest.mark.parametrize("what", ["sampling", "experiment"])
def test_the_others_end_and_say_who_died(what: str, tmp_path: Path) -> None:
    (status, said), (killed, _) = start(2, what, tmp_path)
    assert killed == -9
    assert status == 1, said
    assert "process 1 of 2 (pid " in said
    assert f"on {socket.gethostname()}) died without a word" in said
    assert "give the same command again" in said


def seen(folder: Path) -> list[list[int]]:
    """The images of each step, of all processes, in the order of their numbers."""
    steps: dict[int, list[int]] = defaultdict(list)
    for file in folder.glob("seen-*.jsonl"):
        for step, line in enumerate(file.read_text().splitlines()):
            steps[step] += json.loads(line)
    return [sorted(steps[step]) for step in sorted(steps)]


def wanted(first: int) -> list[list[int]]:
    batches = (batch_indices(N, SETTINGS.batch_size, SETTINGS.seed, step) for step in range(first, SETTINGS.steps))
    return [sorted(batch.tolist()) for batch in batches]


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The mean over all weights. AdamW makes much of gradients that are next to nothing, so that a few may differ."""
    pairs = [(a[name].flatten(), value.flatten()) for name, value in b.items()]
    return float((torch.cat([x for x, _ in pairs]) - torch.cat([y for _, y in pairs])).abs().mean())


def test_a_killed_training_goes_on_with_fewer_and_with_more(tmp_path: Path) -> None:
    """Two processes, of which one dies in the fifth step; then one, and then three. Beside the three, one of which has
    room for no more than one image at once, and draws images too."""
    undisturbed = train(tmp_path / "undisturbed", accumulate=2)
    (status, said), (killed, _) = start(2, "training", tmp_path / "two")
    assert (status, killed) == (1, -9), said
    assert "process 1 of 2" in said
    assert seen(tmp_path / "two")[:4] == wanted(0)[:4]
    _, about = checkpoints.read(tmp_path / "two" / "run" / "state.safetensors")
    assert about["step"] == 4  # what was done is kept, though a state was due but every third step
    for place in ("one", "three/killed"):
        shutil.copytree(tmp_path / "two" / "run", tmp_path / place / "run")
    alone = train(tmp_path / "one")
    assert distance(alone, undisturbed) < 1e-3 * SETTINGS.lr
    assert distance(alone, train(tmp_path / "other")) > 0.1 * SETTINGS.lr  # in one part a step it is another run
    halves = seen(tmp_path / "one")  # still two micro-batches a step, now of one process
    assert [sorted(a + b) for a, b in zip(halves[::2], halves[1::2], strict=True)] == wanted(4)
    ends = start(3, "more", tmp_path / "three")
    assert [status for status, _ in ends] == [0, 0, 0], ends
    assert seen(tmp_path / "three" / "killed") == wanted(4)
    together, _ = checkpoints.read(tmp_path / "three" / "end.safetensors")
    apart = train(tmp_path / "apart", accumulate=3)
    assert distance({name: together[f"full.{name}"] for name in apart}, apart) < 1e-2 * SETTINGS.lr
    assert all(together[f"on.{name}"].isfinite().all() for name in apart)
    assert seen(tmp_path / "three" / "full") == wanted(0)
    assert ["training: no memory for 4 images at once, so 2" in said for _, said in ends] == [False, True, False]
    torch.testing.assert_close(together["drawn"], drawn(), rtol=1e-4, atol=1e-5)
