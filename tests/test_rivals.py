"""Newer ways to guide, against Bayes' rule on mixtures and against diffusers' guiders."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rgd
from rgd import layers
from rgd.denoiser import begin
from rgd.experiments.rivals import Rival
from rgd.methods.contrast import cfg_plus_plus, perturbed, projected
from rgd.methods.scales import entropy_scaled, feedback, grad_log_ratio, seldom
from rgd.samplers import ddim, sample

Q = rgd.schedule.linear()
MEANS = torch.tensor([[-1.0, 0.3], [0.8, 0.8], [0.2, -1.1], [-0.5, -0.9]], dtype=torch.float64)
MIX = rgd.mixture(
    MEANS, torch.tensor([0.3, 0.2, 0.4, 0.2]), Q, torch.tensor([0, 1, 2, 0]), torch.tensor([2.0, 1, 1, 3])
)
PRIOR = torch.tensor([5, 1, 1], dtype=torch.float64) / 7
T = torch.arange(0, 1000, 7)
Y = T % 3
XT = torch.randn(len(T), 2, generator=rgd.generator(0), dtype=torch.float64)
EXACT = rgd.grad_log_prob(MIX.classifier)
PLAIN = rgd.unconditional(MIX)
GUIDED = rgd.guide(PLAIN, EXACT, 3.0)


@pytest.mark.parametrize("h", [0.0, 0.1, 0.6])
def test_feedback_undoes_hesitation(h: float) -> None:
    def hesitant(xt: Tensor, t: Tensor) -> Tensor:
        return ((1 - h) * MIX.logits(xt, t).softmax(1) + h * PRIOR).log()

    gradient = feedback(hesitant, h, PRIOR, most=1e12)
    sure = MIX.logits(XT, T).softmax(1).gather(1, Y[:, None])[:, 0] > 1e-4  # else hardly any digit of it is left
    torch.testing.assert_close(gradient(XT, T, Y)[sure], EXACT(XT, T, Y)[sure], rtol=1e-7, atol=1e-9)
    if h:
        assert not torch.allclose(rgd.grad_log_prob(hesitant)(XT, T, Y), EXACT(XT, T, Y), rtol=0.05)
        other = feedback(hesitant, h, most=1e12)(XT, T, Y)  # another prior is another ratio
        assert not torch.allclose(other[sure], EXACT(XT, T, Y)[sure], rtol=0.05)


def test_feedback_stays_finite() -> None:
    gradient = feedback(MIX.classifier, 0.9, PRIOR, most=4.0)(XT, T, Y)
    ratio = gradient.norm(dim=1) / EXACT(XT, T, Y).norm(dim=1)
    assert ratio.min() >= 1 - 1e-9
    assert ratio.max() == pytest.approx(4, rel=1e-6)


def test_entropy_scaling() -> None:
    p = MIX.logits(XT, T).softmax(1)
    scale = math.log(3) / -(p * p.log()).sum(1)
    expected = scale.clamp(max=10)[:, None] * EXACT(XT, T, Y)
    torch.testing.assert_close(entropy_scaled(MIX.classifier)(XT, T, Y), expected)
    assert scale.max() > 10 > scale.min() > 1


def test_a_perfect_discriminator_makes_the_model_right() -> None:
    """The model is another mixture; a third, of both, is the perfect discriminator."""
    weights = torch.tensor([1.0, 2, 0.5, 0.5])
    model = rgd.mixture(MEANS + 0.4, 0.5, Q, torch.zeros(4, dtype=torch.int64), weights)
    means, variances = torch.cat([model.means, MIX.means]), torch.cat([model.variances, MIX.variances])
    shares = torch.cat([model.log_weights, MIX.log_weights]).exp()
    both = rgd.mixture(means, variances, Q, torch.tensor([0] * 4 + [1] * 4), shares)
    closed, by_autograd = (grad_log_ratio(d)(XT, T, Y) for d in (both.classifier, both.logits))
    torch.testing.assert_close(model.score(XT, T) + closed, MIX.score(XT, T), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(closed, by_autograd)
    corrected = rgd.guide(model, grad_log_ratio(both.classifier))(XT, T)
    torch.testing.assert_close(corrected.eps, MIX(XT, T).eps, rtol=1e-6, atol=1e-6)


@dataclass
class Counted:
    calls: list[int] = field(default_factory=list)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.calls.append(int(t[0]))
        return EXACT(xt, t, y)


@given(st.integers(1, 7), st.integers(1, 12))
def test_seldom_asks_at_every_nth_step_of_each_trajectory(every: int, steps: int) -> None:
    counted = Counted()
    guided = rgd.guide(PLAIN, seldom(counted, every), 2.0)
    y = torch.tensor([0, 1])
    for _ in range(2):
        times = [step.t for step in ddim(guided, XT[:2], y, steps=steps)]
    assert counted.calls == 2 * times[::every]


def test_seldom_of_one_is_the_gradient() -> None:
    ends = [sample(rgd.guide(PLAIN, g, 2.0), (6, 2), Y[:6], steps=9, progress=False) for g in (EXACT, seldom(EXACT, 1))]
    assert torch.equal(*ends)


class TestAgainstDiffusers:
    """Theirs work on whatever a network predicts; here that is x0."""

    def test_projected(self) -> None:
        guiders = pytest.importorskip("diffusers.guiders")
        strong, weak, scale = MIX, PLAIN, 4.0
        ours = begin(projected(rgd.autoguidance(strong, weak, scale), momentum=-0.4, most=0.7, parallel=0.25))
        theirs = guiders.AdaptiveProjectedGuidance(
            guidance_scale=scale, adaptive_projected_guidance_momentum=-0.4, adaptive_projected_guidance_rescale=0.7,
            eta=0.25, use_original_formulation=False,
        )  # fmt: skip
        theirs.set_state(step=0, num_inference_steps=3, timestep=T[0])
        theirs.prepare_inputs({"x": (XT, XT)})
        for k in range(3):
            x = XT + k
            cond, uncond = strong(x, T, Y).x0, weak(x, T, Y).x0
            # Theirs is D + s (...), the paper's algorithm D_y + (s - 1) (...).
            expected = cond + (theirs.forward(cond, uncond).pred - uncond) * (scale - 1) / scale
            torch.testing.assert_close(ours(x, T, Y).x0, expected, rtol=1e-5, atol=1e-5)

    def test_perturbed_attention(self) -> None:
        guiders = pytest.importorskip("diffusers.guiders")
        denoise = rgd.NetworkDenoiser(network(), Q)
        weak, x, t = perturbed(denoise), torch.randn(2, 1, 8, 8, generator=rgd.generator(3)), torch.tensor([900, 300])
        theirs = guiders.PerturbedAttentionGuidance(
            guidance_scale=0.0, perturbed_guidance_scale=2.5, perturbed_guidance_layers=[0], start=0.0, stop=1.0,
            perturbed_guidance_start=0.0, perturbed_guidance_stop=1.0, use_original_formulation=True,
        )  # fmt: skip
        theirs.set_state(step=5, num_inference_steps=10, timestep=t[0])
        strong, weaker = denoise(x, t).eps, weak(x, t).eps
        expected = theirs.forward(strong, pred_cond_skip=weaker).pred
        torch.testing.assert_close(rgd.autoguidance(denoise, weak, 3.5)(x, t).eps, expected, rtol=1e-5, atol=1e-5)


def network(**more: Any) -> torch.nn.Module:
    """With noise for weights, for a fresh one's residual branches are zero."""
    config = rgd.UNetConfig(
        image_size=8, in_channels=1, out_channels=1, model_channels=32, num_res_blocks=1, channel_mult=(1, 2),
        attention_resolutions=(2,), num_heads=2, **more,
    )  # fmt: skip
    network = rgd.build(config).eval()
    with torch.no_grad():
        for k, p in enumerate(network.parameters()):
            p.normal_(0, 0.2, generator=rgd.generator(7, k))
    return network


