"""Runs that are killed, again and again, at random moments: nothing may be lost, and the end must be the same.

`python -m tools.soak` trains, samples, scores and runs an experiment, each first undisturbed and then in a folder of
its own where `kill -9` ends it fifty times at random moments; training and the experiment with two processes too, where
now their launcher is killed and now one of them. Whenever it comes to its end, weights, log, images, scores and results
are compared with those of the undisturbed run, and the folder's size with its; then it begins anew. The counts are
written to `results/soak.json`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import tyro
from tqdm import tqdm

from rgd.lab.bench import same_findings
from rgd.training import checkpoints

ROOT = Path(__file__).resolve().parent.parent
MINE = """
from rgd.experiments import Comparison, Entry
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig
from rgd.recipes import *
from rgd.training import Training
from rgd.training.objectives import CleanCrossEntropy, Denoising, RobustCrossEntropy

shape = dict(image_size=8, in_channels=1)
small = dict(**shape, model_channels=8, num_res_blocks=1, channel_mult=(1, 2), attention_resolutions=())
networks = {
    "ddpm": (UNetConfig(**small, out_channels=1), Denoising()),
    "robust": (EncoderConfig(**small, out_channels=10), RobustCrossEntropy()),
    "judge": (JudgeConfig(**shape, out_channels=10, width=8), CleanCrossEntropy(takes_time=False)),
}
steps = Training(200, batch_size=32, ema=0.99, save_every=7)
recipes = {f"mine/{name}": Recipe(f"mine/{name}", "digits", *parts, steps) for name, parts in networks.items()}
experiment = Comparison(
    "digits", "mine/judge", (Entry("guided", "mine/ddpm", "classifier", "mine/robust", (1.0, 2.0, 4.0)),),
    samples=200, headline_samples=200, headline_seeds=(1, 2), steps=8, reference=500, batch_size=50,
)
"""
MODEL = "runs/mine/{}/model.safetensors"


@dataclass(frozen=True)
class Job:
    """A command, after those that prepare for it, and the files by which its end is judged."""

    command: str
    ends: tuple[str, ...]
    before: tuple[str, ...] = ()
    processes: int = 1


TRAINED = tuple(f"train mine.py:mine/{name}" for name in ("ddpm", "robust", "judge"))
SAMPLE = f"sample {MODEL.format('ddpm')} --classifier {MODEL.format('robust')} --n 400 --steps 20 --batch-size 50"
SCORE = f"evaluate samples.safetensors --judge {MODEL.format('judge')} --out scores.json"
RUN = "evaluate mine.py --out found.json"
TRAIN_ENDS = (MODEL.format("robust"), "runs/mine/robust/log.jsonl")
JOBS = {
    "training": Job(TRAINED[1], TRAIN_ENDS),
    "training, two processes": Job(TRAINED[1], TRAIN_ENDS, processes=2),
    "sampling": Job(SAMPLE, ("samples.safetensors",), TRAINED),
    "scoring": Job(SCORE, ("scores.json",), (*TRAINED, SAMPLE)),
    "an experiment": Job(RUN, ("found.json",), TRAINED),
    "an experiment, two processes": Job(RUN, ("found.json",), TRAINED, processes=2),
}


def start(command: str, folder: Path, processes: int) -> subprocess.Popen[bytes]:
    """`rgd COMMAND` in a folder, in a session of its own, so that it can be killed with all that it started."""
    words = [sys.executable, "-m", "rgd.cli"]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
        words += ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
        words += ["--main_process_ip", "127.0.0.1", "--main_process_port", port, "-m", "rgd.cli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with open(folder / "said.txt", "ab") as said:
        return subprocess.Popen(
            [*words, *command.split()], cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )


def finish(command: str, folder: Path, processes: int) -> float:
    """Let it run to its end; how long it took. RuntimeError if it fails."""
    began = time.perf_counter()
    if start(command, folder, processes).wait() != 0:
        raise RuntimeError(f"{command} failed: {(folder / 'said.txt').read_text()[-2000:]}")
    return time.perf_counter() - began


def kill(process: subprocess.Popen[bytes], after: float, share: float) -> bool:
    """SIGKILL after so many seconds to what was started: to a launcher alone, or to one of those that it launched, by
    a share of the way from 0 to 1. Whether it was still at work. RuntimeError if it had failed."""
    try:
        if process.wait(after) != 0:
            raise RuntimeError("a run that was gone on with failed")
    except subprocess.TimeoutExpired:
        all_of_them = [process.pid, *sorted(child.pid for child in psutil.Process(process.pid).children())]
        os.kill(all_of_them[int(share * len(all_of_them))], signal.SIGKILL)
        process.wait()
        return True
    return False


def same(a: Path, b: Path) -> bool:
    """Whether two files say the same, apart from when and where they were made."""
    if a.suffix == ".safetensors":
        (ours, _), (theirs, _) = checkpoints.read(a), checkpoints.read(b)
        return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
    if a.suffix == ".jsonl":
        return a.read_text() == b.read_text()
    ours, theirs = (json.loads(path.read_text()) for path in (a, b))
    parts = ("scores",) if "scores" in ours else ("sweep", "headline", "differences")
    return all(same_findings(_timeless(ours[part]), _timeless(theirs[part])) for part in parts)


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _timeless(part) for name, part in tree.items() if name != "images_per_second"}
    return [_timeless(part) for part in tree] if isinstance(tree, list) else tree


def size(folder: Path) -> int:
    """Bytes of all files in it, but for what was said."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.name != "said.txt")


