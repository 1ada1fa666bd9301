"""What gradient checkpointing saves, and whether compiling pays: steps of robust training on this machine.

`python -m benchmarks.recompute` trains the paper's robust classifier of ImageNet-128 at its true size on a few images,
once as it is and once with `Training(recompute=True)`, and the small one of MNIST as it is and by `torch.compile`. It
says how many seconds a step took, the first apart, and how much memory at most, and writes `results/recompute.json`.
Each way has a process of its own, so that its memory is its own. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import tyro

import rgd
from rgd import recipes
from rgd.attacks import L2, PGD
from rgd.data import Dataset
from rgd.layers import image_shape

WAYS: dict[str, dict[str, Any]] = {
    "as it is": dict(recipe="imagenet128/robust", batch=4, attack=1, steps=5),
    "recompute": dict(recipe="imagenet128/robust", batch=4, attack=1, steps=5, recompute=True),
    "small": dict(recipe="mnist/robust", batch=128, attack=7, steps=12),
    "small, compiled": dict(recipe="mnist/robust", batch=128, attack=7, steps=12, compiled=True),
}


def peak() -> int:
    """Bytes of memory that this process held at most."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def work(way: str) -> dict[str, Any]:
    """Some steps of one way; images are noise, whose cost is that of any."""
    asked = WAYS[way]
    recipe = recipes.read(asked["recipe"])
    network, shape = rgd.build(recipe.network), image_shape(recipe.network)
    parameters = sum(p.numel() for p in network.parameters())
    images = torch.randint(0, 256, (2 * asked["batch"], *shape), generator=rgd.generator(0), dtype=torch.uint8)
    data = Dataset(images, torch.arange(len(images)) % 10, tuple(map(str, range(10))), "noise")
    # Without early stop every image is attacked at every step, as in the worst case.
    objective = replace(recipe.objective, attack=PGD(L2(0.5), steps=asked["attack"], early_stop=False))
    training = rgd.Training(asked["steps"], asked["batch"], precision="fp32", recompute="recompute" in asked)
    trained: Any = torch.compile(network) if "compiled" in asked else network
    before, seconds, began = peak(), [], time.perf_counter()
    for _ in rgd.fit(trained, objective, data, recipe.make_schedule(), training):
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    later = sorted(seconds[1:])
    return {
        "way": way, **asked, "parameters": parameters, "seconds_first_step": seconds[0],
        "seconds_a_step": later[len(later) // 2], "bytes_before": before, "bytes_at_most": peak(),
    }  # fmt: skip


def main(out: Path = Path("results/recompute.json")) -> None:
    """Measure, print and write.

    Args:
        out: the file of results.
    """
    from rgd.lab.origin import provenance

    rows = []
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.recompute", "--worker", way]
        with tempfile.TemporaryDirectory() as cache:  # what was compiled before would make the first step a fast one
            new = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
            done = subprocess.run(command, env=new, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]))
    out.write_text(json.dumps({"ways": rows, "provenance": provenance()}, indent=1))
    print(f"Everything is in {out}")


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    print(json.dumps(work(sys.argv[2])))
elif __name__ == "__main__":
    tyro.cli(main)