@pytest.mark.parametrize("new_order", [False, True])
def test_perturbed_is_attention_to_oneself(new_order: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    denoise = rgd.NetworkDenoiser(network(use_new_attention_order=new_order), Q)
    x, t = torch.randn(2, 1, 8, 8, generator=rgd.generator(3)), torch.tensor([900, 300])
    plain, weak = denoise(x, t).eps, perturbed(denoise)(x, t).eps
    assert torch.equal(denoise(x, t).eps, plain)  # a copy was changed

    def alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, attn_mask=torch.eye(q.shape[-2], dtype=torch.bool))

    attend = F.scaled_dot_product_attention
    monkeypatch.setattr(layers.F, "scaled_dot_product_attention", alone)
    torch.testing.assert_close(weak, denoise(x, t).eps)
    assert (weak - plain).abs().max() > 0.01


def test_perturbed_needs_attention() -> None:
    with pytest.raises(ValueError, match="attention"):
        perturbed(rgd.NetworkDenoiser(torch.nn.Conv2d(1, 1, 1), Q))


def turned(guided: rgd.guidance.Guided, momentum: float, most: float, parallel: float, x: list[Tensor]) -> list[Tensor]:
    """The paper's algorithm, image by image."""
    past, found = [torch.zeros(2, dtype=torch.float64)] * len(T), []
    for xt in x:
        plain, strong = guided.denoise(xt, T).x0, rgd.guide(guided.denoise, guided.gradient)(xt, T, Y).x0
        rows = []
        for i in range(len(T)):
            past[i] = (strong[i] - plain[i]) + momentum * past[i]
            d = past[i] * min(1, most / float(past[i].norm()))
            along = (d @ strong[i]) / (strong[i] @ strong[i]) * strong[i]
            rows.append(strong[i] + (guided.scale - 1) * (d - along + parallel * along))
        found.append(torch.stack(rows))
    return found


