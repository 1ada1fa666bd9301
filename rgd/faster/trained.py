"""What is trained anew for each seed, on digits and on a line, each against the plain way; see chapter 22.

A demonstration is (work, seed) -> rows of numbers. Seconds are those of a hundred samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from scipy.special import ndtr
from scipy.stats import ks_1samp
from torch import Tensor

from rgd.denoiser import NetworkDenoiser, Prediction
from rgd.experiments.worlds import seeded
from rgd.faster import distil, flow, makers
from rgd.faster.work import CRITIC, MADE, MAKER, UNET, Row, Work
from rgd.guidance import unconditional
from rgd.mixtures import mixture
from rgd.networks import build
from rgd.randomness import generator, noise
from rgd.samplers import ancestral, ddim, ddpm
from rgd.schedule import Schedule, per_image
from rgd.variants.networks import Made, Straight, StraightConfig, Told

FEW = (16, 8, 4, 2)  # steps
SCALES = {"free": 2, "vanilla": 4, "robust": 4}  # of guidance on digits
GUIDED = 2.4  # on the published models


def students(work: Work, name: str, seed: int) -> Iterator[tuple[Schedule, Told]]:
    """The student that says in one pass what a guided teacher of two says, and its halvings; with their times."""
    teacher: Any = work.guided(name, seed, 1.0)

    def told(xt: Tensor, t: Tensor, y: Tensor, s: Tensor) -> Prediction:
        weak, strong = teacher.both(xt, t, y)
        s = per_image(s, xt)
        x0, eps = weak.x0 + s * (strong.x0 - weak.x0), weak.eps + s * (strong.eps - weak.eps)
        return replace(strong, x0=x0, eps=eps)

    student = Told.of(work.conditional(seed).network, SCALES[name])  # type: ignore[arg-type]
    student = work.train(student, distil.Follow(told), 0.6, seed)
    yield work.schedule, student
    times = work.schedule.respace(FEW[0])
    while FEW[-1] < times.T:
        halved = distil.Halved(teacher_of(student, times), times, most=4.0)
        times = distil.every_second(times)
        student = work.train(deepcopy(student).requires_grad_(), halved, 0.3, seed, schedule=times)
        yield times, student


def distilled(work: Work, seed: int) -> Iterator[Row]:
    """A guided teacher, the student that says the same in one pass, and its halvings."""
    for name, at in SCALES.items():
        for steps in FEW:
            yield row(work, seed, name, "teacher", steps, work.guided(name, seed, at), at)
        for times, student in students(work, name, seed):
            whole = times is work.schedule
            for steps in FEW if whole else (times.T,):
                way = "one pass" if whole else "halved"
                yield row(work, seed, name, way, steps, student_of(student, times, at), at)
            for scale in (1, 3) if times.T == 4 else ():
                yield row(work, seed, name, "teacher", FEW[0], work.guided(name, seed, scale), scale)
                yield row(work, seed, name, "halved", 4, student_of(student, times, scale), scale)


def row(work: Work, seed: int, by: str, way: str, steps: int, denoise: Any, scale: int) -> Row:
    """One row of `distilled`."""
    return {"by": by, "way": way, "steps": steps, "scale": scale, **work.drawn(denoise, seed, steps=steps)}


def student_of(student: Told, times: Schedule, scale: float | Tensor) -> NetworkDenoiser:
    """A student at one scale, as a denoiser."""
    return NetworkDenoiser(student.at(scale), times, "v", clip=False, conditional=True)


def teacher_of(student: Told, times: Schedule) -> distil.Teacher:
    """A student, as the next one's teacher."""
    return lambda xt, t, y, s: student_of(student, times, s)(xt, t, y)


