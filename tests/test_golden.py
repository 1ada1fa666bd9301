"""Parity with the reference implementation (guided-diffusion, and the paper's attack), from its recorded output.

`tests/golden` holds a tiny set. The same tests run on every folder named in `RGD_GOLDEN` (separated as in PATH), and
read every option from the folder's own `config.json`.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rgd import attacks, objectives, samplers, schedule
from rgd.denoiser import NetworkDenoiser, split_output
from rgd.guidance import grad_log_prob, guide
from rgd.networks import EncoderConfig, EncoderUNet, UNet, UNetConfig

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "golden"
FOLDERS = [HERE / "golden", *map(Path, filter(None, os.environ.get("RGD_GOLDEN", "").split(os.pathsep)))]
if SHARED.is_dir() and SHARED not in FOLDERS:
    FOLDERS.append(SHARED)

WITHOUT_EFFECT = {"use_fp16", "use_checkpoint", "dims", "use_spatial_transformer"}


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Agreement relative to the largest value, as float32 rounding accumulates."""
    error = (actual - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
    assert error < tolerance, f"relative error {error:.2e}, more than {tolerance}"


def close_x0(actual: Tensor, expected: Tensor, signal: Tensor | float, tolerance: float) -> None:
    """Agreement of estimates of x0, to what float32 can give: they are eps's rounding divided by sqrt(alpha_bar).

    At t = 999 that factor is 157, and the recordings themselves are 1e-4 away from the same network in float64.
    """
    error = (signal * (actual - expected)).abs().max() / expected.abs().max()
    assert error < tolerance, f"relative error {error:.2e} before the division, more than {tolerance}"


@dataclass(frozen=True)
class Golden:
    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text())

    def read(self, name: str) -> dict[str, Tensor]:
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        with np.load(path) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays}

    def _options(self, key: str, config: type) -> Any:
        options = {k: v for k, v in self.config[key].items() if k not in WITHOUT_EFFECT}
        known = {field.name for field in fields(config)}
        assert set(options) <= known, f"options unknown to {config.__name__}: {set(options) - known}"
        return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})

    @cached_property
    def unet(self) -> UNet:
        network = UNet(self._options("unet", UNetConfig))
        network.load_state_dict(self.read("unet_weights"))
        return network.eval()

    @cached_property
    def classifier(self) -> EncoderUNet:
        network = EncoderUNet(self._options("classifier", EncoderConfig))
        network.load_state_dict(self.read("classifier_weights"))
        return network.eval()

    @cached_property
    def schedule(self) -> schedule.Schedule:
        name, T = re.match(r"(\w+)\D+(\d+)", self.config.get("schedule", "linear, 1000 steps")).groups()
        return schedule.named(name, int(T))

    @cached_property
    def denoiser(self) -> NetworkDenoiser:
        """The U-Net as a denoiser: clipped, with the variance that the configuration describes."""
        config, text = self.unet.config, self.config["guided"]
        fixed = "small" if "small" in text else "large"
        return NetworkDenoiser(
            self.unet,
            self.schedule,
            variance="learned" if config.out_channels == 2 * config.in_channels else fixed,
            clip="clip_denoised" in text and "no clip_denoised" not in text,
            conditional=config.num_classes is not None,
        )

    def steps(self, which: int) -> str | list[int]:
        text = self.config["respacing"][which]
        return text if text.startswith("ddim") else json.loads(text)

    def labels(self, y: Tensor) -> Tensor | None:
        return None if self.unet.config.num_classes is None else y


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def test_golden_unet(golden: Golden) -> None:
    io = golden.read("network_io")
    with torch.no_grad():
        close(golden.unet(io["x"], io["t"], golden.labels(io["y"])), io["unet_out"], 1e-5)


def test_golden_classifier_and_its_gradient(golden: Golden) -> None:
    io = golden.read("network_io")
    with torch.no_grad():
        close(golden.classifier(io["x"], io["t"]), io["logits"], 1e-5)
    close(grad_log_prob(golden.classifier)(io["x"], io["t"], io["y"]), io["grad_logp_y"], 2e-5)


