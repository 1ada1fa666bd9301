"""Exported graphs give what the networks give, gradients included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rgd.guidance import grad_log_prob
from rgd.lab import registry

pytestmark = [pytest.mark.check, pytest.mark.timeout(600)]
onnxruntime = pytest.importorskip("onnxruntime", reason="graphs are exported by the extra 'book'")
pytest.importorskip("onnxscript", reason="graphs are exported by the extra 'book'")
from tools import export  # noqa: E402


def run(model: Any, **inputs: Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


def points(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise and images, at all levels, towards all classes."""
    random = torch.Generator().manual_seed(0)
    xt = torch.randn(batch, 1, 28, 28, generator=random) * torch.linspace(0.3, 1.5, batch).reshape(-1, 1, 1, 1)
    return xt, torch.linspace(0, 999, batch).long(), torch.arange(batch) % 10


@pytest.mark.parametrize("name", ["mnist/vanilla", "mnist/robust"])
def test_a_gradient_is_torchs(name: str) -> None:
    xt, t, y = points(10)
    network: Any = registry.load(name, "cpu")
    gradient, logits = run(export.export(name), xt=xt, t=t, y=y)
    exact = grad_log_prob(network)(xt, t, y).numpy()
    assert np.abs(gradient - exact).max() < 1e-5 * max(1, np.abs(exact).max())
    assert np.abs(logits - network(xt, t).numpy()).max() < 1e-4


def test_a_denoiser_is_torchs_and_half_its_size() -> None:
    xt, t, _ = points(10)
    model = export.export("mnist/ddpm")
    (output,) = run(model, xt=xt, t=t)
    exact = registry.model("mnist/ddpm", "cpu").network(xt, t).numpy()
    assert np.abs(output - exact).max() < 1e-5 * max(1, np.abs(exact).max())
    assert len(model.SerializeToString()) < 1.2 * registry.path("mnist/ddpm").stat().st_size
