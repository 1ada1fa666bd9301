"""What a survey asks: which methods, of which classes, how many pairs; its images, and the key that a page lacks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rgd import identity
from rgd.data import same_classes
from rgd.denoiser import Denoiser
from rgd.errors import RgdError, at_least, require
from rgd.guidance import classifier_free, grad_log_prob, guide
from rgd.lab import registry
from rgd.lab.checks import need
from rgd.lab.origin import provenance
from rgd.layers import image_shape
from rgd.measure.features import quantise
from rgd.randomness import NoiseStream, generator
from rgd.samplers import dpm_solver, sample
from rgd.training.checkpoints import Model

SPOILED = -1  # in a pair, instead of a method: the other image with noise added


@dataclass(frozen=True)
class Method:
    """A way to make images: guided by a model at a scale, or, without one, by the denoiser itself if it can."""

    guide: str | None
    scale: float = 1.0

    @property
    def name(self) -> str:
        """E.g. "robust, scale 4"."""
        return f"{(self.guide or 'none').rpartition('/')[2]}, scale {self.scale:g}"

    @classmethod
    def parse(cls, text: str, denoiser: str) -> Method:
        """Of "robust:4", "mnist/robust:4" or "none:1"; a guide without a folder is in the denoiser's.

        Raises:
            RgdError: for anything else.
        """
        guide, _, scale = text.rpartition(":")
        try:
            strength = float(scale)
        except ValueError:
            strength = math.nan
        need(bool(guide) and math.isfinite(strength), f"a method is GUIDE:SCALE, such as robust:4, not {text!r}")
        folder = "" if "/" in guide else denoiser.rpartition("/")[0] + "/"
        return cls(None if guide == "none" else folder + guide, strength)


@dataclass(frozen=True)
class Survey:
    """All that is decided before anybody is asked. Every two methods are compared, from the same noise and class.

    Args:
        methods: at least two.
        denoiser: a published model, or one that was made here, as guides are.
        classes: the labels asked for; all if empty.
        each: pairs for each class and each two methods.
        checks: pairs that check attention, one image of which is plainly spoiled.
        missed: who fails more checks than these does not count.
        seed: of everything.
        steps: of the sampler DPM-Solver++(2M).
        title, question: what is written above all, and above each pair; {} is the class.
        consent: who asks, for what, and whom to turn to. What is shown and stored the page says by itself.
        address: where answers are posted to; if empty, raters are given a file.
    """

    methods: tuple[Method, ...]
    denoiser: str = "mnist/ddpm"
    classes: tuple[int, ...] = ()
    each: int = 2
    checks: int = 4
    missed: int = 0
    seed: int = 0
    steps: int | str = "quadratic15"
    title: str = "Which image is better?"
    question: str = "Which is the better picture of {}?"
    consent: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        at_least(self, each=1, checks=0, missed=0)
        names = [method.name for method in self.methods]
        require(len(names) >= 2 and len({*names}) == len(names), "methods", names, "at least two, of different names")
        web = self.address.startswith(("https://", "http://")) and " " not in self.address
        require(web or not self.address, "address", self.address, "one of the web, or empty")


@dataclass(frozen=True)
class Pair:
    """Two images of one class: `start` numbers noise and class, `first` and `second` are methods, or SPOILED."""

    start: int
    label: int
    first: int
    second: int

    @property
    def clean(self) -> Literal[0, 1] | None:
        """Of a check, which image is not the spoiled one; None of a pair that is no check."""
        return 0 if self.second == SPOILED else 1 if self.first == SPOILED else None


@dataclass(frozen=True)
class Key:
    """What the page does not say: which method made which image. `pixels` is the images' hash, `made` their origin."""

    survey: Survey
    classes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    pixels: str
    made: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What this survey is: questions, rules, pairs and pixels. Every answer carries it, so that none of these can
        be decided afterwards."""
        decided = {"survey": asdict(self.survey), "pairs": [asdict(pair) for pair in self.pairs]}
        return identity.key({**decided, "classes": self.classes, "pixels": self.pixels})

    def named(self, method: int) -> str:
        """A method's name."""
        return self.survey.methods[method].name

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, and the digest."""
        return {"digest": self.digest, **asdict(self)}

    @classmethod
    def read(cls, path: Path) -> Key:
        """The key beside a survey's page; either file may be named.

        Raises:
            RgdError: if there is none, or it was changed since it was made.
        """
        path = path.with_suffix(".json")
        try:
            told = json.loads(path.read_text())
            asked = {name: told["survey"][name] for name in (field.name for field in fields(Survey))}
            asked |= {"methods": tuple(Method(**method) for method in asked["methods"])}
            survey = Survey(**asked | {"classes": tuple(asked["classes"])})
            pairs = tuple(Pair(**pair) for pair in told["pairs"])
            key = cls(survey, tuple(told["classes"]), pairs, told["pixels"], told["made"])
        except FileNotFoundError as error:
            raise RgdError(f"there is no {path}, the key that `rgd survey make` wrote beside the page") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RgdError(f"{path} is no key of a survey ({error}): take the one beside the page") from error
        need(key.digest == told["digest"], f"{path} was changed after the survey was made: take the key as it was")
        return key


@dataclass(frozen=True, eq=False)
class Drawn:
    """A survey with its images, uint8: of each pair the first and the second, (pairs, 2, C, H, W)."""

    key: Key
    images: Tensor


def pairs_of(survey: Survey, classes: int) -> tuple[Pair, ...]:
    """The pairs in an order drawn by lot, checks among them. Which method of two comes first is the same in all their
    pairs, and drawn by lot too: a page that balances sides need not know the methods."""
    random = generator(survey.seed, "survey")
    labels = list(survey.classes or range(classes)) * survey.each
    pairs = []
    for two in combinations(range(len(survey.methods)), 2):
        first, second = (two[k] for k in torch.randperm(2, generator=random).tolist())
        pairs += [Pair(start, label, first, second) for start, label in enumerate(labels)]
    for k in range(survey.checks):
        two = (k % len(survey.methods), SPOILED)
        first, second = (two[i] for i in torch.randperm(2, generator=random).tolist())
        pairs.append(Pair(len(labels) + k, labels[k % len(labels)], first, second))
    return tuple(pairs[k] for k in torch.randperm(len(pairs), generator=random).tolist())


def steered(method: Method, model: Model) -> tuple[Denoiser, nn.Module | None]:
    """The denoiser of a model as a method guides it, and the guide. RgdError where this method cannot guide it."""
    denoise: Any = model.use()
    if method.guide is not None:
        found = registry.find(method.guide)
        need(found.role == "classifier", f"{method.guide} is no time-dependent classifier: name another")
        same_classes(found.classes, model.classes, method.guide, "the denoiser")
        return guide(denoise, grad_log_prob(found.network), method.scale), found.network
    itself = denoise.conditional and model.network.config.null_label
    need(itself or method.scale == 1, f"{method.name}: the denoiser cannot guide itself; name a classifier, or none:1")
    return (classifier_free(denoise, method.scale) if itself else denoise), None


def draw(survey: Survey) -> Drawn:
    """The survey's images: each method sampled once, all from the same noise.

    Raises:
        RgdError: for models that are not there or do not fit, or a class that the denoiser does not have.
    """
    model = registry.find(survey.denoiser)
    need(model.role == "denoiser", f"{survey.denoiser} is no denoiser: name another")
    known, config = len(model.classes), model.network.config
    wrong = [label for label in survey.classes if not 0 <= label < known]
    need(not wrong, f"{survey.denoiser} knows the classes 0 to {known - 1}, not {wrong}")
    pairs = pairs_of(survey, known)
    label_of = {pair.start: pair.label for pair in pairs}
    y = torch.tensor([label_of[start] for start in range(len(label_of))])
    weights, drawn = {survey.denoiser: identity.weights_digest(model.network)}, []
    for method in survey.methods:
        denoise, guiding = steered(method, model)
        weights |= {} if guiding is None else {str(method.guide): identity.weights_digest(guiding)}
        options: Any = {"sampler": dpm_solver, "steps": survey.steps, "seed": survey.seed, "progress": method.name}
        drawn.append(sample(denoise, (len(y), *image_shape(config)), y, **options))
    by_method = torch.stack(drawn)
    need(bool(by_method.isfinite().all()), "some images have NaN or infinite pixels: take smaller scales")
    shown = [(pair, method) for pair in pairs for method in (pair.first, pair.second)]
    images = torch.stack([_image(pair, method, by_method, survey.seed) for pair, method in shown])
    images = quantise(images.clamp(-1, 1)).unflatten(0, (-1, 2))
    pixels = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    return Drawn(Key(survey, tuple(model.classes), pairs, pixels, {"weights": weights, **provenance()}), images)


def _image(pair: Pair, method: int, by_method: Tensor, seed: int) -> Tensor:
    """One image of a pair, (C, H, W), from all of them (methods, starts, C, H, W)."""
    if method != SPOILED:
        return by_method[method, pair.start]
    clean = by_method[max(pair.first, pair.second), pair.start]
    return clean.clamp(-1, 1) + NoiseStream(seed, pair.start)(1, (1, *clean.shape))[0]  # draw 0 was its x_T
