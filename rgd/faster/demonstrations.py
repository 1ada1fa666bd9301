"""What seven works make of the price of a sample, each against the plain way; see chapter 22.

A demonstration is (work, seed) -> rows of numbers, one seed's: what is trained is trained anew for each. Seconds are
those of a hundred samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import ndtr
from scipy.stats import ks_1samp
from torch import Tensor, nn

from rgd import schedule as schedules
from rgd.adapters import Latents
from rgd.attacks import log_prob, unit
from rgd.denoiser import NetworkDenoiser, Prediction
from rgd.experiments.worlds import seeded
from rgd.faster import ideas
from rgd.faster.work import CRITIC, LATENT, MAKER, TEACHERS, UNET, Row, Work, farther, fresh, scores
from rgd.guidance import classifier_free, grad_log_prob, guide, unconditional
from rgd.mixtures import mixture
from rgd.networks import build
from rgd.randomness import generator, noise
from rgd.samplers import ancestral, ddim, ddpm
from rgd.schedule import Schedule, per_image

FEW = (16, 8, 4, 2)  # steps
SCALES = {"free": 2, "vanilla": 4, "robust": 4}  # of guidance on digits
GUIDED = 2.4  # on the published models


def distilled(work: Work, seed: int) -> Iterator[Row]:
    """A guided teacher of two networks, the student that says the same in one pass, and its halvings."""
    unet: Any = work.conditional(seed).network
    for name in TEACHERS:
        teacher, at = work.guided(name, seed, 1.0), SCALES[name]

        def told(xt: Tensor, t: Tensor, y: Tensor, s: Tensor, teacher: Any = teacher) -> Prediction:
            weak, strong = teacher.both(xt, t, y)
            s = per_image(s, xt)
            x0, eps = weak.x0 + s * (strong.x0 - weak.x0), weak.eps + s * (strong.eps - weak.eps)
            return replace(strong, x0=x0, eps=eps)

        for steps in FEW:
            yield row(work, seed, name, "teacher", steps, work.guided(name, seed, at), at)
        student = work.train(ideas.Told(unet), ideas.Follow(told), 0.6, seed)
        times = work.schedule.respace(FEW[0])
        for steps in FEW:
            yield row(work, seed, name, "one pass", steps, student_of(student, work.schedule, at), at)
        while FEW[-1] < times.T:
            halved = ideas.Halved(teacher_of(student, times), times, most=4.0)
            times = ideas.every_second(times)
            student = work.train(student.requires_grad_(), halved, 0.3, seed, schedule=times)
            yield row(work, seed, name, "halved", times.T, student_of(student, times, at), at)
            if times.T == 4:
                for scale in (1, 3):
                    yield row(work, seed, name, "teacher", FEW[0], work.guided(name, seed, scale), scale)
                    yield row(work, seed, name, "halved", 4, student_of(student, times, scale), scale)


def row(work: Work, seed: int, by: str, way: str, steps: int, denoise: Any, scale: int) -> Row:
    """One row of `distilled`."""
    return {"by": by, "way": way, "steps": steps, "scale": scale, **work.drawn(denoise, seed, steps=steps)}


def student_of(student: ideas.Told, times: Schedule, scale: float | Tensor) -> NetworkDenoiser:
    """A student at one scale, as a denoiser."""
    return NetworkDenoiser(student.at(scale), times, "v", clip=False, conditional=True)


def teacher_of(student: ideas.Told, times: Schedule) -> ideas.Teacher:
    """A student, as the next one's teacher."""
    frozen = deepcopy(student)
    return lambda xt, t, y, s: student_of(frozen, times, s)(xt, t, y)


