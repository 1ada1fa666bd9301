"""Exported graphs give what the networks give, gradients included; the site's files are made of them once."""

from __future__ import annotations

from pathlib import Path
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
from tools import export, live  # noqa: E402


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


def test_files_that_were_made_from_the_same_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(live, "runtime", lambda cache: cache / live.RUNTIME)
    monkeypatch.setattr(export, "main", lambda graphs: None)
    monkeypatch.setattr(live, "write", lambda folder, package, graphs: made.append(folder))
    live.main(tmp_path / "live", tmp_path)
    live.main(tmp_path / "live", tmp_path)
    assert made == [tmp_path / "live"]
    assert "already" in capsys.readouterr().out
    monkeypatch.setattr(export, "MODELS", export.MODELS[:-1])
    live.main(tmp_path / "live", tmp_path)
    assert len(made) == 2


def test_without_npm_there_are_no_models_and_the_book_is_built_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live.shutil, "which", lambda name: None)
    monkeypatch.setattr(live.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match=r"install Node\.js"):
        live.main(tmp_path / "live", tmp_path)
    live.main(tmp_path / "live", tmp_path, optional=True)
    assert "without its live digit" in capsys.readouterr().err
    assert {file.name for file in (tmp_path / "live").iterdir()} == {"digits.js", "pairs.js"}
