"""Guidance, against Bayes' rule on a mixture, where denoiser, classifier and the answer are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rgd import samplers, schedule
from rgd.attacks import log_prob, unit
from rgd.denoiser import Denoiser, NetworkDenoiser, Prediction
from rgd.guidance import (
    LOST,
    GuidanceRecord,
    autoguidance,
    classifier_free,
    grad_log_prob,
    grad_log_prob_of_x0,
    guide,
    unconditional,
)
from rgd.methods.gradients import cap, grad_log_prob_at_x0, smooth
from rgd.mixtures import mixture
from rgd.samplers import SampleStep, ddpm
from rgd.schedule import per_image

Q = schedule.linear()
EXACT = {"rtol": 1e-8, "atol": 1e-8}
scales = st.floats(-3, 8)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MEANS = torch.tensor([[-1.0, 0.3], [0.8, 0.8], [0.2, -1.1], [-0.5, -0.9]], dtype=torch.float64)
COVARIANCES = torch.tensor([[[0.5, 0.2], [0.2, 0.4]], [[0.4, 0.0], [0.0, 0.8]]], dtype=torch.float64)
MIX = mixture(MEANS, COVARIANCES.repeat(2, 1, 1), Q, labels=torch.tensor([0, 1, 2, 0]))
GRADIENT = grad_log_prob(MIX.classifier)
T = torch.arange(0, 1000, 7)
Y = T % 3
XT = normal(len(T), 2)


@dataclass
class Counted:
    """A gradient (or denoiser) that counts its calls."""

    inside: Any
    calls: list[Tensor] = field(default_factory=list)

    @property
    def schedule(self) -> schedule.Schedule:
        return self.inside.schedule

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Any:
        self.calls.append(t)
        return self.inside(xt, t, y)


def forbidden(xt: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
    raise AssertionError("the classifier was called where no guidance was wanted")


def same(a: Prediction, b: Prediction) -> None:
    """To rounding in eps; x0 divides that by sqrt(alpha_bar), which is 1/157 at the end."""
    torch.testing.assert_close(a.eps, b.eps, **EXACT)
    torch.testing.assert_close(a.x0, b.x0, **EXACT)


def differ(a: Prediction, b: Prediction) -> Tensor:
    return (a.eps != b.eps).any(dim=1)


def test_guidance_at_scale_one_is_bayes_rule() -> None:
    guided = guide(unconditional(MIX), GRADIENT, 1.0)(XT, T, Y)
    same(guided, MIX(XT, T, Y))
    torch.testing.assert_close(Q.q_sample(guided.x0, T, guided.eps), XT, **EXACT)
    assert differ(guided, MIX(XT, T)).all()


def test_a_conditional_denoiser_needs_no_guidance() -> None:
    """It is shown the labels, so that guidance on top of it counts the class twice."""
    twice = guide(MIX, GRADIENT, 1.0)(XT, T, Y)
    same(twice, guide(unconditional(MIX), GRADIENT, 2.0)(XT, T, Y))


@given(scale=scales)
def test_on_the_mixture_classifier_free_guidance_is_classifier_guidance(scale: float) -> None:
    same(classifier_free(MIX, scale)(XT, T, Y), guide(unconditional(MIX), GRADIENT, scale)(XT, T, Y))


@given(first=scales, second=scales)
def test_guides_add_up(first: float, second: float) -> None:
    inner = guide(unconditional(MIX), GRADIENT, first)
    same(guide(inner, GRADIENT, second)(XT, T, Y), guide(unconditional(MIX), GRADIENT, first + second)(XT, T, Y))


def test_guides_of_two_kinds_and_forms_add_up() -> None:
    def other(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return -xt

    both = guide(guide(unconditional(MIX), other, 0.5, form="mean"), GRADIENT, 2.0, form="mean")(XT, T, Y)
    assert both.gradient is not None
    torch.testing.assert_close(both.gradient, 2.0 * GRADIENT(XT, T, Y) - 0.5 * XT)
    same(both, MIX(XT, T))
    mixed = guide(guide(unconditional(MIX), other, 0.5, form="mean"), GRADIENT, 1.0)(XT, T, Y)
    same(mixed, MIX(XT, T, Y))
    torch.testing.assert_close(mixed.gradient, -0.5 * XT)


def test_a_classifier_without_closed_form_is_differentiated() -> None:
    by_autograd = grad_log_prob(MIX.logits)
    torch.testing.assert_close(by_autograd(XT, T, Y), GRADIENT(XT, T, Y), **EXACT)
    with torch.no_grad():  # as in the samplers
        gradient = by_autograd(XT, T, Y)
    torch.testing.assert_close(gradient, GRADIENT(XT, T, Y), **EXACT)
    assert not gradient.requires_grad
    with pytest.raises(ValueError, match="labels"):
        by_autograd(XT, T, None)  # type: ignore[arg-type]


class Classifier(nn.Module):
    """A small network, in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 16, dtype=torch.float64), nn.Linear(16, 3, dtype=torch.float64)
        for seed, parameter in enumerate(self.parameters()):
            parameter.data.copy_(normal(*parameter.shape, seed=seed))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        phase = t.double() / 1000
        return self.second(torch.tanh(self.first(torch.cat([xt, phase.sin()[:, None], phase.cos()[:, None]], dim=1))))