def exact_step(work: Work, seed: int) -> Iterator[Row]:
    """Two clouds on a line, in a few long steps: as a Gaussian about the exact mean, without noise, by draws from the
    exact posterior, and by a network that competed to draw from it. Held against the law of the data."""
    schedule, n = work.schedule, work.plan.draws
    world = mixture(torch.tensor([-1.0, 1.0]).double().reshape(2, 1, 1, 1), 0.05, schedule)
    start, middle = noise((n, 1, 1, 1), 2000 + seed), torch.zeros(n, 1, 1, 1)

    def law(x: Any) -> Any:
        return sum(ndtr((x - at) / 0.05**0.5) for at in (-1, 1)) / 2

    def drawn(times: Schedule) -> ideas.Drawn:
        return ideas.Drawn(ideas.posterior(world, generator(seed, "posterior")), times, generator(seed, "z"))

    times, (maker, critic) = schedule.respace(4), (ideas.Point(seeded(2, 1, 64)(seed + k)) for k in (0, 100))
    made = ideas.compete(maker, critic, times, lambda r: world.sample(256, r)[0].float(), work.plan.training, seed, 3.0)
    few = (2, 4, 8, 16, 32)
    exact = {N: unconditional(replace(world, schedule=schedule.respace(N))) for N in few}
    ways: dict[tuple[str, int], Any] = {(way, N): exact[N] for way, N in product(("ddim", "ddpm"), few)}
    ways |= {("posterior", N): drawn(schedule.respace(N)) for N in few[:2]}
    ways["made", 4] = ideas.Drawn(made, times, generator(seed, "z"))
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

    def draw(random: torch.Generator) -> Tensor:
        return work.digits.x0(torch.randint(len(work.digits), (64,), generator=random))

    made = ideas.compete(build(MAKER, seed), build(CRITIC, seed), times, draw, work.plan.training, seed, 0.05, 5e-4)
    yield {"way": "ddim", "steps": 4, **work.drawn(denoise, seed, steps=4)}
    yield {"way": "ddpm", "steps": 4, **work.drawn(denoise, seed, ddpm, steps=4)}
    yield {"way": "made", "steps": 4, **work.drawn(ideas.Drawn(made, times, generator(seed, "z")), seed, ddpm)}
    yield {"way": "ddim", "steps": 16, **work.drawn(denoise, seed, steps=16)}


def progressive(work: Work, seed: int) -> Iterator[Row]:
    """What a network says, eps or x0, and an x0 that does in one step what took two."""
    for predicts, steps in product(("eps", "x0"), FEW):
        yield {"way": predicts, "steps": steps, **work.drawn(work.denoiser(predicts, seed), seed, steps=steps)}
    teacher: Any = work.denoiser("x0", seed)
    for steps in FEW[1:]:
        times = work.schedule.respace(2 * steps)
        objective = ideas.Halved(lambda xt, t, y, s: teacher(xt, t), times, predicts="x0")
        half = ideas.every_second(times)
        student = work.train(deepcopy(teacher.network).requires_grad_(), objective, 0.3, seed, schedule=half)
        yield {
            "way": "x0, halved",
            "steps": steps,
            **work.drawn(NetworkDenoiser(student, half, "x0"), seed, steps=None),
        }


def flows(work: Work, seed: int) -> Iterator[Row]:
    """Rectified flow, asked uniformly or more often in the middle, beside the usual schedule and target."""
    path = ideas.straight()
    ways: dict[str, Any] = {"eps": work.denoiser("eps", seed), "x0": work.denoiser("x0", seed)}
    for way, objective in (("flow", ideas.Flow()), ("flow, logit-normal", ideas.Flow(logit_normal=True))):
        network = work.train(build(UNET, seed), objective, seed=seed, schedule=path)
        ways[way] = NetworkDenoiser(ideas.Straight(network), path)
    for (way, denoise), steps in product(ways.items(), (25, 10, 5)):
        yield {"way": way, "steps": steps, **work.drawn(denoise, seed, steps=steps)}


