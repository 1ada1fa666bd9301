"""The small models that no recipe makes: most of them chapters 21 and 22 train, and they are those of seed 0.

`python -m tools.parts` makes them all, in `runs/NAME/model.safetensors`, in some minutes; or those that are named.
From there `tools.publish` takes them, as it takes what `rgd train` makes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from rgd import measure, recipes
from rgd.attacks import L2, PGD, unit
from rgd.data import Dataset
from rgd.experiments import read
from rgd.faster import flow, published, trained
from rgd.faster.makers import Autoencoding
from rgd.faster.work import Work, labels
from rgd.guidance import classifier_free
from rgd.lab import datasets, registry
from rgd.lab.origin import provenance
from rgd.neighbours import ideas
from rgd.neighbours.counting import OBJECTIVES, canvases, counter
from rgd.neighbours.demonstrations import GOLDEN
from rgd.neighbours.work import Work as Noise
from rgd.networks import build
from rgd.randomness import noise
from rgd.samplers import ddim, ddpm, sample
from rgd.schedule import Schedule, cosine, linear
from rgd.training import Training, fit
from rgd.training.checkpoints import Model
from rgd.training.objectives import Denoising, NoisyCrossEntropy, RobustCrossEntropy
from rgd.variants.networks import Table, TableConfig

HELD_OUT = 100  # the seed of canvases on which no counter was trained
DISCERNED = 300  # t below which made digits can be told from real ones
DISCERNING: dict[str, Any] = {"vanilla": NoisyCrossEntropy(), "robust": RobustCrossEntropy(PGD(L2(0.5), steps=3))}
LENGTH = 4.0  # of a shift of the noise, when its samples are scored


@dataclass(frozen=True)
class Part:
    """One of them.

    Attributes:
        about: a sentence for its card.
        make: the model.
        test: images on which it was not trained.
    """

    about: str
    make: Callable[[], Model]
    test: Callable[[], Dataset]


def made(
    network: Any, data: Dataset, objective: str, steps: int, began: float, batch_size: int = 64, **more: Any
) -> dict[str, Any]:
    """Where a model came from, as `rgd train` would say it; `of` names the models that it was made of, if there are."""
    training = {"steps": steps, "batch_size": batch_size}
    how = {"network": asdict(network.config), "objective": objective, "training": training}
    hours = round((time.perf_counter() - began) / 3600, 4)
    told = {"made_from": {"recipe": how, "data": data.digest}, "data": data.name, "seed": 0, "hours": hours}
    return {**told, "images_seen": batch_size * steps, **more, **provenance()}


def judged(found: measure.Features, real: measure.Features, ordered: bool = True) -> dict[str, Any]:
    """What a chapter's judge sees in samples, for a card; where nobody ordered a class, no accuracy."""
    metrics = [*["accuracy"] * ordered, "fd", "recall"]
    return {name: measure.estimate(name, found, real).to_json() for name in metrics}


@cache
def faster() -> Work:
    """What chapter 22's experiment works on."""
    bench: Any = SimpleNamespace(images=datasets.load, model=partial(registry.model, device="cpu"))
    return Work(read("fewer"), bench)


@cache
def digits() -> Work:
    """The same, of digits alone."""
    bench: Any = SimpleNamespace(images=datasets.load)
    return Work(replace(read("fewer"), data="digits"), bench)


@cache
def noisy() -> Noise:
    """What chapter 21's experiment works on."""
    bench: Any = SimpleNamespace(images=datasets.load, model=partial(registry.model, device="cpu"))
    return Noise(read("noise"), bench)


def count(name: str) -> Model:
    """A counter of dots, as in chapter 21's experiment."""
    began, steps, data = time.perf_counter(), read("noise").training, canvases(4000, 0)
    network: Any = counter(OBJECTIVES[name], steps, 0, data, linear(1000))
    about = made(network, data, repr(OBJECTIVES[name]), steps, began)
    return Model(network, linear(1000), {}, data.classes, about)


@cache
def students() -> dict[int, Model]:
    """By their steps, those of digits guided by the robust classifier, as in chapter 22's experiment."""
    began, work, found = time.perf_counter(), digits(), dict[int, Model]()
    denoising = {"predicts": "v", "variance": "large", "clip": False}
    steps = 1.5 * work.plan.training  # of the denoiser and its guide
    for halvings, (times, student) in enumerate(trained.students(work, "robust", 0)):
        steps += (0.3 if halvings else 0.6) * work.plan.training
        objective = f"Follow, of a Denoising guided by a RobustCrossEntropy; then {halvings} times Halved"
        about = made(student, work.digits, objective, round(steps), began)
        model = Model(student, times, denoising, work.digits.classes, about)
        found[times.T] = seen(model, work, ddim, min(16, times.T))
    return found


def seen(model: Model, work: Work, sampler: Any, steps: int | None) -> Model:
    """A model of digits, with what the chapter's judge sees in what it draws."""
    xT = noise((work.plan.digits, *work.digits.shape), 1000)
    *_, step = sampler(model.use(), xT, labels(xT), steps=steps)
    found = measure.extract(step.x.clamp(-1, 1), work.judge, labels=labels(xT))
    return replace(model, provenance={**model.provenance, "samples": judged(found, work.real, model.use().conditional)})


