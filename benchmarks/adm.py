"""The paper's own size on this machine: ADM-128 and its classifier at their true shapes, one guided step.

`python -m benchmarks.adm` writes files of both with weights drawn at random, loads and audits them, takes one guided
step of one image, in float32 and with the weights in half precision, and says what it took, how much memory, and how
far half precision is from float32: in eps, and in the direction of the gradient. It writes `results/adm.json`. Each
precision has a process of its own, so that its memory is its own. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import tyro

import rgd
from rgd.adapters import adm

NAMES = ("128x128_diffusion", "128x128_classifier")
TIMES = (50, 400, 800)


def write(folder: Path) -> dict[str, int]:
    """Files of both models, as they begin and a little beside, so that no layer is zero; their sizes in bytes."""
    for name in NAMES:
        random, begun = rgd.generator(1), rgd.build(adm.CONFIGS[name]).state_dict()
        torch.save({k: v + 0.02 * torch.randn(v.shape, generator=random) for k, v in begun.items()}, folder / name)
    return {name: (folder / name).stat().st_size for name in NAMES}


def step(folder: Path, dtype: str) -> dict[str, Any]:
    """Load, and take one guided step; what eps and the gradient are is written to the folder."""
    began = time.perf_counter()
    denoise, classifier = (adm.load(name, folder / name, dtype=getattr(torch, dtype)) for name in NAMES)
    loaded = time.perf_counter() - began
    gradient = rgd.grad_log_prob(classifier)
    x, y = rgd.noise((1, 3, 128, 128), seed=0), torch.tensor([207])
    guided = rgd.guide(denoise, gradient, adm.BEST_SCALES["128x128"], form="mean")
    began = time.perf_counter()
    next(iter(rgd.ddpm(guided, x, y, steps=250)))
    took = time.perf_counter() - began
    seen = []
    for t in map(torch.tensor, ([t] for t in TIMES)):
        with torch.no_grad():
            seen.append((denoise(x, t, y).eps, gradient(x, t, y)))
    torch.save(seen, folder / f"{dtype}.pt")
    peak = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    return {"dtype": dtype, "seconds_to_load": loaded, "seconds_a_step": took, "peak_bytes": peak}


def main(out: Path = Path("results/adm.json")) -> None:
    """Measure, print and write.

    Args:
        out: the file of results.
    """
    from rgd.lab.origin import provenance

    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sizes = write(folder)
        for dtype in ("float32", "bfloat16", "float16"):
            command = [sys.executable, "-m", "benchmarks.adm", "--worker", place, dtype]
            row = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            exact, seen = (torch.load(folder / f"{name}.pt") for name in ("float32", dtype))
            row["drift"] = [
                {
                    "t": t,
                    "eps": float((eps - whole).norm() / whole.norm()),
                    "gradient_cosine": float(torch.cosine_similarity(g.flatten(), right.flatten(), dim=0)),
                }
                for t, (eps, g), (whole, right) in zip(TIMES, seen, exact, strict=True)
            ]
            rows.append(row)
            print(json.dumps(row))
    out.write_text(json.dumps({"files": sizes, "steps": rows, "provenance": provenance()}, indent=1))
    print(f"Everything is in {out}")


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    print(json.dumps(step(Path(sys.argv[2]), sys.argv[3])))
elif __name__ == "__main__":
    tyro.cli(main)
