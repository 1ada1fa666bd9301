"""Samplers, step by step against diffusers, against differential equations solved by hand, and by what they sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rgd import processes, samplers, schedule
from rgd.denoiser import NetworkDenoiser, Prediction
from rgd.guidance import grad_log_prob, guide, unconditional
from rgd.mixtures import Mixture, mixture
from rgd.randomness import NoiseStream
from rgd.samplers import Sampler, ddim, ddpm, dpm_solver, heun, sample
from rgd.schedule import Schedule

Q = schedule.linear()
SAMPLERS = [ddpm, ddim, dpm_solver, heun]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- against diffusers -------------------------------------------------------------------------------------------


class Network(nn.Module):
    """Some function of xt, t and y, far from a good denoiser: a sampler must do the right thing with any."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * normal(out_channels, 2, 3, 3))

    def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        phase = (t / 100 + y).double().reshape(-1, 1, 1, 1)
        return 1.5 * torch.tanh(F.conv2d(xt, self.weight, padding=1) + phase.sin())


X, Y = normal(3, 2, 4, 4), torch.tensor([0, 1, 2])
NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def draw(k: int, shape: Any) -> Tensor:
    return normal(*shape, seed=1000 + k)


def exact(peer: Any) -> Any:
    """diffusers' tables, which are float32, in double precision."""
    peer.alphas_cumprod = Q.alpha_bar
    return peer


def follow(ours: Sampler, denoise: NetworkDenoiser, steps: Any, step: Callable[..., Tensor], tolerance: float) -> None:
    """Both samplers run on their own; `step` is the peer's: (output, t, x, k) -> the next x."""
    x = X
    count = 0
    for here in ours(denoise, X, Y, steps=steps, noise=draw):
        with torch.no_grad():
            output = denoise.network(x, torch.full((3,), here.t), Y)
        x = step(output, here.t, x, here.k)
        assert (here.x - x).abs().max() < tolerance * x.abs().max()
        count += 1
    assert count == denoise.schedule.respace(steps).T


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("variance", "name"), [("small", "fixed_small"), ("large", "fixed_large"), ("learned", None)])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_ddpm_is_that_of_diffusers(
    predicts: Any, variance: Any, name: str | None, clip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise = NetworkDenoiser(Network(4 if variance == "learned" else 2), Q, predicts, variance, clip, conditional=True)
    peer = exact(
        DDPMScheduler(1000, variance_type=name or "learned_range", clip_sample=clip, prediction_type=NAMES[predicts])
    )
    steps = [7, 11]  # unevenly spaced
    peer.set_timesteps(timesteps=Q.respace(steps).timesteps.flip(0).tolist())
    k = 0
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, **options: draw(k, tuple(shape))
    )

    def step(output: Tensor, t: int, x: Tensor, number: int) -> Tensor:
        nonlocal k
        k = number
        return peer.step(output, t, x).prev_sample

    follow(ddpm, denoise, steps, step, 1e-9)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_ddim_is_that_of_diffusers(predicts: Any, eta: float, clip: bool) -> None:
    denoise = NetworkDenoiser(Network(2), Q, predicts, clip=clip, conditional=True)
    peer = exact(DDIMScheduler(1000, clip_sample=clip, prediction_type=NAMES[predicts]))
    peer.set_timesteps(25)
    assert peer.timesteps.tolist() == Q.respace("ddim25").timesteps.flip(0).tolist()

    def step(output: Tensor, t: int, x: Tensor, k: int) -> Tensor:
        options = {"use_clipped_model_output": True, "variance_noise": draw(k, x.shape)}
        return peer.step(output, t, x, eta, **options).prev_sample

    follow(partial(ddim, eta=eta), denoise, "ddim25", step, 1e-9)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' own way with numpy 2