def maker() -> Model:
    """The generator of digits in four long steps."""
    began, work = time.perf_counter(), digits()
    times = work.schedule.respace(4)
    network = trained.competed(work, times, 0)
    about = made(network, work.digits, "against a critic of a step's two ends", work.plan.training, began)
    denoising = {"predicts": "x0", "variance": "small", "clip": False}
    return seen(Model(network, times, denoising, work.digits.classes, about), work, ddpm, None)


def flowing() -> Model:
    """Rectified flow of digits, asked more often in the middle."""
    began, work, objective = time.perf_counter(), digits(), flow.Flow(logit_normal=True)
    network = trained.flowing(work, objective, 0)
    about = made(network, work.digits, repr(objective), work.plan.training, began)
    return seen(Model(network, flow.straight(), {"predicts": "eps"}, work.digits.classes, about), work, ddim, 25)


@cache
def kinds(n: int, seed: int, split: str) -> Dataset:
    """So many digits that `mnist/ddpm` makes in 15 steps of DDIM, class 0, and as many real ones, class 1: the last of
    their set, for distances are measured to the first."""
    real, denoise = datasets.load("mnist", split), registry.load("mnist/ddpm", "cpu")
    x = sample(denoise, (n, *real.shape), steps=15, seed=seed)
    images = torch.cat([((x.clamp(-1, 1) + 1) * 127.5).round().byte(), real.images[-n:]])
    return Dataset(images, torch.arange(2).repeat_interleave(n), ("made", "real"), "mnist, made and real")


def discriminator(name: str) -> Model:
    """Of digits that `mnist/ddpm` makes and real ones, noised to t below `DISCERNED`.

    It begins as the classifier of its name, but for its last layer. Its two classes are not those of digits, so it
    names none.
    """
    began, steps, size, data = time.perf_counter(), 600, 128, kinds(6000, 5000, "train")
    network: Any = build(replace(recipes.read("mnist/vanilla").network, out_channels=2), 0)
    first = registry.model(f"mnist/{name}", "cpu").network.state_dict()
    network.load_state_dict({k: v for k, v in first.items() if v.shape == network.state_dict()[k].shape}, strict=False)
    low = Schedule(linear(1000).alpha_bar[:DISCERNED])
    *_, last = fit(network, DISCERNING[name], data, low, Training(steps, size, lr=5e-4, warmup=50))
    objective = f"{DISCERNING[name]!r}, t below {DISCERNED}"
    about = made(last.network, data, objective, steps, began, size, of=["mnist/ddpm", f"mnist/{name}"])
    return Model(last.network.eval(), linear(1000), {}, (), about)


@cache
def autoencoder() -> Model:
    """Of MNIST."""
    began, work = time.perf_counter(), faster()
    network, few = published.coded(work, 0), work.images.take(work.plan.latents)
    about = made(network, few, repr(Autoencoding()), round(0.8 * work.plan.training), began)
    return Model(network, None, {}, work.images.classes, about)


def latent() -> Model:
    """A denoiser of its latents, on the cosine schedule."""
    first = autoencoder()
    began, work, space = time.perf_counter(), faster(), published.of_latents(first.use())
    few, schedule = work.images.take(work.plan.latents), cosine(1000)
    codes = space.of(few)
    denoise = published.of_codes(work, codes, schedule, 0)
    free = classifier_free(denoise, 2.0)
    images, _ = work.sampled(free, 0, ddim, shape=codes.shape, space=space, steps=work.plan.steps)
    objective = repr(Denoising("v", conditional=True, label_dropout=0.2))
    about = made(denoise.network, codes, objective, round(0.6 * work.plan.training), began, of=["latents/autoencoder"])
    about["samples"] = judged(work.seen(images), work.train_images)
    return Model.of(denoise, codes.classes, **about)


def tokens(name: str) -> Model:
    """Ten class tokens, learned from the null token by a classifier alone."""
    began, work = time.perf_counter(), noisy()
    denoise, plan = work.conditional, work.plan
    null = denoise.network.label_emb.weight.detach()[10:].expand(10, -1)
    values = ideas.learn(denoise, work.network(f"mnist/{name}"), null, (30, *work.shape), plan.rounds, 0)
    found = work.see(ideas.speaking(denoise, values), work.noise(0))
    return table(
        values, "the cross-entropy of x0_hat", (plan.rounds, 30), began, found, [plan.conditional, f"mnist/{name}"]
    )


def golden(name: str) -> Model:
    """What golden noise adds, the mean of each class, on noise of its own."""
    began, work = time.perf_counter(), noisy()
    plan, denoise, gradient = work.plan, work.plain, work.gradient(f"mnist/{name}")
    to = int(denoise.schedule.respace(f"quadratic{plan.steps}").timesteps[-2])
    other, y = noise((2 * plan.images, *work.shape), 4000), work.y.repeat(2)
    values = ideas.by_class(ideas.golden(denoise, gradient, other, y, GOLDEN, to) - other, y, 10)
    found = work.see(denoise, work.noise(0) + LENGTH * unit(values)[work.y])
    how = f"the mean of golden noise, guided at {GOLDEN:g}, less the noise"
    return table(values, how, (1, len(y)), began, found, [plan.denoiser, f"mnist/{name}"])


