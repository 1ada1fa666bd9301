"""What six works make of the starting noise and of a guide, each against doing without it; see chapter 21.

A demonstration is (work, seed) -> rows, whose numbers are estimates. Where the answer is exact, in a Gaussian mixture,
it is asked there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rgd import measure
from rgd import schedule as schedules
from rgd.attacks import lengths, unit
from rgd.experiments.worlds import MLP, seeded, sphere
from rgd.guidance import classifier_free, grad_log_prob, guide, unconditional
from rgd.neighbours import ideas
from rgd.neighbours.counting import counting
from rgd.neighbours.ideas import flipped, turned
from rgd.neighbours.work import Row, Work
from rgd.randomness import NoiseStream, generator, noise
from rgd.samplers import ddim, ddpm

PAIRS = {"69": turned, "25": flipped, "47": turned, "35": turned}
CHOICES = 8  # starts of which one is chosen
GOLDEN = 32.0  # the scale of the one guided step
SURE = 0.9  # how sure a guide is when it stops


def anagrams(work: Work, seed: int) -> Iterator[Row]:
    """Two guides, one for each view: is the image read as ordered both ways round?"""
    plan = work.plan
    xT = noise((plan.few, *work.shape), 2000 + seed)
    for (pair, view), name in product(PAIRS.items(), plan.guides):
        first, second = map(int, pair)
        for by_norm, scale in ((False, plan.scale), (False, 2 * plan.scale), (True, plan.scale)):
            gradient = ideas.anagram(work.gradient(name), view, second, by_norm)
            images = work.draw(guide(work.plain, gradient, scale), xT, torch.full((plan.few,), first))
            up, down = work.read(images) == first, work.read(view(images)) == second
            found = {"both": measure.share(up & down), "one": measure.share(up ^ down)}
            yield {"pair": pair, "guide": name, "weights": "norm" if by_norm else "sum", "scale": scale, **found}


def best(work: Work, seed: int) -> Iterator[Row]:
    """The best of several starts, by what a classifier makes of them; and as many evaluations spent on steps."""
    plan, T = work.plan, work.plain.schedule.T
    starts = work.noise(seed, CHOICES).unflatten(0, (CHOICES, plan.images))
    ways: dict[tuple[str, str], Tensor] = {("none", "none"): starts[0]}
    for name, at in ((plan.clean, "x0"), *product(plan.guides[:2], ("noise", "x0"))):
        denoise, classifier = work.plain if at == "x0" else None, work.network(name)
        scores = torch.stack([ideas.promise(classifier, x, work.y, T, denoise) for x in starts])
        ways[name, at] = ideas.best_of(scores, starts)
    guided = guide(work.plain, work.gradient(plan.guides[1]), 1.0)
    for kind, denoise in (("unguided", work.plain), ("guided", guided)):
        chosen = {way: x for way, x in ways.items() if kind == "unguided" or way[1] != "x0"}
        more = {way: CHOICES if way[1] == "none" else 0 for way in chosen}  # as many evaluations for all
        seen = {way: work.see(denoise, xT, more[way]) for way, xT in chosen.items()}
        for (name, at), each in seen.items():
            row = {"sampling": kind, "by": name, "at": at, "norm": measure.mean(lengths(ways[name, at]))}
            yield {**row, **work.scores(each, seen["none", "none"])}


def exact_best(work: Work, seed: int) -> Iterator[Row]:
    """The same in a mixture of five classes, by the exact posterior: by a sampler without and with fresh noise."""
    world, n = sphere(schedules.linear(1000)).mixture, work.plan.draws
    shape, y = (n, *world.means.shape[1:]), torch.arange(n) % 5
    starts = torch.stack([NoiseStream(3000 + seed, k * n)(0, shape).double() for k in range(16)])
    scores = torch.stack([ideas.promise(world.classifier, x, y, 1000) for x in starts])
    for sampler, N in product((ddim, ddpm), (1, 2, 4, 8, 16)):
        *_, step = sampler(unconditional(world), ideas.best_of(scores[:N], starts[:N]), y, steps=50)
        right = world.logits(step.x, 0 * y).argmax(dim=1) == y
        yield {"sampler": sampler.__name__, "N": N, "ceiling": 1 - 0.8**N, "accuracy": measure.share(right)}


def shifts(work: Work, seed: int) -> Iterator[Row]:
    """Golden noise, and the mean of what it adds, class by class, learned on other noise and made of given lengths."""
    plan, xT, denoise = work.plan, work.noise(seed), work.plain
    to = int(denoise.schedule.respace(f"quadratic{plan.steps}").timesteps[-2])
    train = work.bench.images(plan.data).take(plan.reference)
    known = ideas.by_class(train.x0(), train.labels, 10)
    tables = {"class means": known - known.mean(dim=0)}
    other, y = noise((2 * plan.images, *work.shape), 4000 + seed), work.y.repeat(2)
    starts = {("none", 0.0): xT}
    for name in plan.guides[:2]:
        gradient = work.gradient(name)
        starts[name, 0.0] = ideas.golden(denoise, gradient, xT, work.y, GOLDEN, to)
        tables[name] = ideas.by_class(ideas.golden(denoise, gradient, other, y, GOLDEN, to) - other, y, 10)
    for name, length in product(tables, (4.0, 8.0)):
        starts[name, length] = xT + length * unit(tables[name])[work.y]
    seen = {way: work.see(denoise, x) for way, x in starts.items()}
    for (name, length), x in starts.items():
        row: Row = {"by": name, "length": length, "norm": measure.mean(lengths(x))}
        if name in tables:
            alike = F.cosine_similarity(tables[name].flatten(1), tables["class means"].flatten(1))
            row["cosine"] = measure.mean(alike)
        yield {**row, **work.scores(seen[name, length], seen["none", 0.0])}


def stopping(work: Work, seed: int) -> Iterator[Row]:
    """How many calls are left out if guidance stops for an image that the guide is sure of; and what that changes."""
    plan, xT = work.plan, work.noise(seed)
    for name in plan.guides[:2]:
        base = work.guided(work.gradient(name), xT)
        yield {"guide": name, "until": "", **work.scores(base)}
        gradient = ideas.Stopping(work.network(name), SURE)
        seen = work.guided(gradient, xT)
        saved = measure.mean(1 - gradient.asked.double() / plan.steps)
        yield {"guide": name, "until": f"{SURE}", "saved": saved, **work.scores(seen, base)}
    base = work.see(classifier_free(work.conditional, plan.free), xT)
    yield {"guide": "classifier-free", "until": "", **work.scores(base)}
    for of, alike in (("eps", 0.99), ("x0", 0.95), ("x0", 0.99)):
        denoise = ideas.Aligned(work.conditional, plan.free, alike, of)
        seen = work.see(denoise, xT)
        saved = measure.mean(1 - denoise.asked.double() / plan.steps)
        yield {"guide": "classifier-free", "until": f"{of}, {alike}", "saved": saved, **work.scores(seen, base)}


def ranges(work: Work, seed: int) -> Iterator[Row]:
    """A guide for each range of levels: the one whose gradient explains most there, and the two changed about."""
    plan, xT = work.plan, work.noise(seed)
    clean, _, robust, far = (work.gradient(name) for name in (plan.clean, *plan.guides))
    seen = {name: work.guided(work.gradient(name), xT) for name in plan.guides}
    for way, by_level in (("nearest", [(0, far), (300, robust)]), ("changed about", [(0, robust), (300, far)]),
                          ("clean below 100", [(0, clean), (100, robust)])):  # fmt: skip
        seen[way] = work.guided(ideas.experts(by_level), xT)
    for way, each in seen.items():
        yield {"by": way, **work.scores(each, seen[plan.guides[1]])}


def exact_ranges(work: Work, seed: int) -> Iterator[Row]:
    """In a mixture: five small experts, a fifth of the levels and of the training each, beside one network."""
    world = sphere(schedules.linear(1000)).mixture
    one = taught(world, 256, (0, 1000), work.plan.training, seed)
    five = [taught(world, 96, (low, low + 200), work.plan.training // 5, seed) for low in range(0, 1000, 200)]
    size = [sum(p.numel() for network in networks for p in network.parameters()) for networks in ([one], five)]
    by_level = ideas.experts([(200 * k, grad_log_prob(network)) for k, network in enumerate(five)])
    x0, y = world.sample(work.plan.draws, generator(seed, "points"))
    for level in range(50, 1000, 100):
        t = torch.full_like(y, level)
        xt = world.schedule.q_sample(x0, t, noise(x0.shape, 5000 + seed).double()).float()
        true = world.grad_log_prob(xt.double(), t, y).flatten(1)
        near = {way: F.cosine_similarity(g(xt, t, y).double().flatten(1), true)
                for way, g in (("one", grad_log_prob(one)), ("experts", by_level))}  # fmt: skip
        found = {way: measure.mean(each) for way, each in near.items()}
        yield {"t": level, **found, "more": measure.mean(near["experts"] - near["one"]), "parameters": size}


def taught(world: Any, width: int, stretch: tuple[int, int], steps: int, seed: int) -> MLP:
    """A classifier of a mixture's fresh draws at the levels of a stretch."""
    network, random = seeded(64, 5, width=width)(seed), generator(seed, "taught", *stretch)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(steps):
        x0, y = world.sample(128, random)
        t, eps = torch.randint(*stretch, y.shape, generator=random), torch.randn(x0.shape, generator=random)
        optimiser.zero_grad()
        F.cross_entropy(network(world.schedule.q_sample(x0.float(), t, eps), t), y).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def tokens(work: Work, seed: int) -> Iterator[Row]:
    """Ten class tokens learned from the null token, by a classifier alone; beside the model's own."""
    plan, xT, denoise = work.plan, work.noise(seed), work.conditional
    own, null = denoise.network.label_emb.weight.detach().split([10, 1])
    seen = {"own": work.see(denoise, xT), "null": work.see(unconditional(denoise), xT)}
    learned = {"own": own, "null": null.expand(10, -1)}
    for name in (plan.clean, *plan.guides[:2]):
        learned[name] = ideas.learn(denoise, work.network(name), learned["null"], (30, *work.shape), plan.rounds, seed)
        seen[name] = work.see(ideas.speaking(denoise, learned[name]), xT)
    for name, each in seen.items():
        way = learned[name] - null
        found = {} if name == "null" else {"cosine": measure.mean(F.cosine_similarity(way, own - null))}
        yield {"by": name, "moved": measure.mean(way.norm(dim=1)), **found, **work.scores(each, seen["own"])}


DEMONSTRATIONS: dict[str, Callable[[Work, int], Iterator[Row]]] = {
    f.__name__: f for f in (exact_best, exact_ranges, stopping, best, shifts, ranges, tokens, anagrams, counting)
}