def exact_step(work: Work, seed: int) -> Iterator[Row]:
    """Two clouds on a line, in a few long steps: as a Gaussian about the exact mean, without noise, by draws from the
    exact posterior, and by a network that competed to draw from it. Held against the law of the data."""
    schedule, n = work.schedule, work.plan.draws
    world = mixture(torch.tensor([-1.0, 1.0]).double().reshape(2, 1, 1, 1), 0.05, schedule)
    start, middle = noise((n, 1, 1, 1), 2000 + seed), torch.zeros(n, 1, 1, 1)

    def law(x: Any) -> Any:
        return sum(ndtr((x - at) / 0.05**0.5) for at in (-1, 1)) / 2

    def drawn(times: Schedule) -> makers.Maker:
        return makers.Maker(makers.posterior(world, generator(seed, "posterior")), times, generator(seed, "z"))

    times, (maker, critic) = schedule.respace(4), (makers.Point(seeded(2, 1, 64)(seed + k)) for k in (0, 100))
    made = makers.compete(
        maker, critic, times, lambda r: world.sample(256, r)[0].float(), work.plan.training, seed, 3.0
    )
    few = (2, 4, 8, 16, 32)
    exact = {N: unconditional(replace(world, schedule=schedule.respace(N))) for N in few}
    ways: dict[tuple[str, int], Any] = {(way, N): exact[N] for way, N in product(("ddim", "ddpm"), few)}
    ways |= {("posterior", N): drawn(schedule.respace(N)) for N in few[:2]}
    ways["made", 4] = makers.Maker(made, times, generator(seed, "z"))
    for (way, N), denoise in ways.items():
        *_, step = (ddim if way == "ddim" else ddpm)(denoise, start, steps=None)
        row: Row = {"way": way, "steps": N, "ks": float(ks_1samp(step.x.flatten().numpy(), law).statistic)}
        if N == 4:  # where does the second step of four lead that begins half-way between the two?
            mean, spread = ancestral(times, 2, middle, denoise(middle, times.timesteps[2].expand(n)))
            end = mean + spread * noise(middle.shape, 3000 + seed) * (way != "ddim")
            row["between"] = float((end.abs() < 0.25).double().mean())
        yield row


def trilemma(work: Work, seed: int) -> Iterator[Row]:
    """Four steps on digits: with a denoiser, and with a generator that competed."""
    denoise, times = work.denoiser("x0", seed), work.schedule.respace(4)
    made = NetworkDenoiser(competed(work, times, seed), times, "x0", "small", clip=False)
    yield {"way": "ddim", "steps": 4, **work.drawn(denoise, seed, steps=4)}
    yield {"way": "ddpm", "steps": 4, **work.drawn(denoise, seed, ddpm, steps=4)}
    yield {"way": "made", "steps": 4, **work.drawn(made, seed, ddpm)}
    yield {"way": "ddim", "steps": 16, **work.drawn(denoise, seed, steps=16)}


def competed(work: Work, times: Schedule, seed: int) -> Made:
    """The generator of digits, a U-Net of xt and z."""

    def draw(random: torch.Generator) -> Tensor:
        return work.digits.x0(torch.randint(len(work.digits), (64,), generator=random))

    critic, maker = build(CRITIC, seed), build(MAKER, seed)
    return Made(MADE, makers.compete(maker, critic, times, draw, work.plan.training, seed, 0.05, 5e-4))


def progressive(work: Work, seed: int) -> Iterator[Row]:
    """What a network says, eps or x0, and an x0 that does in one step what took two."""
    for predicts, steps in product(("eps", "x0"), FEW):
        yield {"way": predicts, "steps": steps, **work.drawn(work.denoiser(predicts, seed), seed, steps=steps)}
    teacher: Any = work.denoiser("x0", seed)
    for steps in FEW[1:]:
        times = work.schedule.respace(2 * steps)
        objective = distil.Halved(lambda xt, t, y, s: teacher(xt, t), times, predicts="x0")
        half = distil.every_second(times)
        student = work.train(deepcopy(teacher.network).requires_grad_(), objective, 0.3, seed, schedule=half)
        yield {"way": "x0, halved", "steps": steps,
               **work.drawn(NetworkDenoiser(student, half, "x0"), seed, steps=None)}  # fmt: skip


def flows(work: Work, seed: int) -> Iterator[Row]:
    """Rectified flow, asked uniformly or more often in the middle, beside the usual schedule and target."""
    ways: dict[str, Any] = {"eps": work.denoiser("eps", seed), "x0": work.denoiser("x0", seed)}
    for way, objective in (("flow", flow.Flow()), ("flow, logit-normal", flow.Flow(logit_normal=True))):
        ways[way] = NetworkDenoiser(flowing(work, objective, seed), flow.straight())
    for (way, denoise), steps in product(ways.items(), (25, 10, 5)):
        yield {"way": way, "steps": steps, **work.drawn(denoise, seed, steps=steps)}


def flowing(work: Work, objective: flow.Flow, seed: int) -> Straight:
    """Rectified flow of digits."""
    network = work.train(build(UNET, seed), objective, seed=seed, schedule=flow.straight())
    return Straight(StraightConfig(**vars(UNET)), network)
