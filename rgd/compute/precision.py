"""Mixed precision: the number format in which a device computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from rgd.errors import one_of

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def autocast(
    device: torch.device, precision: Precision = "auto", network: nn.Module | None = None
) -> AbstractContextManager:
    """The mixed-precision context for a device, "auto" being the `fastest`; ValueError for an unknown precision, or
    fp16 on a CPU."""
    one_of("precision", precision, Precision)
    precision = fastest(device, network) if precision == "auto" else precision
    if precision == "fp32":
        return nullcontext()
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("fp16 needs a GPU; choose bf16 or fp32 on a CPU")
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def fastest(device: torch.device, network: nn.Module | None = None) -> Precision:
    """What "auto" is: bf16 on GPUs that have it, fp16 on others. On a CPU it is bf16 where the processor has
    instructions for it and the network is known to have a million parameters or more, which halves the time; smaller
    ones lose more to conversions than they gain. All else is fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type != "cpu" or network is None or sum(p.numel() for p in network.parameters()) < 1_000_000:
        return "fp32"
    # PyTorch has no public question for this; where there are no instructions, bfloat16 is emulated, and slow.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in questions) else "fp32"