@pytest.mark.parametrize(("momentum", "most", "parallel"), [(-0.5, 0.6, 0.0), (-0.75, 2.0, 0.5), (0.0, math.inf, 1.0)])
def test_projected_by_a_classifier(momentum: float, most: float, parallel: float) -> None:
    ours, x = begin(projected(GUIDED, momentum, most, parallel)), [XT, XT + 0.5, XT - 1]
    for xt, expected in zip(x, turned(GUIDED, momentum, most, parallel, x)):
        said = ours(xt, T, Y)
        torch.testing.assert_close(said.x0, expected)
        torch.testing.assert_close(said.eps, Q.eps_from_x0(xt, T, said.x0))


def test_projected_remembers_one_trajectory_alone() -> None:
    ours = projected(GUIDED)
    first, second, plain = begin(ours)(XT, T, Y).x0, begin(ours)(XT, T, Y).x0, ours(XT, T, Y).x0
    assert torch.equal(first, second)
    assert torch.equal(first, plain)


def test_projected_with_nothing_to_take_away_is_guidance() -> None:
    same = projected(GUIDED, momentum=0.0, parallel=1.0)(XT, T, Y)
    torch.testing.assert_close(same.x0, GUIDED(XT, T, Y).x0)
    at_one = rgd.guide(PLAIN, EXACT, 1.0)
    torch.testing.assert_close(projected(at_one, most=0.01)(XT, T, Y).x0, at_one(XT, T, Y).x0)


@pytest.mark.parametrize("wrong", [partial(rgd.guide, scale=0.0), partial(rgd.guide, interval=(0, 500))])
def test_projected_refuses_what_has_no_meaning(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"the (scale|interval)"):
        projected(wrong(PLAIN, EXACT))


GUIDANCE = [GUIDED, rgd.classifier_free(MIX, 2.5), rgd.autoguidance(MIX, PLAIN, 1.5)]


@pytest.mark.parametrize("guided", GUIDANCE)
def test_cfg_plus_plus_renoises_by_what_is_unguided(guided: Any) -> None:
    said = cfg_plus_plus(guided)(XT, T, Y)
    assert torch.equal(said.x0, guided(XT, T, Y).x0)
    assert torch.equal(said.eps, MIX(XT, T).eps)


def test_a_step_of_cfg_plus_plus_moves_by_the_image_alone() -> None:
    """Where DDIM goes with plain guidance, but for the guided part of the noise."""
    steps = [next(iter(ddim(d, XT[:9], Y[:9], steps=20))) for d in (cfg_plus_plus(GUIDED), GUIDED, PLAIN)]
    ours, guided, plain = (step.x for step in steps)
    alpha_bar = float(Q.respace(20).alpha_bar_prev[-1])
    torch.testing.assert_close(ours - plain, alpha_bar**0.5 * (steps[1].x0 - steps[2].x0))
    assert ((ours - plain).norm(dim=1) > (guided - plain).norm(dim=1)).all()


def test_feedback_where_the_classifier_is_as_sure_as_can_be() -> None:
    sure, y = torch.tensor([[80.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    for label in (y, y + 1):
        gradient = feedback(lambda xt, t: xt * torch.ones(3, dtype=torch.float64), 0.5)(sure, y, label)
        assert gradient.isfinite().all()


def test_rivals_enter_a_comparison() -> None:
    models = {name: rgd.zoo.load(f"mnist/{name}", "cpu") for name in ("ddpm", "robust")}
    denoise: Any = models["ddpm"]
    classifier: Any = models["robust"]
    plain = rgd.guide(denoise, rgd.grad_log_prob(classifier), 2.0)
    led = rgd.autoguidance(denoise, perturbed(denoise), 1.5)
    expected = {
        "projected": projected(plain, 0.5),
        "cfg++": cfg_plus_plus(plain),
        "feedback": rgd.guide(denoise, feedback(classifier, 0.5), 2.0),
        "entropy": rgd.guide(denoise, entropy_scaled(classifier), 2.0),
        "weak attention": rgd.guide(led, rgd.grad_log_prob(classifier), 2.0),
        "training-free": rgd.training_free(denoise, classifier, 2.0, 1.0),
        "ratio": rgd.guide(denoise, grad_log_ratio(classifier), 2.0),
    }
    y, found = torch.arange(4), {}
    for way, steered in expected.items():
        entry = Rival("x", "ddpm", "classifier", "robust", (2.0,), way=way, setting=0.5)  # type: ignore[arg-type]
        steps = {"steps": 5, "sampler": ddim, "progress": False}
        found[way] = sample(entry.build(models.__getitem__, 2.0), (4, 1, 28, 28), y, **steps)  # type: ignore[arg-type]
        torch.testing.assert_close(found[way], sample(steered, (4, 1, 28, 28), y, **steps))  # type: ignore[arg-type]
    apart = torch.cdist(*[torch.stack([*found.values()]).flatten(1)] * 2)
    assert (apart + 9 * torch.eye(7)).min() > 0.1  # or some would be no test
    with pytest.raises(ValueError, match="the way must be 'projected' or"):
        Rival("x", "ddpm", way="apg")  # type: ignore[arg-type]
