"""The paper's table in small: networks of ADM's shape for a folder of one's own images, in files of ADM's layout."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rgd.attacks import L2, PGD
from rgd.data import Dataset
from rgd.errors import DataError
from rgd.lab import recipe as recipes
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig, UNetConfig
from rgd.processes import processes
from rgd.training import Training
from rgd.training.checkpoints import write_atomic
from rgd.training.objectives import CleanCrossEntropy, Denoising, NoisyCrossEntropy, RobustCrossEntropy


def configs(data: Dataset) -> tuple[UNetConfig, EncoderConfig]:
    """A U-Net and a classifier as ADM builds them, for square images of 16 or 32 pixels and the like.

    Raises:
        DataError: for images of another shape.
    """
    channels, side, width = data.shape
    if side != width or side % 8:
        raise DataError(f"{data.name} has images of {side} x {width}: give --size, a multiple of 8")
    common: dict[str, Any] = dict(image_size=side, in_channels=channels, num_res_blocks=1, channel_mult=(1, 2))
    common |= dict(attention_resolutions=(2,), num_head_channels=16, use_scale_shift_norm=True, resblock_updown=True)
    unet = UNetConfig(**common, model_channels=16, out_channels=2 * channels, num_classes=len(data.classes))
    encoder = EncoderConfig(**common, model_channels=16, out_channels=len(data.classes), pool="attention")
    return unet, encoder


def prepare(
    data: Dataset, folder: Path, training: int, seed: int = 0, given: Mapping[str, Path | None] | None = None,
    progress: bool = True,
) -> dict[str, Path]:  # fmt: skip
    """Train the networks of the table and a judge on these images for so many steps each, or go on training them, and
    write what the true table takes: two classifiers and a denoiser as ADM's .pt, the images as its reference batch.
    What is `given` is taken."""
    unet, encoder = configs(data)
    judge = JudgeConfig(image_size=unet.image_size, in_channels=unet.in_channels, out_channels=len(data.classes))
    made: dict[str, tuple[Any, Any]] = {
        "denoiser": (unet, Denoising(conditional=True)),
        "vanilla": (encoder, NoisyCrossEntropy()),
        "robust": (encoder, RobustCrossEntropy(PGD(L2(0.5), steps=7))),
        "eye": (judge, CleanCrossEntropy(takes_time=False)),
    }
    settings = Training(training, min(32, len(data)), lr=1e-3, seed=seed, save_every=100)
    had = {name: path for name, path in (given or {}).items() if path is not None}
    files = {"eye": folder / "eye" / "model.safetensors", "reference": folder / "reference.npz", **had}
    for name, (network, objective) in made.items():
        if name in had:
            continue
        recipe = Recipe(f"small/{name}", str(data.source), network, objective, settings, variance="learned")
        model = recipes.train(recipe, folder / name, data, progress)
        if name != "eye":
            files[name] = folder / f"{name}.pt"
            torch.save({key: value.cpu() for key, value in model.network.state_dict().items()}, content := io.BytesIO())
            _write(files[name], content)
    if "reference" in had:
        return files
    np.savez(content := io.BytesIO(), arr_0=data.images.movedim(1, -1).cpu().numpy(), arr_1=data.labels.cpu().numpy())
    _write(files["reference"], content)
    return files


def _write(path: Path, content: io.BytesIO) -> None:
    if processes().rank == 0:
        write_atomic(path, content.getvalue())
    processes().wait()
