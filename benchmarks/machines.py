"""How much faster two processes are than one, for training and for sampling.

Every run is a launch of its own, of one process or of two, with one thread each; the two kinds take turns, so that what
else the machine does meets both. Two times are kept of each. `work` is what the processes say: from the third step to
the last, or from the first image to the last, begun and ended by all together. `whole` is the launch from its start to
its end: it holds the imports, the meeting of the processes and the first steps too, which do not get shorter, and so
says more the longer a run is. Everything is written to `results/machines.json`. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import tyro

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("training", "sampling")


def training(steps: int) -> float:
    """Seconds from the end of the second step to the end of the last, of the recipe's batches of 128."""
    import rgd

    network = rgd.build(rgd.zoo.load("mnist/ddpm", "cpu").network.config)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (512, 1, 28, 28), generator=random, dtype=torch.uint8)
    images = rgd.data.Dataset(pixels, torch.arange(512) % 10, tuple("0123456789"), "noise")
    how = rgd.Training(steps=steps + 2, ema=0.99, precision="fp32")
    began = 0.0
    for step in rgd.fit(network, rgd.objectives.Denoising(), images, rgd.schedule.linear(1000), how):
        if step.step == 2:  # by then room has been tried out, and the optimiser has its averages
            began = time.perf_counter()
    return time.perf_counter() - began


def sampling(images: int) -> float:
    """Seconds from the start of all to the moment at which each process has all images."""
    import rgd
    from rgd.processes import processes

    denoise = rgd.unconditional(rgd.zoo.load("mnist/ddpm", "cpu"))
    draw: Any = dict(sampler=rgd.ddim, steps=20, batch_size=32, progress=False)
    rgd.sample(denoise, (2 * processes().count, 1, 28, 28), **draw)
    processes().wait()
    began = time.perf_counter()
    rgd.sample(denoise, (images, 1, 28, 28), **draw)
    return time.perf_counter() - began


def work(kind: str, amount: int, out: Path) -> None:
    """What each process does; the first writes down how long it took."""
    from rgd.processes import processes

    torch.set_num_threads(1)
    seconds = {"training": training, "sampling": sampling}[kind](amount)
    if processes().rank == 0:
        out.write_text(json.dumps(seconds))


def launch(kind: str, amount: int, count: int) -> dict[str, float]:
    """One run of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seconds.json"
        words = [sys.executable]
        if count > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            words += ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--num_processes"]
            words += [str(count), "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_ip", "127.0.0.1"]
            words += ["--main_process_port", port]
        words += [str(Path(__file__).resolve()), "--worker", kind, str(amount), str(out)]
        ours = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        began = time.perf_counter()
        subprocess.run(words, env={**os.environ, **ours}, check=True)
        return {"whole": time.perf_counter() - began, "work": json.loads(out.read_text())}


def faster(runs: list[dict[str, Any]], which: str) -> dict[str, float]:
    """The ratio of the medians of one process and of two, and the least and the greatest of any turn."""
    one, two = ([run[which] for run in runs if run["processes"] == count] for count in (1, 2))
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    return {"value": statistics.median(one) / statistics.median(two), "low": min(ratios), "high": max(ratios)}


def main(
    turns: int = 5, steps: int = 40, images: int = 384, out: Path = Path("results/machines.json")
) -> None:  # fmt: skip
    """Measure, print and write.

    Args:
        turns: runs of each kind, in turns.
        steps: of a training, besides the first two.
        images: of a sampling.
        out: the file of results.
    """
    from rgd.lab.origin import provenance

    found: dict[str, Any] = {"threads a process": 1, "cores": os.cpu_count(), "provenance": provenance()}
    for kind, amount in zip(KINDS, (steps, images), strict=True):
        runs = []
        for turn in range(turns):
            for count in (1, 2):
                runs.append({"turn": turn, "processes": count, **launch(kind, amount, count)})
                print(f"{kind}: {json.dumps(runs[-1])}", flush=True)
        times = {which: faster(runs, which) for which in ("work", "whole")}
        found[kind] = {"amount": amount, "runs": runs, "times as fast": times}
        for which, ratio in times.items():
            print(f"{kind}, {which}: {ratio['value']:.2f} times as fast ({ratio['low']:.2f} to {ratio['high']:.2f})")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    work(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
elif __name__ == "__main__":
    tyro.cli(main)
