"""The schedule against Bayes' rule, against the chain it sums up, and against diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from rgd import schedule
from rgd.schedule import Schedule

numbers = st.floats(-3, 3)
betas = st.lists(st.floats(1e-4, 0.5), min_size=2, max_size=20)


def from_betas(beta: list[float]) -> Schedule:
    return Schedule((1 - torch.tensor(beta, dtype=torch.float64)).cumprod(0))


def log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return Normal(mean, variance.sqrt()).log_prob(x)


@given(beta=betas, values=st.tuples(numbers, numbers, numbers))
def test_the_posterior_obeys_bayes_rule(beta: list[float], values: tuple[float, float, float]) -> None:
    q = from_betas(beta)
    t = torch.arange(1, q.T)
    x0, before, xt = (torch.full((q.T - 1,), value, dtype=torch.float64) for value in values)
    now, prev = q.alpha_bar[t], q.alpha_bar[t - 1]
    posterior = log_normal(before, q.posterior_mean(x0, xt, t), q.posterior_variance[t])
    backward = posterior + log_normal(xt, now.sqrt() * x0, 1 - now)
    step = now / prev
    forward = log_normal(xt, step.sqrt() * before, 1 - step) + log_normal(before, prev.sqrt() * x0, 1 - prev)
    torch.testing.assert_close(backward, forward, rtol=1e-8, atol=1e-8)


def test_the_posterior_of_the_first_step_is_x0_itself() -> None:
    q, x0, xt = schedule.linear(), torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(q.posterior_mean(x0, xt, torch.zeros(2, dtype=torch.int64)), x0, rtol=1e-11, atol=1e-11)
    assert q.posterior_variance[0] == 0


@given(beta=betas)
def test_q_sample_is_the_sum_of_the_steps(beta: list[float]) -> None:
    q = from_betas(beta)
    t, one, none = torch.arange(q.T), torch.ones(q.T, dtype=torch.float64), torch.zeros(q.T, dtype=torch.float64)
    mean, variance = 1.0, 0.0
    means, variances = [], []
    for b in beta:  # x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) eps, one step after the other
        mean, variance = mean * (1 - b) ** 0.5, variance * (1 - b) + b
        means.append(mean)
        variances.append(variance)
    torch.testing.assert_close(q.beta, torch.tensor(beta, dtype=torch.float64), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(q.q_sample(one, t, none), torch.tensor(means, dtype=torch.float64))
    torch.testing.assert_close(q.q_sample(none, t, one).square(), torch.tensor(variances, dtype=torch.float64))
    torch.testing.assert_close(q.q_sample(one, t, one), q.signal + q.sigma)


def test_each_image_is_noised_at_its_own_time() -> None:
    q, generator = schedule.linear(), torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 4, 3, 2, 2, generator=generator)
    t = torch.tensor([0, 10, 500, 999])
    xt = q.q_sample(x0, t, eps)
    assert xt.dtype == torch.float32
    for i in range(4):
        torch.testing.assert_close(xt[i : i + 1], q.q_sample(x0[i : i + 1], t[i : i + 1], eps[i : i + 1]))
        exact = float(q.alpha_bar[t[i]]) ** 0.5 * x0[i] + (1 - float(q.alpha_bar[t[i]])) ** 0.5 * eps[i]
        torch.testing.assert_close(xt[i], exact)


def test_q_sample_has_the_variance_it_should() -> None:
    """Image and noise of variance 1 give xt of variance 1. A sample variance of n draws is off by sqrt(2 / n): five
    such errors are allowed, which chance exceeds once in two million."""
    q, generator, n = schedule.cosine(), torch.Generator().manual_seed(1), 100_000
    for t in (0, 300, 700, 999):
        x0, eps = torch.randn(2, 1, n, generator=generator, dtype=torch.float64)
        xt = q.q_sample(x0, torch.tensor([t]), eps)
        assert abs(float(xt.var()) - 1) < 5 * (2 / n) ** 0.5
        assert abs(float((xt - q.signal[t] * x0).var() / (1 - q.alpha_bar[t])) - 1) < 5 * (2 / n) ** 0.5


@given(beta=betas, x0=numbers, eps=numbers)
def test_x0_and_eps_follow_from_each_other(beta: list[float], x0: float, eps: float) -> None:
    q = from_betas(beta)
    t = torch.arange(q.T)
    image, noise = (torch.full((q.T, 2), value, dtype=torch.float64) for value in (x0, eps))
    xt = q.q_sample(image, t, noise)
    torch.testing.assert_close(q.x0_from_eps(xt, t, noise), image, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(q.eps_from_x0(xt, t, image), noise, rtol=1e-9, atol=1e-9)


@given(T=st.integers(2, 300), data=st.data())
def test_respacing_keeps_alpha_bar_and_both_ends(T: int, data: st.DataObject) -> None:
    q, n = schedule.cosine(T), data.draw(st.integers(2, T))
    spaced = q.respace(n)
    times = spaced.timesteps
    assert len(times) == n
    assert times[0] == 0
    assert times[-1] == T - 1
    gaps = times.diff()
    assert (gaps > 0).all()
    assert gaps.max() - gaps.min() <= 1, "the times are evenly spaced, to rounding"
    assert torch.equal(spaced.alpha_bar, q.alpha_bar[times])
    again = spaced.respace(data.draw(st.integers(1, n)))
    assert torch.equal(again.alpha_bar, q.alpha_bar[again.timesteps]), "a network knows steps by their first times"


def test_respacing_by_none_and_by_all_changes_nothing() -> None:
    q = schedule.linear(50)
    for steps in (None, 50, "50", "ddim50"):
        assert torch.equal(q.respace(steps).alpha_bar, q.alpha_bar)
        assert torch.equal(q.respace(steps).timesteps, torch.arange(50))
    for one in (1, "1", [1], np.int64(1)):  # where sampling starts, not where it ends
        assert q.respace(one).timesteps.tolist() == [49]


@pytest.mark.parametrize(("steps", "stride", "count"), [("ddim25", 40, 25), ("ddim50", 20, 50), ("ddim7", 143, 7)])
def test_ddim_strides_from_the_start(steps: str, stride: int, count: int) -> None:
    assert schedule.linear().respace(steps).timesteps.tolist() == [stride * i for i in range(count)]


@given(T=st.integers(2, 300), data=st.data())
def test_even_and_quadratic_times_keep_both_ends(T: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, T))
    first, power = data.draw(st.sampled_from([0, data.draw(st.integers(0, T - n))])), data.draw(st.sampled_from([1, 2]))
    steps = f"{'quadratic' if power == 2 else ''}{n} from {first}"
    times = schedule.cosine(T).respace(steps).timesteps
    assert len(times) == n
    assert times[[0, -1]].tolist() == [first, T - 1]
    assert (times.diff() > 0).all()
    moved = times > first + torch.arange(n)  # the others stand as low as they can
    low, high = first ** (1 / power), (T - 1) ** (1 / power)
    rounding = (low + (high - low) * torch.arange(n).double() / (n - 1)) ** power - times
    assert ((rounding > -1e-8) & (rounding < 1))[moved].all()


def test_quadratic_times_of_a_thousand() -> None:
    """The published results' own: by integers alone."""
    for n in range(2, 200):
        exact = [max(i, 999 * i**2 // (n - 1) ** 2) for i in range(n)]
        assert schedule.linear().respace(f"quadratic{n}").timesteps.tolist() == exact
    assert schedule.linear().respace("quadratic7 from 40").timesteps.tolist() == [40, 111, 217, 359, 537, 750, 999]


@pytest.mark.parametrize("steps", ["3,5,2", [3, 5, 2], (3, 5, 2)])
def test_sections_each_have_their_count_and_their_ends(steps: str | list[int]) -> None:
    times = schedule.linear(32).respace(steps).timesteps.tolist()  # sections of 11, 11 and 10 times
    assert times == [0, 5, 10, 11, 13, 16, 19, 21, 22, 31]  # strides of 5, 2.5 (rounded half to even) and 9


@pytest.mark.parametrize(
    "steps",
    [
        0,
        -1,
        101,
        [],
        [1, 0],
        [60, 40],
        "ddim70",
        "ddim0",
        "ddim101",
        "many",
        "ddimmany",
        "quadratic1",
        "quadratic101",
        "quadratic5 from 96",
        "quadratic5 from",
        "ddim5 from 3",
        "97 from 4",
        "5 from",
        "3,4 from 2",
    ],
)
def test_impossible_respacings(steps: int | str | list[int]) -> None:
    with pytest.raises(ValueError):
        schedule.linear(100).respace(steps)


@pytest.mark.parametrize(
    "alpha_bar", [[], [[0.5]], [0.5, 0.5], [0.4, 0.5], [1.0, 0.5], [0.5, 0.0], [0.5, float("nan")], [0.5, -0.1]]
)
def test_impossible_schedules(alpha_bar: list[float]) -> None:
    with pytest.raises(ValueError, match="alpha_bar"):
        Schedule(torch.tensor(alpha_bar))


@pytest.mark.parametrize("make", [schedule.linear, schedule.cosine])
def test_named_schedules(make: type) -> None:
    with pytest.raises(ValueError, match="T must be"):
        make(0)
    for T in (2, 5, 20, 21, 100, 1000, 4000):
        q = make(T)
        assert q.T == T
        assert q.alpha_bar.dtype == torch.float64
        assert q.alpha_bar[-1] < 2e-3, "x_T must be noise, however many steps there are"


def test_schedules_by_name() -> None:
    assert schedule.named("linear", 50) == schedule.linear(50)
    assert schedule.named("cosine") == schedule.cosine(1000)
    with pytest.raises(ValueError, match="a schedule must be 'linear' or 'cosine', not 'lineer'"):
        schedule.named("lineer")


def test_schedules_with_the_same_tables_are_equal() -> None:
    q = schedule.linear(50)
    assert q == schedule.linear(50)
    assert hash(q) == hash(schedule.linear(50))
    for other in (schedule.cosine(50), q.respace(10), Schedule(q.alpha_bar, torch.arange(1, 51)), 50):
        assert q != other
    assert repr(schedule.linear()) == "Schedule(T=1000, alpha_bar=0.9999 to 4.03583e-05)"


def test_after_respacing_a_time_is_still_a_time() -> None:
    q, x, eps = schedule.cosine(100), torch.ones(3, 2), torch.full((3, 2), 0.5)
    few = q.respace([1, 2, 4])
    t = few.timesteps[[6, 1, 0]]
    assert t.tolist() == [99, 34, 0]
    for name in ("alpha_bar", "signal", "sigma"):
        torch.testing.assert_close(few.at(name, t, x), q.at(name, t, x))
    torch.testing.assert_close(few.q_sample(x, t, eps), q.q_sample(x, t, eps))
    torch.testing.assert_close(few.x0_from_eps(x, t, eps), q.x0_from_eps(x, t, eps))
    torch.testing.assert_close(few.eps_from_x0(x, t, eps), q.eps_from_x0(x, t, eps))
    torch.testing.assert_close(few.at("beta", t, x)[0, 0], 1 - (q.alpha_bar[99] / few.alpha_bar[-2]).float())
    for known, unknown in ((few, 5), (few, 100), (q, 100)):
        with pytest.raises(ValueError, match="a schedule knows only"):
            known.at("sigma", torch.tensor([0, unknown]), x)


@pytest.mark.parametrize("timesteps", [[0, 1], [0, 2, 1], [0, 1, 1], [-1, 0, 1]])
def test_impossible_times(timesteps: list[int]) -> None:
    with pytest.raises(ValueError, match="timesteps"):
        Schedule(torch.tensor([0.9, 0.5, 0.1]), torch.tensor(timesteps))


@pytest.mark.parametrize("T", [50, 1000])
@pytest.mark.parametrize("name", ["linear", "squaredcos_cap_v2"])
def test_schedules_are_those_of_diffusers(name: str, T: int) -> None:
    """Theirs are float32: a beta has 6 or 7 digits, and a product of a thousand factors 4 or 5."""
    peer = DDPMScheduler(T, beta_start=0.1 / T, beta_end=20 / T, beta_schedule=name)
    q = schedule.linear(T) if name == "linear" else schedule.cosine(T)
    torch.testing.assert_close(q.beta.float(), peer.betas, rtol=5e-6, atol=1e-8)
    torch.testing.assert_close(q.alpha_bar.float(), peer.alphas_cumprod, rtol=1e-4, atol=1e-10)


def test_log_variance_goes_from_beta_tilde_to_beta() -> None:
    q = schedule.cosine().respace(20)
    t = q.timesteps
    low, half, high = (q.log_variance(t, torch.full((20,), f, dtype=torch.float64)).exp() for f in (0.0, 0.5, 1.0))
    torch.testing.assert_close(low[1:], q.posterior_variance[1:])
    torch.testing.assert_close(low[0], q.posterior_variance[1])  # a variance of 0 has no logarithm
    torch.testing.assert_close(high, q.beta)
    torch.testing.assert_close(half, (low * high).sqrt())


def test_log_variance_takes_one_fraction_for_each_pixel() -> None:
    q, t = schedule.linear(), torch.tensor([3, 800])
    fraction = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    log_variance = q.log_variance(t, fraction)
    assert log_variance.shape == fraction.shape
    torch.testing.assert_close(log_variance[1, 2, 3, 0], q.log_variance(t[1:], fraction[1:, 2, 3, 0])[0])