def test_the_gradient_leaves_no_trace() -> None:
    network, xt = Classifier(), XT.clone()
    grad_log_prob(network)(xt, T, Y)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not xt.requires_grad
    assert torch.equal(xt, XT)


def test_the_gradient_of_an_image_depends_on_its_own_label_and_pixels_alone() -> None:
    gradient = grad_log_prob(Classifier())
    before = gradient(XT, T, Y)
    y, xt = Y.clone(), XT.clone()
    y[5] = (y[5] + 1) % 3
    xt[9] += 0.1
    changed = (gradient(xt, T, y) != before).any(dim=1)
    assert changed.nonzero()[:, 0].tolist() == [5, 9]
    alone = torch.cat([gradient(XT[i : i + 1], T[i : i + 1], Y[i : i + 1]) for i in range(12)])
    torch.testing.assert_close(alone, before[:12])


def test_the_gradient_is_that_of_finite_differences() -> None:
    network, h = Classifier(), 1e-6

    def log_prob(xt: Tensor) -> Tensor:
        with torch.no_grad():
            return network(xt, T).log_softmax(1).gather(1, Y[:, None])[:, 0]

    shifts = h * torch.eye(2, dtype=torch.float64)
    differences = torch.stack([(log_prob(XT + d) - log_prob(XT - d)) / (2 * h) for d in shifts], dim=1)
    torch.testing.assert_close(grad_log_prob(network)(XT, T, Y), differences, rtol=1e-6, atol=1e-7)


@dataclass(frozen=True)
class Widened:
    """A denoiser whose reverse step has another variance."""

    inside: Denoiser
    fraction: float

    @property
    def schedule(self) -> schedule.Schedule:
        return self.inside.schedule

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        said = self.inside(xt, t, y)
        return Prediction(said.x0, said.eps, torch.full_like(xt, self.fraction))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [None, 10])
def test_the_mean_form_shifts_the_mean_by_variance_times_gradient(fraction: float, steps: int | None) -> None:
    denoise, scale = Widened(unconditional(MIX), fraction), 2.5
    x, y = XT[:6], Y[:6]
    plain = next(iter(ddpm(denoise, x, y, steps=steps)))
    guided = next(iter(ddpm(guide(denoise, GRADIENT, scale, form="mean"), x, y, steps=steps)))
    q = Q.respace(steps)
    variance = float(q.posterior_variance[-1]) ** (1 - fraction) * float(q.beta[-1]) ** fraction
    shift = variance * scale * GRADIENT(x, torch.full((6,), 999), y)
    torch.testing.assert_close(guided.x - plain.x, shift, rtol=1e-8, atol=1e-12)
    assert torch.equal(guided.x0, plain.x0)


@pytest.mark.parametrize("sampler", [samplers.ddim, samplers.dpm_solver, samplers.heun])
def test_the_mean_form_is_for_ancestral_sampling_only(sampler: samplers.Sampler) -> None:
    with pytest.raises(ValueError, match="score"):
        next(iter(sampler(guide(MIX, GRADIENT, 1.0, form="mean"), XT[:2], Y[:2], steps=5)))


