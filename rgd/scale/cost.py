"""What the paper's table costs, before any of it is paid: operations counted at the true shapes, hours, and money.

Nothing is allocated: the networks lie on PyTorch's meta device, where an operation has shapes and no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from rgd.guidance import grad_log_prob
from rgd.layers import image_shape
from rgd.networks import EncoderConfig, UNetConfig, build


@dataclass(frozen=True)
class Accelerator:
    """A device: `peak` FLOP/s, dense, in half precision; the `price` of an hour in US dollars; the `source` of both."""

    name: str
    peak: float
    price: float
    source: str


_RENTED = "peak: NVIDIA's, second hand; price: mercatus-ai.com/blog/cloud-gpu-pricing, May 2026, top of its middle tier"
ACCELERATORS = (
    Accelerator("T4", 65e12, 0.0, "peak: NVIDIA's, second hand; Colab lends one free, for hours at a time"),
    Accelerator("A100", 312e12, 1.50, _RENTED),
    Accelerator("H100", 989e12, 3.50, _RENTED),
    Accelerator("H200", 989e12, 4.50, _RENTED),
)
"""Assumptions, to be replaced by your own: prices differ by a factor of three, and change by the month."""
UTILISATION = 0.3
"""The share of the peak that is had: an assumption too. What it is on your device, a few steps tell."""
GPUS = (1, 8, 64)


def flops(config: UNetConfig | EncoderConfig) -> int:
    """Floating-point operations for one image in one guided step: of a U-Net forward; of a classifier forward, and back
    to its input. A multiplication and an addition are two; norms, activations and the like are not counted."""
    with torch.device("meta"):
        network = build(config).eval().requires_grad_(False)
        xt, t = torch.zeros(1, *image_shape(config)), torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counted:
        if isinstance(config, UNetConfig):
            network(xt, t, None if config.num_classes is None else t)
        else:  # "+ 0": the counter's hooks cannot bear a leaf of autograd as a module's input
            grad_log_prob(lambda x, t: network(x + 0, t))(xt, t, t)
    return counted.get_total_flops()


def cost(
    unet: UNetConfig, encoder: EncoderConfig, guided: Mapping[str, bool], samples: int, steps: int, *,
    accelerators: Sequence[Accelerator] = ACCELERATORS, utilisation: float = UTILISATION, gpus: Sequence[int] = GPUS,
) -> dict[str, Any]:  # fmt: skip
    """What it takes to draw the rows of a table, as JSON; looking at images and scoring them are not in it.

    Args:
        guided: of each row, whether a classifier guides it.
        samples, steps: of each row.
        utilisation: the share of its peak that a device reaches.
        gpus: how many of them; they share images and do not wait for each other, so that hours divide.
    """
    denoiser, classifier = flops(unet), flops(encoder)
    rows = {name: samples * steps * (denoiser + guide * classifier) for name, guide in guided.items()}
    total = sum(rows.values())
    devices = []
    for device in accelerators:
        hours = total / (device.peak * utilisation) / 3600
        devices.append({**asdict(device), "hours": {str(n): hours / n for n in gpus}, "dollars": hours * device.price})
    return {
        "samples": samples, "steps": steps, "flops_denoiser": denoiser, "flops_classifier": classifier, "rows": rows,
        "flops": total, "utilisation": utilisation, "devices": devices,
    }  # fmt: skip


def said(found: Mapping[str, Any]) -> str:
    """A cost in words."""
    guided, alone = found["flops_classifier"] / 1e9, found["flops_denoiser"] / 1e9
    drawn = f"{len(found['rows'])} rows of {found['samples']:,} images, {found['steps']} steps each"
    lines = [
        f"{drawn}: {found['flops']:.2e} FLOP",
        f"a step of one image: U-Net {alone:,.3g} GFLOP, classifier forward and back {guided:,.3g} GFLOP",
        f"hours at {found['utilisation']:.0%} of the peak, and the price of them all, whatever their number:",
    ]
    for device in found["devices"]:
        hours = ", ".join(f"{n} x {spent:,.3g} h" for n, spent in device["hours"].items())
        price = f"${device['dollars']:,.2f} at ${device['price']:g} an hour" if device["price"] else "no price"
        lines.append(f"  {device['name']:>5} ({device['peak'] / 1e12:g} TFLOP/s): {hours}; {price}")
    return "\n".join([*lines, *(f"  {name}: {source}" for source, name in _sources(found).items())])


def _sources(found: Mapping[str, Any]) -> dict[str, str]:
    names: dict[str, list[str]] = {}
    for device in found["devices"]:
        names.setdefault(device["source"], []).append(device["name"])
    return {source: ", ".join(of) for source, of in names.items()}
