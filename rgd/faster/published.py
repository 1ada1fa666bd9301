"""What can be taken away from the published models, or put in their place; see chapter 22.

A demonstration is (work, seed) -> rows of numbers. Seconds are those of a hundred samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd import schedule as schedules
from rgd.adapters import Latents
from rgd.attacks import log_prob, unit
from rgd.data import Dataset
from rgd.denoiser import NetworkDenoiser
from rgd.faster import cheaper, makers
from rgd.faster.work import LATENT, Row, Work, farther, scores
from rgd.guidance import classifier_free, grad_log_prob, guide, unconditional
from rgd.networks import build
from rgd.randomness import generator, noise
from rgd.samplers import ddim, ddpm
from rgd.variants.networks import Autoencoder, AutoencoderConfig

GUIDED = 2.4  # the scale


def reused(work: Work, seed: int) -> Iterator[Row]:
    """The encoder asked in every second, third or fifth step; beside as much time spent on fewer steps."""
    gradient, base = grad_log_prob(work.model(work.plan.guides[0])), None
    ways: list[tuple[int, int]] = [(work.plan.steps, every) for every in (1, 2, 3, 5)]
    ways += [(max(2, round(work.plan.steps * share)), 1) for share in (0.8, 0.65, 0.5)]
    for steps, every in ways:
        denoise = unconditional(cheaper.Reused(work.published, every))
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
    n = min(256, work.plan.reference // 10)
    x0 = work.images.x0(torch.randint(len(work.images), (n,), generator=random))
    t = {
        "uniform": torch.randint(T, (n,), generator=random),
        "t = 0": torch.zeros(n).long(),
        "near the images": (0.4 * T + 0.2 * T * torch.randn(n, generator=random)).long().clamp(0, T - 1),
    }[way]
    return work.published.schedule.q_sample(x0, t, torch.randn(x0.shape, generator=random)), t


def bits(work: Work, seed: int) -> Iterator[Row]:
    """The published denoiser with numbers of 8 and of 6 bits, by what its ranges were calibrated on; nothing guides."""
    network, base = work.published.network, None
    ways = [(32, ""), *product((8, 6), CALIBRATIONS)]
    for width, way in ways:
        denoise = replace(work.published, network=of_bits(work, network, width, way, seed))
        seen = work.seen(work.sampled(unconditional(denoise), seed, steps=work.plan.steps)[0])
        base = base or seen
        found = {**scores(seen, work.train_images), "fd_more": farther(seen, base, work.train_images)}
        yield {"bits": width, "by": way, "bytes": weight(network, width), **found}


def of_bits(work: Work, network: Any, width: int, way: str, seed: int) -> Any:
    """A network of so many bits, calibrated in one of the ways; of 32, itself."""
    if width == 32:
        return network
    xt, t = calibration(work, way, seed)
    return cheaper.quantised(network, cheaper.ranges(network, zip(xt.split(64), t.split(64), strict=True)), width)


def weight(network: nn.Module, bits: int) -> int:
    """The bytes of a network whose layers' weights have so many bits, and all else 32."""
    small = sum(layer.weight.numel() for _, layer in cheaper.layers(network))
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
            small = of_bits(work, network, width, "uniform", seed)
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


def spaces(work: Work, seed: int) -> Iterator[Row]:
    """A table of the usual choices: pixels or latents, cosine or linear, DDIM or DDPM, guided without a classifier."""
    few = work.images.take(work.plan.latents)
    space = of_latents(coded(work, seed))
    again = scores(work.seen(space.images(space.of(few.take(work.plan.images)).images).clamp(-1, 1)), work.train_images)
    yield {"space": "reconstructed", "fd": again["fd"], "recall": again["recall"]}
    models: dict[str, Any] = {"pixels, linear": work.bench.model(work.plan.conditional).use()}
    codes = space.of(few)
    for name, schedule in (("linear", schedules.linear(1000)), ("cosine", schedules.cosine(1000))):
        models[f"latents, {name}"] = of_codes(work, codes, schedule, seed)
    for name, denoise in models.items():
        pixels = name.startswith("pixels")
        shape = work.images.shape if pixels else codes.shape
        free = classifier_free(denoise, 2.0)
        for way, sampler, own in (("DDIM", ddim, denoise), ("DDPM", ddpm, denoise), ("guided", ddim, free)):
            how: Row = dict(shape=shape, space=None if pixels else space, steps=work.plan.steps)
            images, seconds = work.sampled(own, seed, sampler, **how)
            yield {"space": name, "way": way, **scores(work.seen(images), work.train_images), "seconds": seconds}


def coded(work: Work, seed: int) -> Autoencoder:
    """An autoencoder of the published size, and the scale of its latents."""
    few = work.images.take(work.plan.latents)
    found = work.train(build(AutoencoderConfig(), seed), makers.Autoencoding(), 0.8, seed, few)
    found.config = replace(found.config, scale=1 / float(of_latents(found).of(few).images.std()))
    return found


def of_latents(autoencoder: Autoencoder) -> Latents:
    """Its latents."""
    return Latents(autoencoder.encode, autoencoder.decode, autoencoder.config.scale)


def of_codes(work: Work, codes: Dataset, schedule: schedules.Schedule, seed: int) -> NetworkDenoiser:
    """A denoiser of latents."""
    network = work.train(build(LATENT, seed), work.knowing, 0.6, seed, codes, schedule)
    return NetworkDenoiser(network, schedule, "v", clip=False, conditional=True)