@given(low=st.integers(-5, 1005), width=st.integers(0, 600))
def test_guidance_is_confined_to_its_interval(low: int, width: int) -> None:
    denoise, interval = unconditional(MIX), (low, low + width)
    inside = (low <= T) & (low + width > T)
    assert torch.equal(differ(guide(denoise, GRADIENT, 3.0, interval)(XT, T, Y), MIX(XT, T)), inside)
    assert torch.equal(differ(classifier_free(MIX, 3.0, interval)(XT, T, Y), MIX(XT, T, Y)), inside)
    assert torch.equal(differ(autoguidance(MIX, denoise, 3.0, interval)(XT, T, Y), MIX(XT, T, Y)), inside)
    mean = guide(denoise, GRADIENT, 3.0, interval, form="mean")(XT, T, Y)
    if inside.any():
        assert mean.gradient is not None
        assert torch.equal((mean.gradient != 0).any(dim=1), inside)
    else:
        assert mean.gradient is None


def test_the_classifier_is_called_only_where_it_guides() -> None:
    gradient = Counted(GRADIENT)
    guided = guide(unconditional(MIX), gradient, 2.0, interval=(200, 500))
    assert len(list(ddpm(guided, XT[:3], Y[:3], steps="ddim10"))) == 10
    assert [t.tolist() for t in gradient.calls] == [[400] * 3, [300] * 3, [200] * 3]


def test_the_weak_denoiser_is_called_only_where_it_is_needed() -> None:
    weak = Counted(MIX)
    for scale, interval in ((1.0, (0, math.inf)), (3.0, (2000, 3000))):
        same(autoguidance(MIX, weak, scale, interval)(XT, T, Y), MIX(XT, T, Y))
    assert not weak.calls
    autoguidance(MIX, weak, 3.0)(XT, T, Y)
    assert len(weak.calls) == 1


@pytest.mark.parametrize("form", ["score", "mean"])
def test_scale_zero_is_no_guidance_and_costs_nothing(form: Any) -> None:
    guided, plain = guide(MIX, forbidden, 0.0, form=form)(XT, T, Y), MIX(XT, T, Y)
    assert torch.equal(guided.eps, plain.eps)
    assert torch.equal(guided.x0, plain.x0)
    assert guided.gradient is None


def test_a_gradient_that_is_nan_outside_the_interval_does_no_harm() -> None:
    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t[:, None] < 500, GRADIENT(xt, t, y), math.nan)

    guided = guide(unconditional(MIX), gradient, 1.0, interval=(0, 500))(XT, T, Y)
    early = T < 500
    torch.testing.assert_close(guided.eps[early], MIX(XT, T, Y).eps[early], **EXACT)
    assert torch.equal(guided.eps[~early], MIX(XT, T).eps[~early])


def test_the_record_says_what_each_step_did() -> None:
    records: list[GuidanceRecord] = []
    denoise, scale = unconditional(MIX), -2.0
    guided = guide(denoise, GRADIENT, scale, interval=(100, 600), record=records.append)
    after, before = guided(XT, T, Y), denoise(XT, T)
    (record,) = records
    assert torch.equal(record.t, T)
    torch.testing.assert_close(record.gradient_norm, GRADIENT(XT, T, Y).norm(dim=1), **EXACT)
    moved = (after.eps - before.eps).norm(dim=1) / before.eps.norm(dim=1)
    torch.testing.assert_close(record.relative, moved, **EXACT)
    assert torch.equal(record.relative > 0, (T >= 100) & (T < 600))
    guided(XT[:1], torch.tensor([700]), Y[:1])
    assert len(records) == 1, "a step outside the interval is not guided"


def test_classifier_free_guidance_between_and_beyond_its_ends() -> None:
    null, conditional = MIX(XT, T), MIX(XT, T, Y)
    same(classifier_free(MIX, 1.0)(XT, T, Y), conditional)
    same(classifier_free(MIX, 0.0)(XT, T, Y), null)
    beyond = classifier_free(MIX, 4.0)(XT, T, Y)
    torch.testing.assert_close(beyond.eps, 4 * conditional.eps - 3 * null.eps, **EXACT)
    torch.testing.assert_close(Q.q_sample(beyond.x0, T, beyond.eps), XT, **EXACT)


def test_autoguidance_leads_away_from_the_worse_model() -> None:
    worse = mixture(MEANS, 0.5, Q, labels=MIX.labels)  # the same modes, blurred
    strong, weak = MIX(XT, T, Y), worse(XT, T, Y)
    led = autoguidance(MIX, worse, 2.0)(XT, T, Y)
    torch.testing.assert_close(led.eps, strong.eps + (strong.eps - weak.eps), **EXACT)
    torch.testing.assert_close(Q.q_sample(led.x0, T, led.eps), XT, **EXACT)


