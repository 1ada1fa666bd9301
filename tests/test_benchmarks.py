"""What the benchmark compares with is what it is said to be."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import rgd
from benchmarks import denoisers, guided

Q = rgd.schedule.linear()
WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "mnist"


def constant(xt: Tensor, t: Tensor) -> Tensor:
    """The eps of an image that is grey all over, whatever xt is."""
    return (xt - 0.1 * Q.at("signal", t, xt)) / Q.at("sigma", t, xt)


def classifier(xt: Tensor, t: Tensor) -> Tensor:
    return 0.3 * torch.stack([xt.flatten(1).sum(1), xt[:, 0, 0, 0]], dim=1)


@pytest.mark.parametrize("scale", [0.0, 1.5])
def test_the_plain_loop_is_guided_ddim(scale: float) -> None:
    """Where no pixel is cut: diffusers cuts after guidance, and takes the uncut eps along."""
    y, start = torch.tensor([0, 1, 1]), rgd.noise((3, 1, 4, 4))
    network: Any = constant
    theirs = guided.plain_loop(SimpleNamespace(network=network), classifier, scale, start, y, 50)
    denoise = rgd.NetworkDenoiser(network, Q, clip=False)
    steered = rgd.guide(denoise, rgd.grad_log_prob(classifier), scale)
    *_, last = rgd.ddim(steered, start, y, steps="ddim50")
    # Theirs stops at the first time of the stride; the others are the same to single precision.
    torch.testing.assert_close(theirs, last.x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("guide", ["", str(WEIGHTS / "vanilla.safetensors")], ids=["of the run", "of its own"])
def test_a_worker_draws_what_it_is_asked_for(tmp_path: Path, guide: str) -> None:
    to, said = tmp_path / "images.pt", io.StringIO()
    fast = guided.Way("new", "dpm_solver", "2 from 60", (1.9,), 0.7, 70, batch_size=3, guide=guide)
    asked = {"way": vars(fast), "scale": 1.9, "n": 4, "seed": 5, "to": str(to)}
    guided.work("mnist", "robust" if guide else "vanilla", [json.dumps(asked)], said)
    answer = json.loads(said.getvalue())
    assert answer["seconds"] > 0 < answer["peak"]
    denoise, vanilla = rgd.zoo.load("mnist/ddpm", "cpu"), rgd.zoo.load("mnist/vanilla", "cpu")
    steered = rgd.guide(denoise, rgd.grad_log_prob(vanilla), 1.9, (70, 1000))

    def sampler(*given: Any, **named: Any) -> Any:
        return rgd.dpm_solver(*given, **named, eta=0.7)

    y = torch.arange(4) % 10
    expected = rgd.sample(steered, (4, 1, 28, 28), y, sampler=sampler, steps="2 from 60", seed=5, progress=False)
    # From t = 999 on x0 is 150 times the rounding of eps, which differs with the batch and the machine.
    torch.testing.assert_close(torch.load(to), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("schedule", [rgd.schedule.linear(), rgd.schedule.cosine()])
@pytest.mark.parametrize("weight", ["min-snr", "sigmoid"])
def test_a_rule_of_weights_is_one_rule_whatever_the_network_predicts(weight: str, schedule: Any) -> None:
    """The same answers, said as eps and as v, have losses whose ratio no noise level changes."""
    x0, error = rgd.noise((8, 1, 4, 4), 1).clamp(-1, 1), rgd.noise((8, 1, 4, 4), 2)
    losses: dict[str, list[Tensor]] = {"eps": [], "v": []}
    for t in map(int, torch.linspace(5, 990, 8)):
        level = torch.full((8,), t)
        eps = rgd.noise(x0.shape, t)
        xt = schedule.q_sample(x0, level, eps)
        signal, sigma = (schedule.at(part, level, x0) for part in ("signal", "sigma"))
        said = {"eps": eps + error, "v": signal * (eps + error) - sigma * (xt - sigma * (eps + error)) / signal}
        for predicts, answer in said.items():
            mse, _ = rgd.objectives.denoising_terms(predicts, answer, schedule, x0, xt, level, eps)
            weights = denoisers.weights(denoisers.Weighted(predicts, weight=weight), schedule)  # type: ignore[arg-type]
            losses[predicts].append((weights[level] * mse).mean())
    ratio = torch.stack(losses["eps"]) / torch.stack(losses["v"])
    torch.testing.assert_close(ratio, ratio.mean().expand(8), rtol=1e-3, atol=0)


def test_the_weights_are_those_of_the_papers() -> None:
    """Min-SNR weighs x0's error by the SNR, up to five; the sigmoid weighs that of eps, over the log of the SNR."""
    snr = Q.alpha_bar / (1 - Q.alpha_bar)
    of_x0 = denoisers.weights(denoisers.Weighted(weight="min-snr"), Q) * snr
    torch.testing.assert_close(of_x0 / of_x0[0], snr.clamp(max=5) / 5, rtol=1e-4, atol=0)
    edges = snr.log()
    over = denoisers.weights(denoisers.Weighted(weight="sigmoid"), Q)[1:-1] / (edges[:-2] - edges[2:])
    torch.testing.assert_close(
        over / over[0], ((2 - edges).sigmoid() / (2 - edges[1]).sigmoid())[1:-1], rtol=1e-4, atol=0
    )