def table(
    values: Tensor, objective: str, seen: tuple[int, int], began: float, found: measure.Features, of: list[str]
) -> Model:
    """A table of MNIST's classes, made of other models in so many rounds of so many images."""
    work, network = noisy(), Table(TableConfig(len(values), tuple(values.shape[1:])))
    network.load_state_dict({"values": values})
    data, samples = work.bench.images(work.plan.data), judged(found, work.real)
    about = made(network, data, objective, seen[0], began, seen[1], of=of, samples=samples)
    return Model(network.eval(), None, {}, data.classes, about)


def _digits() -> Dataset:
    return datasets.load("digits", "test")


def _mnist() -> Dataset:
    return datasets.load("mnist", "test")


def _student(steps: int) -> Part:
    about = (
        f"Draws digits of 8x8 pixels in {steps} steps of one network, guided at any scale from 0 to 4, and 4 if none "
        "is said: the student of a class-conditional denoiser that a robust classifier guides (chapter 22)."
    )
    return Part(about, lambda: students()[steps], _digits)


def _counter(name: str) -> Part:
    how = {"vanilla": "noised", "robust": "attacked and noised"}[name]
    about = f"Counts the dots of a canvas of 16x16 pixels, one to five; it learned on {how} canvases (chapter 21)."
    return Part(about, lambda: count(name), lambda: canvases(2000, HELD_OUT))


def _codes() -> Dataset:
    """Latents of MNIST's test images, as the published autoencoder has them."""
    space = published.of_latents(registry.load("latents/autoencoder", "cpu"))
    return space.of(_mnist().take(2000))


def _tables(name: str) -> dict[str, Part]:
    """What chapter 21 learns from a classifier for each class."""
    guide = f"the {name} classifier"
    told = f"Ten class tokens for `mnist/conditional`, learned by {guide} from the null token, without an image"
    added = f"What golden noise by {guide} adds to the starting noise of `mnist/ddpm`, the mean of each class"
    return {
        f"mnist/tokens_{name}": Part(f"{told} (chapter 21).", lambda: tokens(name), _mnist),
        f"mnist/golden_{name}": Part(f"{added} (chapter 21); its samples began {LENGTH:g} along its direction.",
                                     lambda: golden(name), _mnist),
    }  # fmt: skip


def _discriminator(name: str) -> Part:
    how = {"vanilla": "noised", "robust": "attacked and noised"}[name]
    about = (
        f"Tells digits that `mnist/ddpm` makes in 15 steps (0) from real ones (1), {how}, at t below {DISCERNED}: for "
        "`rgd.grad_log_ratio`."
    )
    return Part(about, lambda: discriminator(name), lambda: kinds(1000, 6000, "test"))


PARTS = {f"dots/{name}": _counter(name) for name in OBJECTIVES}
PARTS |= {f"real/{name}": _discriminator(name) for name in DISCERNING}
PARTS |= {f"digits/student_{steps}": _student(steps) for steps in (4, 2)}
PARTS["digits/maker"] = Part(
    "Draws digits of 8x8 pixels in four long steps of DDPM: a generator that answers with one possible image and not "
    "with their mean, trained against a critic (chapter 22).",
    maker, _digits,
)  # fmt: skip
PARTS["digits/flow"] = Part(
    "Rectified flow of digits of 8x8 pixels, as a denoiser on the schedule of its straight path, trained at times that "
    "are logit-normal (chapter 22); its samples took 25 steps.",
    flowing, _digits,
)  # fmt: skip
PARTS["latents/autoencoder"] = Part(
    "MNIST to latents (4, 7, 7) and back; its configuration knows the scale of its latents (chapter 22).",
    autoencoder, _mnist,
)  # fmt: skip
PARTS["latents/denoiser"] = Part(
    "Knows the classes of MNIST as latents of `latents/autoencoder`, on the cosine schedule (chapter 22); its samples "
    "took 25 steps, guided without a classifier at scale 2.",
    latent, _codes,
)  # fmt: skip
for _name in ("vanilla", "robust"):
    PARTS |= _tables(_name)


def main(names: Annotated[tuple[str, ...], tyro.conf.Positional] = tuple(PARTS), runs: Path = Path("runs")) -> None:
    """Make them.

    Args:
        names: which.
        runs: where.
    """
    torch.set_num_threads(1)  # as in the experiments: more of them round otherwise, of which a generator makes much
    for name in names:
        model = PARTS[name].make()
        model = replace(model, provenance={"recipe": name, **model.provenance})
        model.save(runs / name / "model.safetensors")
        print(f"{name}: {sum(p.numel() for p in model.network.parameters()):,} parameters")


if __name__ == "__main__":
    tyro.cli(main)