@pytest.mark.parametrize("steps", [1, 2, 20, [4, 9]])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_dpm_solver_is_that_of_diffusers(predicts: Any, steps: Any) -> None:
    """To single precision: diffusers keeps the image in it."""
    denoise = NetworkDenoiser(Network(2), Q, predicts, clip=False, conditional=True)
    peer = DPMSolverMultistepScheduler(
        1000,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        lower_order_final=True,
        prediction_type=NAMES[predicts],
    )
    times = Q.respace(steps).timesteps.flip(0)
    peer.set_timesteps(timesteps=times.tolist())
    sigmas = ((1 - Q.alpha_bar[times]) / Q.alpha_bar[times]).sqrt()
    peer.sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
    follow(dpm_solver, denoise, steps, lambda output, t, x, k: peer.step(output, t, x).prev_sample, 1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("steps", [1, 2, 20, [4, 9]])
def test_dpm_solver_with_fresh_noise_is_that_of_diffusers(steps: Any) -> None:
    denoise = NetworkDenoiser(Network(2), Q, clip=False, conditional=True)
    options: dict[str, Any] = {"final_sigmas_type": "zero", "lower_order_final": True}
    peer = DPMSolverMultistepScheduler(1000, algorithm_type="sde-dpmsolver++", solver_order=2, **options)
    times = Q.respace(steps).timesteps.flip(0)
    peer.set_timesteps(timesteps=times.tolist())
    sigmas = ((1 - Q.alpha_bar[times]) / Q.alpha_bar[times]).sqrt()
    peer.sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])

    def step(output: Tensor, t: int, x: Tensor, k: int) -> Tensor:
        return peer.step(output, t, x, variance_noise=draw(k, x.shape)).prev_sample

    follow(partial(dpm_solver, eta=1.0), denoise, steps, step, 3e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_first_step_of_dpm_solver_is_one_of_ddim(eta: float) -> None:
    for q in (Q, schedule.cosine(400)):
        mix = gaussian(q)
        first = [next(iter(s(mix, X[:, 0, :2, 0], steps=30, eta=eta))).x for s in (ddim, dpm_solver)]
        torch.testing.assert_close(*first, rtol=1e-9, atol=1e-9)


# --- against closed forms ----------------------------------------------------------------------------------------


def uniform_in_log_snr(intervals: int) -> Schedule:
    """Steps that halve when their number doubles, as a convergence rate needs; slightly uneven, as in use."""
    u = torch.linspace(0, 1, intervals + 1, dtype=torch.float64)
    return Schedule(torch.sigmoid(2 * (3 - 6 * (u + 0.1 * (math.pi * u).sin()))))


def gaussian(q: Schedule) -> Mixture:
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.1]], dtype=torch.float64)
    return mixture(torch.tensor([[0.7, -0.4]], dtype=torch.float64), covariance[None], q)


def flow(mix: Mixture, x: Tensor) -> Tensor:
    """Where the probability-flow ODE takes x from the last time to the first: along each axis of the covariance it
    keeps the number of standard deviations from the mean."""
    q, axes = mix.schedule, mix.axes[0]
    last, first = (q.alpha_bar[t] * mix.variances[0] + 1 - q.alpha_bar[t] for t in (-1, 0))
    return q.signal[0] * mix.means[0] + ((x - q.signal[-1] * mix.means[0]) @ axes * (first / last).sqrt()) @ axes.T


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpm_solver, 2), (heun, 2)])
def test_solvers_converge_to_the_ode_at_their_order(sampler: Sampler, order: int) -> None:
    errors = []
    for intervals in (40, 80, 160):
        mix, x = gaussian(uniform_in_log_snr(intervals)), normal(50, 2)
        end = list(sampler(mix, x, steps=None))[-2]  # the last step leaves the ODE, for the expected clean image
        assert end.k == intervals
        errors.append(float((end.x - flow(mix, x)).norm(dim=1).mean()))
    ratios = [a / b for a, b in pairwise(errors)]
    assert ratios == pytest.approx([2**order] * 2, rel=0.05)
    assert errors[-1] < 0.02


WIDE = Schedule(torch.sigmoid(torch.linspace(math.log(1e5), math.log(1e-9), 1000, dtype=torch.float64)))
ENDS = {"linear": Q, "cosine": schedule.cosine(), "wide": WIDE}


