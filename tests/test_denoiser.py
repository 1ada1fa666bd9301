"""Denoisers: one truth, however a network expresses it, gives one `Prediction`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rgd import schedule
from rgd.denoiser import NetworkDenoiser, split_output, x0_from
from rgd.guidance import guide
from rgd.networks import UNetConfig, build

Q = schedule.linear()
T = torch.tensor([0, 1, 250, 998, 999])


class Says(nn.Module):
    """A network that gives the same answer to everything, and remembers what it was asked."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.asked: list[tuple[Any, ...]] = []

    def forward(self, *question: Any) -> Tensor:
        self.asked.append(question)
        return self.output


@pytest.fixture
def truth() -> tuple[Tensor, Tensor, Tensor]:
    """(x0, eps, xt), images of two channels inside the pixel range."""
    generator = torch.Generator().manual_seed(0)
    x0 = 2 * torch.rand(5, 2, 3, 3, generator=generator, dtype=torch.float64) - 1
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    return x0, eps, Q.q_sample(x0, T, eps)


def answer(predicts: str, x0: Tensor, eps: Tensor) -> Tensor:
    """What a perfect network would say; v is Salimans & Ho's (2022): alpha eps - sigma x0."""
    alpha = Q.alpha_bar[T].sqrt().reshape(-1, 1, 1, 1)
    return {"eps": eps, "x0": x0, "v": alpha * eps - (1 - alpha**2).sqrt() * x0}[predicts]


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_every_parametrisation_tells_the_same_truth(predicts: Any, clip: bool, truth: tuple[Tensor, ...]) -> None:
    x0, eps, xt = truth
    prediction = NetworkDenoiser(Says(answer(predicts, x0, eps)), Q, predicts, clip=clip)(xt, T)
    torch.testing.assert_close(prediction.x0, x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(prediction.eps, eps, rtol=1e-9, atol=1e-9)
    assert prediction.gradient is None


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_eps_follows_where_x0_is_clipped(predicts: Any, truth: tuple[Tensor, ...]) -> None:
    x0, eps, _ = truth
    wide = 3 * x0
    xt = Q.q_sample(wide, T, eps)
    output = answer(predicts, wide, eps)
    clipped = NetworkDenoiser(Says(output), Q, predicts)(xt, T)
    torch.testing.assert_close(clipped.x0, wide.clamp(-1, 1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(Q.q_sample(clipped.x0, T, clipped.eps), xt, rtol=1e-9, atol=1e-9)
    inside = wide.abs() < 1
    assert inside.any()
    assert not inside.all()
    torch.testing.assert_close(clipped.eps[inside], eps[inside], rtol=1e-9, atol=1e-9)
    free = NetworkDenoiser(Says(output), Q, predicts, clip=False)(xt, T)
    torch.testing.assert_close(free.x0, wide, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("channel", "table"), [(-1.0, "log_posterior_variance"), (1.0, "log_beta")])
def test_the_learned_variance_lies_between_its_ends(channel: float, table: str, truth: tuple[Tensor, ...]) -> None:
    x0, eps, xt = truth
    output = torch.cat([eps, torch.full_like(eps, channel)], dim=1)
    prediction = NetworkDenoiser(Says(output), Q, variance="learned")(xt, T)
    torch.testing.assert_close(prediction.x0, x0, rtol=1e-9, atol=1e-9)
    end = getattr(Q, table)[T].reshape(-1, 1, 1, 1).expand_as(xt)
    torch.testing.assert_close(Q.log_variance(T, prediction.fraction), end)


@pytest.mark.parametrize(("variance", "table"), [("small", "log_posterior_variance"), ("large", "log_beta")])
def test_the_fixed_variances(variance: Any, table: str, truth: tuple[Tensor, ...]) -> None:
    _, eps, xt = truth
    prediction = NetworkDenoiser(Says(eps), Q, variance=variance)(xt, T)
    log_variance = Q.log_variance(T, prediction.fraction.expand_as(xt))
    torch.testing.assert_close(log_variance, getattr(Q, table)[T].reshape(-1, 1, 1, 1).expand_as(xt))


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_a_network_in_half_precision_answers_in_that_of_xt(predicts: Any, truth: tuple[Tensor, ...]) -> None:
    _, eps, xt = truth
    network = Says(torch.cat([eps, eps.tanh()], dim=1).bfloat16())
    prediction = NetworkDenoiser(network, Q, predicts, variance="learned")(xt.float(), T)
    assert {prediction.x0.dtype, prediction.eps.dtype, prediction.fraction.dtype} == {torch.float32}


def test_outputs_that_do_not_fit(truth: tuple[Tensor, ...]) -> None:
    _, eps, xt = truth
    with pytest.raises(ValueError, match="channels"):
        split_output(torch.cat([eps, eps, eps], dim=1), 2)
    with pytest.raises(ValueError, match="no variance channels"):
        NetworkDenoiser(Says(eps), Q, variance="learned")(xt, T)
    with pytest.raises(ValueError, match="variance='large' does not fit"):
        NetworkDenoiser(Says(torch.cat([eps, eps], dim=1)), Q)(xt, T)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"predicts": "score"}, "predicts must be 'eps' or 'x0' or 'v', not 'score'"),
        ({"variance": "smal"}, "variance of a reverse step must be 'small' or 'large' or 'learned', not 'smal'"),
        ({"variance": None}, "not None"),
    ],
)
def test_misspelt_settings_are_refused_before_anything_is_computed(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NetworkDenoiser(nn.Identity(), Q, **options)


def test_an_unknown_parametrisation_is_refused(truth: tuple[Tensor, ...]) -> None:
    _, eps, xt = truth
    with pytest.raises(ValueError, match="not 'score'"):
        x0_from("score", eps, xt, T, Q)  # type: ignore[arg-type]


class Plain(nn.Module):
    """A network as anybody writes one: of (xt, t), and without a `config`."""

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return 0.5 * xt


def test_a_plain_network_is_guided() -> None:
    """The labels are for the guide; the network, which has no place for them, is not shown any."""
    denoise, xt, y = NetworkDenoiser(Plain(), Q), torch.ones(5, 1, 1, 2), torch.arange(5)
    torch.testing.assert_close(denoise(xt, T, y).eps, denoise(xt, T).eps)
    guided = guide(denoise, lambda xt, t, y: xt * y.reshape(-1, 1, 1, 1), 1.0)(xt, T, y)
    expected = denoise(xt, T).eps - Q.at("sigma", T, xt) * y.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(guided.eps, expected)


def test_a_respaced_schedule_is_asked_by_the_times_it_keeps(truth: tuple[Tensor, ...]) -> None:
    _, eps, xt = truth
    denoise = NetworkDenoiser(Says(eps), Q.respace([1, 1, 2]), clip=False)
    t = denoise.schedule.timesteps[[0, 1, 2, 3, 3]]
    assert t.tolist() != [0, 1, 2, 3, 3]
    torch.testing.assert_close(denoise(xt, t).x0, NetworkDenoiser(Says(eps), Q, clip=False)(xt, t).x0)
    with pytest.raises(ValueError, match="the 4 of its `timesteps`, 0 to 999, not t = "):
        denoise(xt, t - 1)


@pytest.mark.parametrize("shown", [True, False])
def test_labels_are_shown_only_to_networks_that_take_them(shown: bool, truth: tuple[Tensor, ...]) -> None:
    _, eps, xt = truth
    y = torch.arange(5)
    network = Says(eps)
    denoise = NetworkDenoiser(network, Q, conditional=shown)
    denoise(xt, T, y)
    denoise(xt, T)
    labelled, plain = network.asked
    assert len(plain) == 2
    assert len(labelled) == (3 if shown else 2)
    assert all(torch.equal(given, expected) for given, expected in zip(labelled, (xt, T, y), strict=False))


@pytest.mark.parametrize("num_classes", [None, 4])
def test_a_u_net_with_and_without_classes(num_classes: int | None) -> None:
    config = UNetConfig(
        image_size=4,
        in_channels=2,
        model_channels=32,
        out_channels=2,
        num_res_blocks=1,
        attention_resolutions=(),
        channel_mult=(1,),
        num_classes=num_classes,
        null_label=num_classes is not None,
    )
    network = build(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # the last convolution starts at zero, and would hide everything
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
        xt = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        t = torch.tensor([1, 500, 900])
        denoise = NetworkDenoiser(network, Q, clip=False, conditional=num_classes is not None)
        plain, one, other = (denoise(xt, t, y).eps for y in (None, torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3])))
    same = [torch.equal(one[i], other[i]) for i in range(3)]
    assert same == [True, True, num_classes is None]
    assert torch.equal(one, plain) == (num_classes is None)
