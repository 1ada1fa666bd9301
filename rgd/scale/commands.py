"""The command `rgd paper`."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from rgd.adapters import adm
from rgd.errors import RgdError
from rgd.lab import bench, datasets
from rgd.lab.checks import need, numbers, room_for
from rgd.lab.origin import provenance
from rgd.processes import processes
from rgd.scale import cost, small
from rgd.scale.paper import ENCODER, SCALES, UNET, File, Paper, Row, markdown
from rgd.training.checkpoints import write_atomic

Name = Literal["unguided", "vanilla", "robust"]
ROBUST = "the paper's robust classifier is not downloaded: give --robust FILE, which its authors' repository names"
TRUE = {"denoiser": "128x128_diffusion", "vanilla": "128x128_classifier", "reference": "128x128"}


def paper(
    data: Annotated[str | None, tyro.conf.Positional] = None, size: int | None = None, training: int = 300,
    denoiser: Path | None = None, vanilla: Path | None = None, robust: Path | None = None,
    reference: Path | None = None, eye: Path | None = None, rows: tuple[Name, ...] = ("unguided", "vanilla", "robust"),
    samples: int | None = None, steps: int | None = None, batch_size: int | None = None, seed: int = 0,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None, cost_only: bool = False, yes: bool = False,
    peak: float | None = None, price: float = 0.0, utilisation: float = cost.UTILISATION,
    gpus: tuple[int, ...] = cost.GPUS, npz: bool = False, out: Path = Path("runs/paper/paper.json"),
) -> None:  # fmt: skip
    """Make the paper's table, ImageNet-128 unguided and with both guides; say first what it costs. Stop it or kill it,
    and the same command goes on. Or make it in small, of your own images.

    Args:
        data: a folder of class folders, or a data set, for the table in small, with networks trained on it first.
        size: side of the images of a folder.
        training: steps that each network in small is trained.
        denoiser: a file in ADM's layout; default 128x128_diffusion.pt, downloaded.
        vanilla: the same of the vanilla classifier; default 128x128_classifier.pt, downloaded.
        robust: the same of the robust classifier.
        reference: an .npz of images in ADM's layout; default VIRTUAL_imagenet128_labeled.npz, downloaded.
        eye: who looks at the images, Inception's weights or a judge's .safetensors; default Inception's, downloaded.
        rows: of the table.
        samples: images of each row; default 50,000, in small 200.
        steps: of ancestral sampling; default 250, in small 25.
        batch_size: images that are drawn at once; default 100, in small 50. With another, images agree to rounding.
        dtype: of the networks' weights; default float16 on a GPU, as published, else float32.
        cost_only: say what it costs, write that, and stop.
        yes: pay it without being asked.
        peak: of your device, in TFLOP/s, in place of those that are known here.
        price: of an hour of it, in dollars.
        utilisation: the share of the peak that is reached.
        gpus: how many of them to tell the hours of.
        npz: write the images in ADM's layout too, for its own evaluator.
        out: the JSON file of the results; the table, pictures, the cost and the store are put beside it.
    """
    asked = {"samples": samples, "steps": steps, "batch_size": batch_size, "peak": peak}
    numbers(1, training=training, gpus=gpus, **{k: v for k, v in asked.items() if v is not None})
    numbers(0.001, utilisation=utilisation)
    out, group = room_for(out), processes()
    need(out.suffix == ".json", f"--out: {out} ends in .json, and what is put beside it has the same name")
    images = None if data is None else group.first(lambda: datasets.load(data, "train", size=size))
    unet, encoder = (UNET, ENCODER) if images is None else small.configs(images)
    few = images is not None
    samples, steps = samples or (200 if few else 50_000), steps or (25 if few else 250)
    mine = None if peak is None else (cost.Accelerator("yours", peak * 1e12, price, "as you say"),)
    guided: dict[str, bool] = {name: name != "unguided" for name in rows}
    terms: Any = {"accelerators": mine or cost.ACCELERATORS, "utilisation": utilisation, "gpus": gpus}
    _tell(cost.cost(unet, encoder, guided, samples, steps, **terms), out.with_name(f"{out.stem}-cost.json"))
    if cost_only:
        return
    need(few or robust is not None or "robust" not in rows, ROBUST)
    _agreed(few or yes)
    given = {"denoiser": denoiser, "vanilla": vanilla, "robust": robust, "reference": reference, "eye": eye}
    made = {} if images is None else small.prepare(images, out.with_name(f"{out.stem}-models"), training, seed, given)
    files = group.first(lambda: _files({**given, **made}, rows))
    lines, batch_size = tuple(Row(n, files.get(n), SCALES[n]) for n in rows), batch_size or (50 if few else 100)
    dtype = dtype or ("float16" if group.device.type == "cuda" else "float32")
    plan = Paper(files["denoiser"], lines, files["reference"], files["eye"], unet, encoder, samples, steps, batch_size,
                 seed, dtype, npz=npz)  # fmt: skip
    _show(bench.run(plan, out, store=out.with_name(f"{out.stem}-store")), out, published=not few)


def _tell(found: dict[str, Any], file: Path) -> None:
    """Print a cost and write it."""
    if processes().rank == 0:
        print(cost.said(found), flush=True)
        record = {"kind": "cost", **found, "provenance": provenance()}
        write_atomic(file, json.dumps(record, indent=1).encode())


def _show(results: dict[str, Any], out: Path, published: bool) -> None:
    """Print the table and write it."""
    if processes().rank > 0:
        return
    table = markdown(results["table"], published)
    write_atomic(out.with_suffix(".md"), f"{table}\n".encode())
    print(f"\n{table}\n\nThe results are {out}, pictures of the images {out.with_suffix('.png')}")


def _agreed(already: bool) -> None:
    """RgdError unless somebody says yes to what it costs."""
    if already:
        return
    if processes().count > 1 or not sys.stdin.isatty():
        raise RgdError("that is what it costs: give --yes to pay it, or --cost-only to be told no more")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise RgdError("nothing was begun")


def _files(paths: dict[str, Path | None], rows: tuple[Name, ...]) -> dict[str, File]:
    """Every file that the table takes, downloaded where none is given."""
    from rgd.lab.eyes import fetch_inception  # here, for torch-fidelity takes seconds to import

    wanted = ["denoiser", "reference", *(name for name in rows if name != "unguided"), "eye"]
    fetch: dict[str, Any] = {name: partial(adm.fetch, TRUE.get(name, "")) for name in wanted} | {"eye": fetch_inception}
    return {name: File.at(paths.get(name) or fetch[name]()) for name in wanted}