def from_end_to_end(q: Schedule, dtype: torch.dtype = torch.float64) -> tuple[Mixture, Tensor, Tensor]:
    """Data N(0.3, 0.25); x_T, pure noise; and the clean image that the ODE makes of each."""
    mix = mixture(torch.full((1, 16), 0.3, dtype=dtype), 0.25, q)
    x, (last, first) = normal(200, 16), (q.alpha_bar[[-1, 0]])
    z = (x - 0.3 * last.sqrt()) / (0.25 * last + 1 - last).sqrt()
    end = 0.3 * first.sqrt() + z * (0.25 * first + 1 - first).sqrt()
    return mix, x.to(dtype), mix(end.to(dtype), torch.zeros(200, dtype=torch.int64)).x0


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("sampler", [ddim, dpm_solver, heun])
def test_solvers_hold_at_both_ends_of_a_schedule(sampler: Sampler, name: str) -> None:
    """alpha_bar from 1 - 1e-5 to 1e-9, too. With few steps an error of 0.5, the spread of the data, is not exceeded;
    a trapezoid from pure noise, which weighs eps with half of sigma = 20,000, goes far beyond it."""
    mix, x, expected = from_end_to_end(ENDS[name])
    for steps, allowed in ((1, 0.5), (2, 0.5), (3, 0.5), (5, 0.5), (10, 0.2), (20, 0.1), (50, 0.06), (200, 0.01)):
        *_, last = sampler(mix, x, steps=steps)
        assert (last.x - expected).abs().mean() < allowed, steps


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("sampler", [ddpm, partial(ddim, eta=1.0), *(partial(dpm_solver, eta=e) for e in (0.5, 1.0))])
def test_random_sampling_holds_at_both_ends_of_a_schedule(sampler: Any, name: str) -> None:
    """3,200 draws: mean and spread are within five standard errors, and a hundredth for the steps."""
    mix, x, _ = from_end_to_end(ENDS[name])
    *_, last = sampler(mix, x, steps=1000)
    assert abs(float(last.x.mean()) - 0.3) < 5 * 0.5 / 3200**0.5
    assert abs(float(last.x.std()) - 0.5) < 5 * 0.5 / 6400**0.5 + 0.01


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("sampler", [ddim, dpm_solver, heun])
def test_single_precision_holds_at_both_ends_of_a_schedule(sampler: Sampler, name: str) -> None:
    ends = []
    for dtype in (torch.float32, torch.float64):
        mix, x, _ = from_end_to_end(ENDS[name], dtype)
        *_, last = sampler(mix, x, steps=20)
        ends.append(last.x.double())
    assert (ends[0] - ends[1]).abs().max() < 1e-4


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("q", [Schedule(torch.tensor([a])) for a in (1 - 1e-5, 0.5, 1e-9)], ids=repr)
def test_one_step_is_the_denoisers_answer(sampler: Sampler, q: Schedule) -> None:
    """Of a process of one step, and of the noisiest of many."""
    longer = Schedule(torch.cat([torch.linspace(0.999999, 0.999991, 9, dtype=torch.float64), q.alpha_bar]))
    for each in (q, longer):
        mix, x = gaussian(each), normal(5, 2)
        (step,) = sampler(mix, x, steps=1)
        torch.testing.assert_close(step.x, mix(x, torch.full((5,), each.T - 1)).x0)