def test_every_wrapper_keeps_the_schedule() -> None:
    for wrapped in (guide(MIX, GRADIENT), unconditional(MIX), classifier_free(MIX, 2.0), autoguidance(MIX, MIX, 2.0)):
        assert wrapped.schedule is Q


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_scales_that_are_no_numbers(wrong: float) -> None:
    for make in (lambda: guide(MIX, GRADIENT, wrong), lambda: classifier_free(MIX, wrong)):
        with pytest.raises(ValueError, match="scale"):
            make()
    with pytest.raises(ValueError, match="scale"):
        autoguidance(MIX, MIX, wrong)


@pytest.mark.parametrize("interval", [(600, 200), (math.nan, 200), (0, math.nan)])
def test_intervals_that_are_none(interval: tuple[float, float]) -> None:
    for make in (lambda: guide(MIX, GRADIENT, 1.0, interval), lambda: classifier_free(MIX, 2.0, interval)):
        with pytest.raises(ValueError, match="interval"):
            make()


def test_forms_that_are_none() -> None:
    with pytest.raises(ValueError, match="form"):
        guide(MIX, GRADIENT, form="both")  # type: ignore[arg-type]


# --- where an image is lost in the noise -----------------------------------------------------------------------------

COSINE = schedule.cosine()


@pytest.mark.parametrize("scale", [-2.0, 1.0, 5.0])
def test_at_the_ends_of_the_cosine_schedule_an_exact_gradient_is_left_as_it_is(scale: float) -> None:
    """Where sqrt(alpha_bar) is 5e-5, and where it is all but 1."""
    mix = mixture(MEANS, COVARIANCES.repeat(2, 1, 1), COSINE, labels=MIX.labels)
    ends = torch.tensor([0, 1, 2, 900, 997, 998, 999]).repeat_interleave(30)
    xt, y = normal(len(ends), 2), torch.arange(len(ends)) % 3
    guided, plain, told = (
        guide(unconditional(mix), mix.grad_log_prob, scale)(xt, ends, y),
        mix(xt, ends),
        mix(xt, ends, y),
    )
    torch.testing.assert_close(guided.x0, plain.x0 + scale * (told.x0 - plain.x0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(guided.eps, plain.eps + scale * (told.eps - plain.eps), **EXACT)


def nearly_zero(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """What a trained classifier says of pure noise: little, but not nothing."""
    return normal(*xt.shape, seed=1).to(xt) / 16


@pytest.mark.parametrize("scale", [-3.0, 1.0, 10.0])
def test_where_nothing_is_left_of_an_image_x0_moves_no_further_than_images_differ(scale: float) -> None:
    t = torch.tensor([999, 998, 990, 500])
    blob, xt, y = (
        mixture(torch.zeros(1, 8, 8, dtype=torch.float64), 0.5, COSINE),
        normal(4, 8, 8),
        torch.zeros(4, dtype=torch.int64),
    )
    records: list[GuidanceRecord] = []
    guided, plain = guide(blob, nearly_zero, scale, record=records.append)(xt, t, y), blob(xt, t)
    torch.testing.assert_close(COSINE.q_sample(guided.x0, t, guided.eps), xt, **EXACT)
    moved, g = guided.x0 - plain.x0, scale * nearly_zero(xt, t, y)
    factor = (1 - COSINE.alpha_bar[t]) / COSINE.signal[t]
    whole = factor * g.flatten(1).norm(dim=1)
    most = 2 * abs(scale) * 8
    assert whole[0] > 100 * most
    assert (COSINE.alpha_bar[t] < LOST).tolist() == [True, True, False, False]
    expected = torch.cat([whole[:2].clamp(max=most), whole[2:]])
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(unit(moved), unit(g), rtol=1e-6, atol=1e-9)  # the direction is that of the gradient
    relative = (guided.eps - plain.eps).flatten(1).norm(dim=1) / plain.eps.flatten(1).norm(dim=1)
    torch.testing.assert_close(records[0].relative, relative, rtol=1e-6, atol=1e-9)
    nothing = guide(blob, lambda xt, t, y: 0 * xt, scale)(xt, t, y)
    assert torch.equal(nothing.x0, plain.x0)


@pytest.mark.parametrize("sampler", [samplers.ddpm, samplers.ddim, samplers.dpm_solver, samplers.heun])
def test_a_gradient_that_is_nearly_zero_does_not_throw_images_out(sampler: samplers.Sampler) -> None:
    """Twenty steps; unguided, |x| stays below 5."""
    blob = mixture(torch.zeros(1, 8, 8, dtype=torch.float64), 0.5, COSINE)
    guided = guide(blob, nearly_zero, 1.0, interval=(900, 1000))
    steps = list(sampler(guided, normal(50, 8, 8), torch.zeros(50, dtype=torch.int64), steps=20))
    assert max(float(step.x.abs().max()) for step in steps) < 8


def test_on_the_linear_schedule_no_gradient_is_too_long() -> None:
    far, xt = 1e3 * normal(len(T), 2, seed=3), normal(len(T), 2)
    guided = guide(MIX, lambda xt, t, y: far, 1.0)(xt, T, Y)
    torch.testing.assert_close(guided.eps, MIX(xt, T, Y).eps - Q.sigma[T][:, None] * far, **EXACT)


# --- a sure classifier ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [-60.0, -5.0, 0.0, 5.0, 14.0, 17.0, 25.0, 60.0, 80.0])
def test_a_sure_classifier_keeps_the_direction_and_the_length_of_its_gradient(margin: float) -> None:
    """Against double precision. Each class has an axis of its own, so that one class's share cannot stand in for
    another's: from a margin of 16 on a softmax in float32 has lost that of y."""
    logits = torch.tensor([[margin, 0.0, -1.0, -30.0]])

    def classifier(xt: Tensor, t: Tensor) -> Tensor:
        return logits.to(xt) + xt * torch.tensor([1.0, 2.0, -1.0, 0.5]).to(xt)

    t, y = torch.tensor([0]), torch.tensor([0])
    single = grad_log_prob(classifier)(torch.zeros(1, 4), t, y).double()
    p = logits.double().softmax(dim=1)
    others = p.clone()
    others[0, 0] = 0
    expected = torch.tensor([1.0, 2.0, -1.0, 0.5]) * torch.cat([others.sum(1, keepdim=True), -p[:, 1:]], dim=1)
    torch.testing.assert_close(single, expected, rtol=1e-5, atol=1e-44)
    at_x0 = grad_log_prob_at_x0(classifier, Silent(), (1.0, 1.0))(torch.zeros(1, 4), torch.tensor([499]), y)
    torch.testing.assert_close(at_x0.double(), expected, rtol=1e-4, atol=1e-44)


def test_log_prob_is_that_of_a_softmax_where_one_has_its_digits() -> None:
    logits, y = 3 * normal(20, 5), torch.arange(20) % 5
    torch.testing.assert_close(log_prob(logits, y), logits.log_softmax(1).gather(1, y[:, None])[:, 0])
    assert log_prob(logits.bfloat16(), y).dtype == torch.float32
    assert log_prob(logits, y).dtype == torch.float64
    lone = normal(3, 1).requires_grad_()
    value = log_prob(lone, torch.zeros(3, dtype=torch.int64))
    assert value.eq(0).all()
    assert torch.autograd.grad(value.sum(), lone)[0].eq(0).all()


def test_lengths_of_a_sure_classifiers_gradient_are_recorded_and_capped() -> None:
    """Its squares are nothing, or infinite, to float32."""
    g = normal(4, 3).float() * torch.tensor([1e-30, 1e-10, 1.0, 1e25])[:, None]
    t, xt, length = torch.full((4,), 999), normal(4, 3).float(), g.double().norm(dim=1).float()
    records: list[GuidanceRecord] = []
    guide(mixture(torch.zeros(1, 3), 1.0, Q), lambda xt, t, y: g, 1e-5, record=records.append)(xt, t, 0 * t)
    torch.testing.assert_close(records[0].gradient_norm, length, rtol=1e-5, atol=0)
    assert (records[0].relative > 0).all()
    capped = cap(lambda xt, t, y: g, Q, 2.0)(xt, t, t)
    torch.testing.assert_close(capped.double().norm(dim=1), length.clamp(max=2.0 / float(Q.sigma[999])).double())


# --- a classifier of the x0 estimate ---------------------------------------------------------------------------------

# One Gaussian's x0 estimate is linear in xt, with the slope below, and so is a linear classifier.
VARIANCE = 0.6
BLOB = mixture(torch.zeros(1, 2, dtype=torch.float64), VARIANCE, Q)
SLOPE = Q.signal[T] * VARIANCE / (Q.alpha_bar[T] * VARIANCE + 1 - Q.alpha_bar[T])
W = normal(3, 2, seed=5)


def linear(x0: Tensor, t: Tensor) -> Tensor:
    assert (t == 0).all(), "a classifier that never saw noise is asked at t = 0"
    return x0 @ W.T


def test_gradient_of_the_x0_estimate_is_the_chain_rule() -> None:
    p = (SLOPE[:, None] * XT @ W.T).softmax(1)
    expected = SLOPE[:, None] * (W[Y] - p @ W)
    torch.testing.assert_close(grad_log_prob_of_x0(linear, BLOB)(XT, T, Y), expected, **EXACT)


def test_gradient_at_the_x0_estimate_ignores_the_denoiser() -> None:
    flattened = (0.3 * SLOPE[:, None] * XT @ W.T).softmax(1)
    expected = (math.pi * (T + 0.5) / 1000).sin()[:, None] * (2.0 * W[Y] - 0.3 * flattened @ W)
    torch.testing.assert_close(grad_log_prob_at_x0(linear, BLOB, (2.0, 0.3))(XT, T, Y), expected, **EXACT)


def test_gradient_at_the_x0_estimate_of_a_respaced_process_is_that_of_the_whole() -> None:
    few = replace(BLOB, schedule=Q.respace(7))
    t = few.schedule.timesteps
    found, expected = (grad_log_prob_at_x0(linear, blob)(XT[:7], t, Y[:7]) for blob in (few, BLOB))
    torch.testing.assert_close(found, expected, **EXACT)


def test_x0_beyond_the_pixel_range_still_has_a_gradient() -> None:
    class Zero(nn.Module):
        def forward(self, xt: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(xt)

    far = torch.full((1, 1, 4, 4), 9.0)
    denoise, t, y = NetworkDenoiser(Zero(), Q), torch.tensor([10]), torch.tensor([0])
    assert denoise(far, t).x0.eq(1).all()
    nothing = guide(denoise, forbidden, 0.0)  # it guides nowhere, and so must change nothing
    beyond = autoguidance(denoise, denoise, 2.0)
    for each in (denoise, unconditional(denoise), unconditional(unconditional(denoise)), nothing, beyond):
        assert grad_log_prob_of_x0(lambda x, t: x.flatten(1)[:, :2], each)(far, t, y).any()


def remembered(steps: list[SampleStep]) -> list[float]:
    """The gradient that guided each step of a trajectory on which x0 is nothing but the shift by guidance."""
    return [float((step.x0 * Q.signal[step.t] / Q.sigma[step.t] ** 2).mean()) for step in steps]


@dataclass(frozen=True)
class Silent:
    """A denoiser whose every answer is zero."""

    schedule: schedule.Schedule = Q

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return Prediction(torch.zeros_like(xt), torch.zeros_like(xt), torch.zeros(()))


def of_time(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """A gradient that is the time itself, over a million."""
    return per_image(1e-6 * t.to(xt), xt).expand_as(xt)


def averaged(times: list[int], decay: float) -> list[float]:
    mean = 1e-6 * times[0]
    means = [mean]
    for t in times[1:]:
        mean = decay * mean + (1 - decay) * 1e-6 * t
        means.append(mean)
    return means


SMOOTHERS = {
    "guided": lambda g: guide(Silent(), g, 1.0),
    "guided twice": lambda g: guide(guide(Silent(), g, 1.0), of_time, 0.0),
    "capped": lambda g: guide(Silent(), cap(g, Q, 1e6), 1.0),
    "unconditional": lambda g: unconditional(guide(Silent(), g, 1.0)),
    "strong": lambda g: autoguidance(guide(Silent(), g, 1.0), Silent(), 1.0),
    "weak": lambda g: autoguidance(Silent(), guide(Silent(), g, -1.0), 2.0),
}


@pytest.mark.parametrize("around", SMOOTHERS)
@pytest.mark.parametrize("sampler", [samplers.ddpm, samplers.ddim, samplers.dpm_solver])
def test_smoothing_averages_over_one_trajectory(sampler: samplers.Sampler, around: str) -> None:
    """Whatever holds the gradient, whatever ran before, beside or only half: each trajectory has its own average."""
    denoise, x = SMOOTHERS[around](smooth(of_time, 0.75)), torch.zeros(3, 2, dtype=torch.float64)
    expected = averaged(Q.respace(6).timesteps.flip(0).tolist(), 0.75)
    half, one, other = (iter(sampler(denoise, x, Y[:3], steps=6)) for _ in range(3))
    begun = [next(half) for _ in range(3)]  # and left there, while two others take turns
    turns = list(zip(one, other, strict=True))
    for steps in ([*begun, *half], [a for a, _ in turns], [b for _, b in turns]):
        assert remembered(steps) == pytest.approx(expected)


def test_smoothing_keeps_batches_apart() -> None:
    """Also where only one step of each is guided."""
    for interval in ((0, math.inf), (900, 1100)):
        denoise = guide(MIX, smooth(GRADIENT, 0.5), 2.0, interval)
        options: dict[str, Any] = {"steps": 5, "progress": False, "device": "cpu"}
        whole = samplers.sample(denoise, (6, 2), Y[:6], **options)
        parts = samplers.sample(denoise, (6, 2), Y[:6], batch_size=2, **options)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_heun_averages_over_both_calls_of_a_step() -> None:
    asked: list[int] = []

    def noted(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        asked.append(int(t[0]))
        return of_time(xt, t, y)

    denoise, x = guide(Silent(), smooth(noted), 1.0), torch.zeros(1, 2, dtype=torch.float64)
    steps = list(samplers.heun(denoise, x, Y[:1], steps=4))
    times = Q.respace(4).timesteps.flip(0).tolist()
    assert asked == [t for pair in pairwise(times) for t in pair] + times[-1:]
    assert remembered(steps) == pytest.approx(averaged(asked, 0.9)[::2])


def test_smoothing_outside_a_trajectory_is_none() -> None:
    smoothed = smooth(of_time)
    for t in (T, T + 1):
        assert torch.equal(smoothed(XT, t, Y), of_time(XT, t, Y))


def test_a_cap_shortens_what_is_too_long_and_nothing_else() -> None:
    sigma = Q.at("sigma", T, XT)
    plain = sigma * GRADIENT(XT, T, Y)
    length = plain.norm(dim=1)
    most = float(length.median())
    found = sigma * cap(GRADIENT, Q, most)(XT, T, Y)
    torch.testing.assert_close(found.norm(dim=1), length.clamp(max=most), **EXACT)
    torch.testing.assert_close(torch.cosine_similarity(found, plain), torch.ones_like(length), **EXACT)
    nothing = cap(lambda xt, t, y: torch.zeros_like(xt), Q)(XT, T, Y)
    assert nothing.eq(0).all()


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan])
def test_caps_that_are_none(wrong: float) -> None:
    with pytest.raises(ValueError, match="greatest length must be positive"):
        cap(GRADIENT, Q, wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.0, math.nan])
def test_decays_that_are_none(wrong: float) -> None:
    with pytest.raises(ValueError, match="weight of the past"):
        smooth(GRADIENT, wrong)


def test_inside_autoguidance_no_x0_is_cut() -> None:
    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, xt: Tensor, t: Tensor) -> Tensor:
            return self.factor * xt

    strong, weak = (NetworkDenoiser(Times(factor), Q, "x0") for factor in (1.0, 0.5))
    led = autoguidance(strong, weak, 3.0)  # x0 = (1 + 2 (1 - 0.5)) xt
    far, t, y = torch.full((1, 1, 1, 2), 9.0), torch.tensor([10]), torch.tensor([0])
    gradient = grad_log_prob_of_x0(lambda x, t: x.flatten(1), led)(far, t, y)
    torch.testing.assert_close(gradient.flatten(), 2.0 * torch.tensor([0.5, -0.5]))


def test_defaults_of_guidance() -> None:
    """Results were made with them, and do not name them."""

    def far(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return 50 * xt

    at_x0 = grad_log_prob_at_x0(linear, BLOB)(XT, T, Y)
    assert torch.equal(at_x0, grad_log_prob_at_x0(linear, BLOB, (1.0, 0.5))(XT, T, Y))
    assert torch.equal(cap(far, Q)(XT, T, Y), cap(far, Q, 3.0)(XT, T, Y))
    assert torch.equal(guide(MIX, GRADIENT)(XT, T, Y).eps, guide(MIX, GRADIENT, 1.0)(XT, T, Y).eps)