def test_golden_schedule_and_posterior(golden: Golden) -> None:
    q = golden.read("diffusion")
    torch.testing.assert_close(golden.schedule.beta, q["betas"], rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(golden.schedule.alpha_bar, q["alpha_bar"], rtol=1e-9, atol=1e-14)
    close(golden.schedule.q_sample(q["x0"], q["t"], q["noise"]), q["xt"], 1e-6)
    y = golden.labels(golden.read("network_io")["y"])
    with torch.no_grad():
        prediction = replace(golden.denoiser, clip=True)(q["xt"], q["t"], y)
    close_x0(prediction.x0, q["pred_x0"], golden.schedule.at("signal", q["t"], q["x0"]), 1e-5)
    close(golden.schedule.posterior_mean(prediction.x0, q["xt"], q["t"]), q["p_mean"], 1e-5)
    log_variance = golden.schedule.log_variance(q["t"], prediction.fraction.expand_as(q["xt"]))
    close(log_variance, q["p_log_variance"], 1e-5)
    close(log_variance.exp(), q["p_variance"], 1e-5)


def test_golden_losses(golden: Golden) -> None:
    q = golden.read("diffusion")
    y = golden.labels(golden.read("network_io")["y"])
    with torch.no_grad():
        output = golden.unet(q["xt"], q["t"], y)
        mse, vb = objectives.denoising_terms("eps", output, golden.schedule, q["x0"], q["xt"], q["t"], q["noise"])
    torch.testing.assert_close(mse, q["loss_mse"], rtol=1e-5, atol=0)
    if "loss_vb" not in q:
        assert vb is None
        return
    torch.testing.assert_close(vb, q["loss_vb"], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(mse + vb, q["loss"], rtol=1e-4, atol=1e-7)
    assert split_output(output, q["x0"].shape[1])[1] is not None


@pytest.mark.parametrize(("name", "which", "form"), [("guided_ddpm", 0, "mean"), ("guided_ddim", 1, "score")])
def test_golden_guided_trajectory(golden: Golden, name: str, which: int, form: Any) -> None:
    recorded = golden.read(name)
    sampler = samplers.ddpm if form == "mean" else samplers.ddim
    denoise = guide(golden.denoiser, grad_log_prob(golden.classifier), float(recorded["scale"]), form=form)
    x, noise = recorded["noise"][0], recorded["noise"]
    count = 0
    trajectory = sampler(denoise, x, recorded["y"], steps=golden.steps(which), noise=lambda k, shape: noise[k])
    times = sorted(recorded["timesteps"].tolist(), reverse=True)
    for step in trajectory:
        assert step.t == times[step.k - 1]
        close(step.x, recorded["samples"][step.k - 1], 1e-4)
        close_x0(step.x0, recorded["pred_x0"][step.k - 1], float(golden.schedule.signal[step.t]), 5e-5)
        count += 1
    assert count == len(recorded["samples"])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_golden_attack(golden: Golden, norm: str) -> None:
    recorded = golden.read(f"attack_{norm}")
    text = golden.config["attack"]
    threat = {"l2": attacks.L2, "linf": attacks.Linf}[norm]
    divisor = re.search(r"eps\s*/\s*([\d.]+)", text)
    keys = [key for key in recorded if key.startswith("x_adv_")]
    assert keys
    for key in keys:
        radius, steps = re.match(r"x_adv_eps([\d.]+)_steps(\d+)", key).groups()
        attack = attacks.PGD(
            threat(float(radius)),
            steps=int(steps),
            step=1 / float(divisor.group(1)) if divisor else None,
            early_stop="stops moving" in text,
        )
        attacked = attack(golden.classifier, recorded["x"], recorded["t"], recorded["y"])
        moved = (recorded[key] - recorded["x"]).flatten(1).norm(dim=1)
        close(attacked - recorded["x"], recorded[key] - recorded["x"], 1e-3)
        close(attacked, recorded[key], 1e-5)
        assert (moved > 0).any(), "the recording moved no sample, so that it shows nothing"