@pytest.mark.parametrize("steps", [10, 20, 50, 1000, "quadratic25"])
def test_on_the_linear_schedule_heun_is_the_textbooks(steps: Any) -> None:
    """Karras et al.'s algorithm 1 in x / sqrt(alpha_bar), on a network that is far from a good denoiser."""
    denoise = NetworkDenoiser(Network(2), Q, clip=False, conditional=True)
    q, x = Q.respace(steps), X
    sigma = ((1 - q.alpha_bar) / q.alpha_bar).sqrt()

    def slope(x: Tensor, i: int) -> Tensor:
        with torch.no_grad():
            return denoise(q.signal[i] * x, torch.full((3,), int(q.timesteps[i])), Y).eps

    x = x / q.signal[-1]
    for step, i in zip(heun(denoise, X, Y, steps=steps), reversed(range(1, q.T)), strict=False):
        euler = x + (sigma[i - 1] - sigma[i]) * slope(x, i)
        x = x + (sigma[i - 1] - sigma[i]) * (slope(x, i) + slope(euler, i - 1)) / 2
        torch.testing.assert_close(step.x, q.signal[i - 1] * x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampler", [*SAMPLERS, partial(ddim, eta=0.7)])
@pytest.mark.parametrize("spacing", [12, "ddim25", [3, 9, 2]])
def test_a_denoiser_with_a_respaced_schedule_takes_those_steps(sampler: Any, spacing: Any) -> None:
    """Its times are those that its network was trained with; guided or not, and in part again."""
    full, few = (NetworkDenoiser(Network(2), q, "v", conditional=True) for q in (Q, Q.respace(spacing)))
    for change in (lambda denoise: denoise, lambda denoise: guide(denoise, lambda xt, t, y: -0.1 * xt, 2.0)):
        pairs = zip(sampler(change(full), X, Y, steps=spacing, noise=draw),
                    sampler(change(few), X, Y, steps=None, noise=draw), strict=True)  # fmt: skip
        for a, b in pairs:
            assert (a.k, a.t) == (b.k, b.t)
            assert torch.equal(a.x, b.x)
    assert [step.t for step in sampler(few, X, Y, steps=3)] == few.schedule.respace(3).timesteps.flip(0).tolist()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_last_step_gives_the_expected_clean_image(sampler: Sampler) -> None:
    mix = gaussian(Q)
    steps = list(sampler(mix, normal(5, 2), steps=12))
    before, last = steps[-2], steps[-1]
    torch.testing.assert_close(last.x, mix(before.x, torch.zeros(5, dtype=torch.int64)).x0)
    torch.testing.assert_close(last.x, last.x0)


@pytest.mark.parametrize("steps", [None, 10, [3, 9, 2], "ddim25"])
def test_ddim_at_eta_one_is_ancestral_sampling_with_the_small_variance(steps: Any) -> None:
    denoise, noise = NetworkDenoiser(Network(2), Q, variance="small", conditional=True), NoiseStream(3)
    pairs = zip(
        ddpm(denoise, X, Y, steps=steps, noise=noise), ddim(denoise, X, Y, steps=steps, noise=noise, eta=1), strict=True
    )
    for ancestral, implicit in pairs:
        torch.testing.assert_close(ancestral.x, implicit.x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 10, [3, 9, 2], "ddim25"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_step_says_where_it_is(sampler: Sampler, steps: Any) -> None:
    shown: list[int] = []
    mix = gaussian(Q)

    class Watched:
        schedule = Q

        def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
            assert t.shape == (len(xt),)
            assert t.dtype == torch.int64
            shown.extend(t.unique().tolist())
            return mix(xt, t, y)

    trajectory = list(sampler(Watched(), normal(4, 2), steps=steps))
    times = Q.respace(steps).timesteps.flip(0).tolist()
    assert [step.t for step in trajectory] == times
    assert [step.k for step in trajectory] == list(range(1, len(times) + 1))
    trapezoidal = [t for pair in pairwise(times) for t in pair] + times[-1:]
    assert shown == (trapezoidal if sampler is heun else times)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_take_a_step_only_when_asked(sampler: Sampler) -> None:
    def denoise(xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        raise AssertionError("called before the first step was asked for")

    denoise.schedule = Q  # type: ignore[attr-defined]
    trajectory = sampler(denoise, normal(2, 2), steps=5)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="first step"):
        next(iter(trajectory))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_sampler_changes_its_input_or_keeps_a_graph(sampler: Sampler) -> None:
    x = X.clone()
    last = list(sampler(NetworkDenoiser(Network(2), Q, conditional=True), x, Y, steps=4))[-1]
    assert torch.equal(x, X)
    assert not last.x.requires_grad


# --- sample ------------------------------------------------------------------------------------------------------

MEANS = torch.tensor([[-1.0, 0.2], [0.5, 0.9], [0.6, -0.8], [-0.6, -0.5]])
COVARIANCES = torch.tensor(
    [[[0.25, 0.15], [0.15, 0.25]], [[0.1, 0.0], [0.0, 0.4]], [[0.3, 0.0], [0.0, 0.1]], [[0.2, 0.0], [0.0, 0.2]]]
)
MIX = mixture(MEANS, COVARIANCES, Q, torch.tensor([0, 1, 0, 1]), weights=torch.tensor([3.0, 2.0, 2.0, 1.0]))
QUIET: dict[str, Any] = {"device": "cpu", "progress": False}


@pytest.mark.parametrize("sampler", [*SAMPLERS, partial(ddim, eta=0.7)])
@given(n=st.integers(1, 9), batch_size=st.integers(1, 10))
def test_any_batch_size_gives_the_same_images(sampler: Sampler, n: int, batch_size: int) -> None:
    y = torch.arange(9) % 2
    whole = sample(MIX, (9, 2), y, sampler=sampler, steps=6, seed=4, **QUIET)
    split = sample(MIX, (n, 2), y[:n], sampler=sampler, steps=6, seed=4, batch_size=batch_size, **QUIET)
    torch.testing.assert_close(split, whole[:n], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_number_of_processes_gives_the_same_images(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process in turn, with an accelerator that at first only listens and then tells what it heard."""
    y = torch.arange(7) % 2
    alone = sample(MIX, (7, 2), y, sampler=ddpm, steps=5, **QUIET)
    heard: list[Tensor] = []

    class Accelerator:
        def gather(self, part: Tensor) -> Tensor:
            if len(heard) < count:
                heard.append(part)
                return part.repeat(count, 1)
            return torch.cat(heard)

    for rank in [*range(count), *range(count)]:
        group = processes.Processes(torch.device("cpu"), rank, count, Accelerator())
        monkeypatch.setattr(samplers, "processes", lambda group=group: group)
        together = sample(MIX, (7, 2), y, sampler=ddpm, steps=5, batch_size=2, progress=False)
    assert together.shape == (7, 2)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_an_image_depends_on_its_own_label_alone() -> None:
    y = torch.arange(6) % 2
    other = y.clone()
    other[3] = 1 - other[3]
    first, second = (sample(MIX, (6, 2), labels, sampler=ddpm, steps=10, **QUIET) for labels in (y, other))
    assert ((first - second).abs() > 1e-3).any(dim=1).nonzero()[:, 0].tolist() == [3]


@pytest.mark.parametrize("walk", [ddpm, partial(ddim, eta=1.0)])
def test_another_start_is_another_draw_in_full(walk: Any) -> None:
    blob = mixture(torch.zeros(1, 2, dtype=torch.float64), 1.0, Q)

    def ends(seed: int) -> Tensor:
        *_, last = walk(blob, normal(500, 2, seed=seed), steps=200)
        return last.x

    a, again, b = ends(1), ends(1), ends(2)
    assert torch.equal(a, again)
    # Ancestral sampling forgets where it began: had both the same noise in their steps, they would agree.
    assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 4 / 1000**0.5


def test_the_seed_decides_and_nothing_else_does() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = sample(MIX, (4, 2), sampler=ddpm, steps=5, seed=1, **QUIET)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(sample(MIX, (4, 2), sampler=ddpm, steps=5, seed=1, **QUIET), first)
    assert not torch.isclose(sample(MIX, (4, 2), sampler=ddpm, steps=5, seed=2, **QUIET), first).any()


def test_sample_is_the_sampler_run_to_its_end() -> None:
    images = sample(MIX, (4, 2), steps=5, seed=3, **QUIET)
    noise = NoiseStream(3)
    *_, last = ddim(MIX, noise(0, (4, 2)), steps=5, noise=noise)
    torch.testing.assert_close(images, last.x)
    assert images.dtype == torch.float32
    assert sample(MIX, (0, 2), steps=5, **QUIET).shape == (0, 2)


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [(ddpm, 1000), (ddim, 50), (dpm_solver, 20), (heun, 20), (partial(ddim, eta=1.0), 50), (partial(heun, steps=7), 7)],
)
def test_every_sampler_takes_its_own_number_of_steps(sampler: Any, steps: int) -> None:
    with_default = sample(MIX, (2, 2), sampler=sampler, **QUIET)
    assert torch.equal(with_default, sample(MIX, (2, 2), sampler=sampler, steps=steps, **QUIET))
    assert not torch.equal(with_default, sample(MIX, (2, 2), sampler=sampler, steps=steps - 1, **QUIET))


@pytest.mark.parametrize("sampler", [ddpm, ddim, dpm_solver, heun, partial(dpm_solver, steps="quadratic3")])
def test_a_denoiser_of_few_times_is_asked_at_all_of_them_by_default(sampler: Any) -> None:
    few = replace(MIX, schedule=MIX.schedule.respace(4))
    steps = 3 if isinstance(sampler, partial) else 4
    wanted = sample(
        few, (2, 2), sampler=getattr(sampler, "func", sampler), steps="quadratic3" if steps == 3 else 4, **QUIET
    )
    assert torch.equal(sample(few, (2, 2), sampler=sampler, **QUIET), wanted)
    with pytest.raises(ValueError, match="5 steps"):
        sample(few, (2, 2), sampler=sampler, steps=5, **QUIET)


def test_the_progress_bar_is_there_when_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    sample(MIX, (3, 2), steps=4, batch_size=2, device="cpu", progress="twelve steps")
    shown = capsys.readouterr().err
    assert "twelve steps" in shown
    assert "12/12" in shown  # of an image each
    sample(MIX, (3, 2), steps=4, **QUIET)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"y": torch.zeros(4, dtype=torch.int64)}, "labels"),
        ({"y": torch.zeros(5, 1, dtype=torch.int64)}, "labels"),
        ({"batch_size": 0}, "batch"),
        ({"steps": 1001}, "steps"),
        ({"steps": 0}, "step"),
        ({"steps": "ddim600"}, "stride"),
    ],
)
def test_what_cannot_be_sampled(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sample(MIX, (5, 2), **{"steps": 5, **options, **QUIET})


# --- what is sampled ---------------------------------------------------------------------------------------------

N = 500


def p_value(a: Tensor, b: Tensor, permutations: int = 999) -> float:
    """Of the hypothesis that two samples come from one distribution, by the energy distance (Székely & Rizzo 2013),
    which is 0 only then. Exact: under the hypothesis, P(p <= alpha) <= alpha."""
    generator = torch.Generator().manual_seed(0)
    pooled = torch.cat([a, b]).double()
    distance = torch.cdist(pooled, pooled)
    sign = torch.cat([torch.full((len(a),), 1 / len(a)), torch.full((len(b),), -1 / len(b))]).double()
    orders = [torch.arange(len(pooled))] + [
        torch.randperm(len(pooled), generator=generator) for _ in range(permutations)
    ]
    signs = sign[torch.stack(orders)]
    energy = -((signs @ distance) * signs).sum(dim=1)
    return float((energy >= energy[0] * (1 - 1e-12)).double().mean())


@pytest.fixture(scope="module")
def truth() -> Callable[[int], Tensor]:
    """Exact samples of a class."""
    return lambda y: MIX.sample(N, torch.Generator().manual_seed(10 + y), torch.full((N,), y))[0]


def guided_samples(sampler: Sampler, steps: Any, scale: float, y: int, form: Any = "score") -> Tensor:
    denoise = guide(unconditional(MIX), grad_log_prob(MIX.classifier), scale, form=form)
    return sample(denoise, (N, 2), torch.full((N,), y), sampler=sampler, steps=steps, seed=5 + y, batch_size=N, **QUIET)


ENOUGH = [(ddpm, 250), (partial(ddim, eta=1.0), 250), (ddim, 100), (dpm_solver, 60), (heun, 60)]
ENOUGH += [(partial(dpm_solver, eta=eta), 60) for eta in (0.7, 1.0)]


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize(
    ("sampler", "steps"), ENOUGH, ids=["ddpm", "ddim-eta-1", "ddim", "dpm_solver", "heun", "dpm-0.7", "dpm-1"]
)
def test_exact_guidance_samples_the_class(sampler: Sampler, steps: int, y: int, truth: Callable[[int], Tensor]) -> None:
    """Both classes have two modes of unequal weight, and overlap. A perfect sampler fails each of the ten cases with
    one seed in a thousand; the seeds are fixed."""
    samples = guided_samples(sampler, steps, 1.0, y)
    assert p_value(samples, truth(y)) > 0.001


def test_exact_guidance_in_the_mean_form_samples_the_class(truth: Callable[[int], Tensor]) -> None:
    """It differs from the score form by a factor sqrt(1 - beta) in each step, and so needs many."""
    assert p_value(guided_samples(ddpm, 400, 1.0, 0, form="mean"), truth(0)) > 0.001


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(("sampler", "steps"), [(ddpm, 250), (heun, 60)], ids=["ddpm", "heun"])
def test_the_same_test_rejects_any_other_scale(
    sampler: Sampler, steps: int, scale: float, truth: Callable[[int], Tensor]
) -> None:
    assert p_value(guided_samples(sampler, steps, scale, 1), truth(1)) <= 0.001


def test_the_test_itself_accepts_what_is_the_same(truth: Callable[[int], Tensor]) -> None:
    again, _ = MIX.sample(N, torch.Generator().manual_seed(99), torch.zeros(N, dtype=torch.int64))
    assert p_value(again, truth(0)) > 0.001
    assert p_value(again + 0.15, truth(0)) <= 0.001


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_step_tells_the_estimate_where_it_started(sampler: Sampler) -> None:
    mix, x = gaussian(Q), normal(5, 2)
    for step in sampler(mix, x, steps=6):
        torch.testing.assert_close(step.x0, mix(x, torch.full((5,), step.t)).x0)
        x = step.x