def reused(work: Work, seed: int) -> Iterator[Row]:
    """The encoder asked in every second, third or fifth step; beside as much time spent on fewer steps."""
    gradient, base = grad_log_prob(work.model(work.plan.guides[0])), None
    ways: list[tuple[int, int]] = [(work.plan.steps, every) for every in (1, 2, 3, 5)]
    ways += [(max(2, round(work.plan.steps * share)), 1) for share in (0.8, 0.65, 0.5)]
    for steps, every in ways:
        denoise = unconditional(ideas.Reused(work.published, every))
        images, seconds = work.sampled(guide(denoise, gradient, GUIDED), seed, steps=steps)
        _, alone = work.sampled(denoise, seed, steps=steps)
        seen = work.seen(images)
        base = base or seen
        more = farther(seen, base, work.train_images)
        yield {"steps": steps, "every": every, **scores(seen, work.train_images), "fd_more": more, "seconds": seconds,
               "unguided": alone}  # fmt: skip


def changes(work: Work, seed: int) -> Iterator[Row]:
    """From one step to the next, how much do the encoder's features change, and how much the decoder's?"""
    unet: Any = work.published.network
    before, kinds = dict[str, list[Tensor]](), ("encoder", "decoder")
    seen: dict[str, list[Tensor]] = {kind: [] for kind in kinds}

    def watch(kind: str) -> Any:
        return lambda *given: seen[kind].append(given[-1])

    blocks = {"encoder": [*unet.input_blocks, unet.middle_block], "decoder": unet.output_blocks}
    hooks = [block.register_forward_hook(watch(kind)) for kind in kinds for block in blocks[kind]]
    xT = noise((work.plan.images // 4, *work.images.shape), 1000 + seed)
    for step in ddim(unconditional(work.published), xT, steps=work.plan.steps):
        if before:
            yield {"t": step.t, **{kind: changed(before[kind], seen[kind]) for kind in kinds}}
        before = {kind: list(seen[kind]) for kind in kinds}
        for features in seen.values():
            features.clear()
    for hook in hooks:
        hook.remove()


def changed(before: list[Tensor], now: list[Tensor]) -> float:
    """The mean over blocks and images of ||now - before|| / ||before||."""
    parts = zip(before, now, strict=True)
    return float(torch.cat([(b - a).flatten(1).norm(dim=1) / a.flatten(1).norm(dim=1) for a, b in parts]).mean())


CALIBRATIONS = ("uniform", "t = 0", "near the images")


def calibration(work: Work, way: str, seed: int) -> tuple[Tensor, Tensor]:
    """Noised training images to calibrate on, and their times."""
    random, T = generator(seed, "calibration"), work.published.schedule.T
    x0 = work.images.x0(torch.randint(len(work.images), (256,), generator=random))
    t = {
        "uniform": torch.randint(T, (256,), generator=random),
        "t = 0": torch.zeros(256).long(),
        "near the images": (0.4 * T + 0.2 * T * torch.randn(256, generator=random)).long().clamp(0, T - 1),
    }[way]
    return work.published.schedule.q_sample(x0, t, torch.randn(x0.shape, generator=random)), t


def bits(work: Work, seed: int) -> Iterator[Row]:
    """The published denoiser with numbers of 8 and of 6 bits, by what its ranges were calibrated on; nothing guides."""
    network, base = work.published.network, None
    ways = [(32, ""), *product((8, 6), CALIBRATIONS)]
    for width, way in ways:
        known = network if width == 32 else ideas.quantised(network, ranges_of(work, network, way, seed), width)
        images, _ = work.sampled(unconditional(replace(work.published, network=known)), seed, steps=work.plan.steps)
        seen = work.seen(images)
        base = base or seen
        more = farther(seen, base, work.train_images)
        yield {
            "bits": width,
            "by": way,
            **scores(seen, work.train_images),
            "fd_more": more,
            "bytes": weight(network, width),
        }


def ranges_of(work: Work, network: nn.Module, way: str, seed: int) -> Any:
    """A network's ranges on a calibration."""
    xt, t = calibration(work, way, seed)
    return ideas.ranges(network, zip(xt.split(64), t.split(64), strict=True))


def weight(network: nn.Module, bits: int) -> int:
    """The bytes of a network whose layers' weights have so many bits, and all else 32."""
    small = sum(layer.weight.numel() for _, layer in ideas.layers(network))
    return int(small * bits // 8 + 4 * (sum(p.numel() for p in network.parameters()) - small))


def bits_of_a_guide(work: Work, seed: int) -> Iterator[Row]:
    """Published guides with fewer bits: what is left of the accuracy, of the gradient, and of what it does."""
    xt, t = calibration(work, "uniform", seed + 50)
    with torch.no_grad():
        y = work.model(work.plan.judge)(work.published(xt, t).x0).argmax(dim=1)
    for name in work.plan.guides:
        network, base = work.model(name), None
        true = grad_log_prob(network)(xt, t, y)
        for width in (32, 8, 6, 4):
            small = (
                network if width == 32 else ideas.quantised(network, ranges_of(work, network, "uniform", seed), width)
            )
            row: Row = {"guide": name, "bits": width, **gradient_of(small, network, xt, t, y, true)}
            denoise = guide(unconditional(work.published), grad_log_prob(small), GUIDED)
            seen = work.seen(work.sampled(denoise, seed, steps=work.plan.steps)[0])
            base = base or seen
            more = farther(seen, base, work.train_images)
            yield {**row, **scores(seen, work.train_images), "fd_more": more}


@torch.no_grad()
def gradient_of(small: Any, network: Any, xt: Tensor, t: Tensor, y: Tensor, true: Tensor) -> Row:
    """How often two classifiers agree; the cosine of what stands in for the small one's gradient with the true one of
    the other; and how much log p really rises along that, over a distance of 1, as a share of the other's rise."""
    along = unit(true)

    def rise(classifier: Any) -> Tensor:
        return log_prob(classifier(xt + along / 2, t), y) - log_prob(classifier(xt - along / 2, t), y)

    alike = (small(xt, t).argmax(dim=1) == network(xt, t).argmax(dim=1)).double().mean()
    cosine = F.cosine_similarity(grad_log_prob(small)(xt, t, y).flatten(1), true.flatten(1)).nanmean()
    return {"agrees": float(alike), "cosine": float(cosine), "rise": float(rise(small).mean() / rise(network).mean())}


def latents(work: Work, seed: int) -> Iterator[Row]:
    """A table of the usual choices: pixels or latents, cosine or linear, DDIM or DDPM, guided without a classifier."""
    few = work.images.take(work.plan.latents)
    autoencoder = work.train(fresh(ideas.Autoencoder, seed), ideas.Autoencoding(), 0.4, seed, few)
    raw = Latents(autoencoder.encode, autoencoder.decode)
    space = replace(raw, scale=1 / float(raw.of(few).images.std()))
    again = space.images(space.of(few.take(work.plan.images)).images).clamp(-1, 1)
    yield {"space": "reconstructed", **scores(work.seen(again), work.train_images)}
    spaces: dict[str, Any] = {"pixels, linear": work.bench.model(work.plan.conditional).use()}
    codes = space.of(few)
    for name, schedule in (("linear", schedules.linear(1000)), ("cosine", schedules.cosine(1000))):
        network = work.train(build(LATENT, seed), work.knowing, 0.6, seed, codes, schedule)
        spaces[f"latents, {name}"] = NetworkDenoiser(network, schedule, "v", clip=False, conditional=True)
    for name, denoise in spaces.items():
        pixels = name.startswith("pixels")
        shape = work.images.shape if pixels else codes.shape
        free = classifier_free(denoise, 2.0)
        for way, sampler, own in (("DDIM", ddim, denoise), ("DDPM", ddpm, denoise), ("guided", ddim, free)):
            how: Row = dict(shape=shape, space=None if pixels else space, steps=work.plan.steps)
            images, seconds = work.sampled(own, seed, sampler, **how)
            yield {"space": name, "way": way, **scores(work.seen(images), work.train_images), "seconds": seconds}


DEMONSTRATIONS: dict[str, Callable[[Work, int], Iterator[Row]]] = {
    f.__name__: f
    for f in (exact_step, bits, bits_of_a_guide, reused, changes, progressive, flows, trilemma, distilled, latents)
}
