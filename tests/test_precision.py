"""Mixed precision: what is chosen for a device, and what is refused."""

from __future__ import annotations

import pytest
import torch

from rgd.compute.precision import autocast

CPU = torch.device("cpu")


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("large", [None, False, True])
def test_automatic_precision_on_a_cpu(native: bool, large: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    network = None if large is None else torch.nn.Linear(1000, 1000 if large else 900)
    with autocast(CPU, network=network):
        assert torch.is_autocast_enabled("cpu") is bool(native and large)


def test_precisions() -> None:
    with autocast(CPU, "fp32"):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        autocast(CPU, "fp16")
    with pytest.raises(ValueError, match="precision must be 'auto' or 'fp32' or 'bf16' or 'fp16', not 'fp8'"):
        autocast(CPU, "fp8")  # type: ignore[arg-type]