def soak(name: str, kills: int, seed: int, place: Path) -> dict[str, Any]:
    """One job, undisturbed and killed again and again."""
    job, dice = JOBS[name], random.Random(f"{name} {seed}")
    prepared, undisturbed, killed = (place / part for part in ("prepared", "undisturbed", "killed"))
    prepared.mkdir()
    (prepared / "mine.py").write_text(MINE)
    for command in job.before:
        finish(command, prepared, 1)
    shutil.copytree(prepared, undisturbed)
    took, done = finish(job.command, undisturbed, job.processes), Counter[str]()
    differ: list[str] = []
    largest = 0
    shutil.copytree(prepared, killed)
    with tqdm(total=kills, desc=name, unit="kill") as bar:
        while True:
            if done["kills"] < kills:
                run = start(job.command, killed, job.processes)
                was_at_work = kill(run, dice.uniform(0, took), dice.random() if job.processes > 1 else 0)
            else:
                finish(job.command, killed, job.processes)
                was_at_work = False
            largest = max(largest, size(killed))
            if was_at_work:
                done["kills"] += 1
                bar.update()
                continue
            done["ends"] += 1
            differ += [end for end in job.ends if not same(undisturbed / end, killed / end)]
            if done["kills"] == kills:
                break
            shutil.rmtree(killed)
            shutil.copytree(prepared, killed)
    sizes = {"undisturbed": size(undisturbed), "largest": largest}
    return {"job": name, **done, "seconds": took, "differ": differ, "bytes": sizes}


def main(kills: int = 50, seed: int = 0, only: str | None = None, out: Path | None = Path("results/soak.json")) -> None:
    """Kill, compare, print and write. Jobs that the file of results has, of as many kills and this seed, are done.

    Args:
        kills: of each job, at moments between its start and its end.
        seed: of the moments.
        only: a job.
        out: the file of results.
    """
    from rgd.lab.origin import provenance

    wrong = []
    for name in JOBS if only is None else [only]:
        if any((row["job"], row["kills"], row["seed"]) == (name, kills, seed) for row in known(out)):
            continue
        with tempfile.TemporaryDirectory() as place:
            row = soak(name, kills, seed, Path(place)) | {"seed": seed}
        print(json.dumps(row))
        wrong += [name] if row["differ"] else []
        if out is not None:  # asked anew: another job may have been done beside this one
            rows = {row["job"]: row for row in [*known(out), row]}
            told = {"jobs": [rows[job] for job in JOBS if job in rows], "provenance": provenance()}
            checkpoints.write_atomic(out, json.dumps(told, indent=1).encode())
    if wrong:
        raise SystemExit(f"not the same as undisturbed: {', '.join(wrong)}")


def known(out: Path | None) -> list[dict[str, Any]]:
    """The jobs of a file of results."""
    return json.loads(out.read_text())["jobs"] if out is not None and out.exists() else []


if __name__ == "__main__":
    tyro.cli(main)
