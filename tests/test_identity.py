"""Identities: every field of every setting matters, equal things are equal in any process, the rest is refused."""

from __future__ import annotations

import copy
import functools
import importlib
import itertools
import math
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rgd
from rgd.adapters import Latents, Sees
from rgd.adapters.denoisers import DiffusersConfig
from rgd.attacks import L2, PGD, Linf, NoiseRadius
from rgd.denoiser import NetworkDenoiser
from rgd.editing.experiment import Editing
from rgd.errors import IdentityError
from rgd.experiments.comparison import Comparison, Drawn, Entry
from rgd.experiments.matching import Matching
from rgd.experiments.rivals import Rival
from rgd.experiments.study import Study
from rgd.experiments.tangents import Tangents
from rgd.experiments.tempering import Tempering
from rgd.experiments.truth import Truth
from rgd.faster.experiment import FewerSteps
from rgd.faster.flow import Flow
from rgd.faster.makers import Autoencoding
from rgd.identity import architecture, differences, identity, key
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.methods.steering import Annealed
from rgd.neighbours.noise import NoiseDecides
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.scale.cost import Accelerator
from rgd.scale.paper import File, Paper, Row
from rgd.schedule import Schedule, cosine, linear
from rgd.training import Training
from rgd.training.checkpoints import Model
from rgd.training.objectives import (
    CleanCrossEntropy,
    Denoising,
    FreeCrossEntropy,
    NoisyCrossEntropy,
    RobustCrossEntropy,
)
from rgd.variants.networks import AutoencoderConfig, MadeConfig, StraightConfig, TableConfig, ToldConfig

ENCODER = EncoderConfig(
    image_size=8, in_channels=1, out_channels=3, model_channels=32, num_res_blocks=1, channel_mult=(1,),
    attention_resolutions=(), num_head_channels=32,
)  # fmt: skip
UNET = UNetConfig(
    image_size=8, in_channels=1, out_channels=1, num_classes=3, model_channels=32, num_res_blocks=1, channel_mult=(1,),
    attention_resolutions=(), num_head_channels=32,
)  # fmt: skip
OF_UNETS = [ToldConfig(**vars(UNET), scale=2.0), MadeConfig(**vars(UNET)), StraightConfig(**vars(UNET))]
JUDGE = JudgeConfig(image_size=8, in_channels=1, out_channels=3, width=4)
ENTRY = Entry("a", "t/ddpm", "classifier", "t/a", (1.0, 2.0), (0, 500))
DRAWN = Drawn("a", "t/ddpm", "classifier", "t/a", (1.0, 2.0), (0, 500))
RIVAL = Rival("a", "t/ddpm", "classifier", "t/a", (1.0, 2.0), (0, 500))
FILE, ANOTHER = (File(Path("a.pt"), digest) for digest in ("aa", "bb"))
THINGS: list[Any] = [
    FILE, Row("a", FILE, 1.0), Paper(FILE, (Row("a", FILE, 1.0),), FILE, FILE), Accelerator("a", 1.0, 1.0, "here"),
    L2(0.5), Linf(0.5), NoiseRadius(linear(10), 1.0, 2.0), PGD(L2(0.5)), Denoising(conditional=True),
    NoisyCrossEntropy(),
    RobustCrossEntropy(PGD(L2(0.5))), FreeCrossEntropy(L2(0.5)), CleanCrossEntropy(), Training(10), linear(10),
    ENCODER, UNET, *OF_UNETS, AutoencoderConfig(), TableConfig(10, (3,)), JUDGE,
    ENTRY, DRAWN, RIVAL, Comparison("digits", "t/judge", (ENTRY,)),
    Study("digits", "t/judge", "t/ddpm", (("t/a", None),)), Matching("digits", ("t/ddpm",), ("t/a", "t/b"), "t/a"),
    Tangents("digits", "t/ddpm", ("t/a", "t/b"), "t/a"), Truth(), Annealed(4.0),
    Tempering("digits", "t/judge", "t/ddpm", ("t/a",)), Editing("digits", "t/judge", "t/ddpm", ("t/a",)),
    NoiseDecides("digits", "t/judge", "t/ddpm", "t/conditional", ("t/a", "t/b", "t/c"), "t/clean"), Sees(),
    FewerSteps("digits", "t/judge", "t/ddpm", "t/conditional", ("t/a",)), Flow(), Autoencoding(),
    Latents(torch.relu, torch.abs),
    DiffusersConfig("{}"),
    NetworkDenoiser(build(UNET), linear(10)),
    Recipe("mine/a", "digits", ENCODER, NoisyCrossEntropy(), Training(10), streams=True),
    rgd.NoiseStream(1, 2),
    Model(build(ENCODER), linear(10), {}, ("a", "b", "c")),
]  # fmt: skip
# Another value of a field, where one more of the same type would not do.
OTHERS: dict[str, Any] = {
    "EncoderConfig.dropout": 0.5,
    "UNetConfig.dropout": 0.5,
    "Comparison.entries": (replace(ENTRY, kind="at x0"),),
    "Comparison.headline_seeds": (8, 9),
    "Comparison.pairs": (("a", "a"),),
    "Comparison.reference": 7,
    "Comparison.seed": 9,
    "Matching.reference": "t/b",
    "Tangents.reference": "t/b",
    "Denoising.conditional": False,
    "Drawn.sampler": "dpm_solver",
    "Denoising.label_dropout": 0.5,
    "Denoising.predicts": "x0",
    "CleanCrossEntropy.label_smoothing": 0.5,
    "EncoderConfig.pool": "attention",
    "Entry.guide": "t/c",
    "Entry.interval": (0, 400),
    "Entry.kind": "at x0",
    "Entry.most": 2.0,
    "FreeCrossEntropy.threat": Linf(0.5),
    "Matching.classifiers": ("t/a", "t/c"),
    "Model.network": build(ENCODER, 1),
    "Model.schedule": cosine(10),
    "NetworkDenoiser.network": build(UNET, 1),
    "NetworkDenoiser.predicts": "x0",
    "NetworkDenoiser.schedule": cosine(10),
    "NetworkDenoiser.variance": "small",
    "NoiseRadius.schedule": cosine(10),
    "PGD.step": 0.3,
    "Paper.denoiser": ANOTHER,
    "Paper.encoder": ENCODER,
    "Paper.eye": ANOTHER,
    "Paper.reference": ANOTHER,
    "Paper.rows": (Row("b"),),
    "Paper.unet": UNET,
    "Row.classifier": ANOTHER,
    "PGD.threat": Linf(0.5),
    "DiffusersConfig.null_label": 3,
    "Latents.encode": torch.abs,
    "Latents.decode": torch.relu,
    "Sees.mean": (0.4,),
    "Sees.std": (0.4,),
    "Sees.size": (8, 9),
    "Sees.interpolation": "bicubic",
    "Recipe.network": replace(ENCODER, dropout=0.1),
    "Recipe.objective": CleanCrossEntropy(),
    "Recipe.schedule": "cosine",
    "Recipe.training": Training(11),
    "Rival.way": "cfg++",
    "RobustCrossEntropy.attack": PGD(L2(0.7)),
    "Schedule.alpha_bar": cosine(10).alpha_bar,
    "Schedule.timesteps": torch.arange(10) + 1,
    "Study.attack": PGD(L2(0.7)),
    "Study.classifiers": (("t/a", "t/b"),),
    "Study.move": None,
    "Training.clip": 1.0,
    "Training.ema": 0.9,
    "Training.precision": "fp32",
    "TableConfig.shape": (4,),
    "UNetConfig.num_classes": 4,
}
RENAMED = [("Entry.", "Drawn."), ("Drawn.", "Rival.")]
RENAMED += [("UNetConfig.", f"{type(config).__name__}.") for config in OF_UNETS]
for older, newer in RENAMED:
    OTHERS |= {name.replace(older, newer): value for name, value in OTHERS.items() if name.startswith(older)}
# Where a thing came from, how often it is saved, what is said of it: no part of what it is.
NO_PART = {"Training.save_every", "Model.provenance", "Model.denoising", "Recipe.about"}


def other(name: str, value: Any) -> Any:
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    assert isinstance(value, tuple), f"say in OTHERS what else {name} could be"
    return (*value, *(value[-1:] or (1,)))


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_every_field_matters(thing: Any) -> None:
    seen = {key(thing): "as it is"}
    for field in fields(thing):
        name = f"{type(thing).__name__}.{field.name}"
        if field.compare and name not in NO_PART:
            changed = key(replace(thing, **{field.name: other(name, getattr(thing, field.name))}))
            assert changed not in seen, f"{name} makes no difference to {seen[changed]}"
            seen[changed] = name


def test_every_public_dataclass_that_is_a_setting_is_among_them() -> None:
    found = set()
    for path in (Path(rgd.__file__).parent).rglob("*.py"):
        module = ".".join(("rgd", *path.relative_to(Path(rgd.__file__).parent).with_suffix("").parts))
        # The course and the survey keep nothing in the store; a survey's own digest is tested with it.
        if path.stem != "__init__" and not module.startswith(("rgd.course.", "rgd.survey.")):
            values = vars(importlib.import_module(module)).values()
            found |= {v for v in values if isinstance(v, type) and is_dataclass(v) and v.__module__ == module}
    public = {cls.__name__ for cls in found if not cls.__name__.startswith("_")}
    assert public - {type(thing).__name__ for thing in THINGS} == RESULTS


# What functions return, and what wraps other things: no settings, and never part of a key by themselves.
RESULTS = {
    "AttackStep", "Audit", "Capped", "Config", "Dataset", "Dots", "Estimate", "Extrapolated", "Features", "Files",
    "Follow", "Friendly", "GuidanceRecord", "Guided", "Halved",
    "Holder", "Kept", "Loss", "Maker", "Mixture", "MixtureClassifier", "Pictures", "PlainNoise", "Plan", "Prediction",
    "Processes", "Profile", "Projected", "Pushed", "SampleStep", "Seldom", "Smoothed", "Steered", "Store", "Stream",
    "TrainStep",
    "TrainingFree", "Unconditional", "Until", "World", "Wrapper",
}  # fmt: skip


def test_a_closure_of_our_own_has_no_name_that_says_enough() -> None:
    from rgd.neighbours.ideas import experts

    by_level: Any = [(0, torch.relu)]
    with pytest.raises(IdentityError, match="closure"):
        identity(experts(by_level))


def test_the_variance_and_the_clipping_of_a_denoiser_are_part_of_its_model() -> None:
    model = Model(build(UNET), linear(10), {"predicts": "eps", "variance": "large"}, ("a",))
    changed = [replace(model, denoising={**model.denoising, name: value}) for name, value in
               (("predicts", "x0"), ("variance", "small"), ("clip", False))]  # fmt: skip
    assert len({key(m) for m in (model, *changed)}) == 4
    assert key(replace(model, provenance={"date": "another"})) == key(model)


def test_one_weight_or_one_alpha_bar_is_enough() -> None:
    network, schedule = build(ENCODER), linear(1000)
    before = key(network), key(schedule)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-3
    middle = schedule.alpha_bar.clone()
    middle[500] *= 1 + 1e-9
    assert before[0] != key(network)
    assert before[1] != key(Schedule(middle))


def doubled(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


def test_what_is_hung_into_a_network_is_part_of_it() -> None:
    network = build(ENCODER)
    before = key(network)
    hook = network.register_forward_hook(doubled)
    assert key(network) != before
    hook.remove()
    assert key(network) == before
    hook = network.out.register_forward_hook(lambda module, inputs, output: before)
    with pytest.raises(IdentityError, match="closure"):
        key(network)


def test_data_are_their_pixels_labels_and_classes_and_not_their_name() -> None:
    data = rgd.data.load("digits").take(20)
    assert key(replace(data, name="another")) == key(data)
    assert len({key(data), key(data.take(19)), key(replace(data, classes=tuple("abcdefghij")))}) == 3


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda part:
                    st.lists(part) | st.dictionaries(st.text(), part)))  # fmt: skip
def test_plain_values_are_the_same_if_and_only_if_they_are_equal(value: Any) -> None:
    assert key(copy.deepcopy(value)) == key(value)
    assert key([value]) != key([value, value])
    assert key({"a": value}) != key({"b": value})


def test_numbers_are_what_they_are_worth() -> None:
    assert key(L2(1)) == key(L2(1.0)) == key(L2(np.float64(1)))  # type: ignore[arg-type]
    assert len({key(x) for x in (0.1, 0.1 + 1e-17, 0.1 + 1e-16, math.inf, -math.inf, "inf", True, 2)}) == 8


THING = """
import torch, rgd
from rgd.identity import key
from rgd.attacks import L2, PGD, NoiseRadius
from rgd.training.objectives import RobustCrossEntropy
radius = NoiseRadius(rgd.schedule.cosine(1000), 0.5, 2.0)
network = rgd.build({config}, 3)
print(key([RobustCrossEntropy(PGD(L2(radius))), network, {{"b": 1, "a": (2.5, float("inf"))}}, torch.arange(5.0)]))
"""


def test_equal_things_in_two_processes_have_equal_keys() -> None:
    program = THING.format(config=f"rgd.{ENCODER!r}")
    found = set()
    for seed in ("1", "2"):
        settings = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=settings, check=True)
        found.add(done.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == 24


SCALE = 0.001


def growing(t: torch.Tensor) -> torch.Tensor:
    """A radius that is a function."""
    return 0.25 + SCALE * t.float()


def test_a_function_is_its_code_and_what_it_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = key(PGD(L2(growing)))
    assert first == key(PGD(L2(growing)))
    monkeypatch.setitem(growing.__globals__, "SCALE", 0.002)
    assert key(PGD(L2(growing))) != first

    def of(source: str) -> str:
        path = tmp_path / f"radius{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source)
        return key(runpy.run_path(str(path))["radius"])

    plain = of("def radius(t):\n    return 0.5 * t\n")
    assert of('# another\ndef radius(t):\n    """What it is."""\n    return 0.5 * t  # so\n') == plain
    assert of("def radius(t):\n    return 0.6 * t\n") != plain
    assert of("def radius(t, by=0.5):\n    return by * t\n") != of("def radius(t, by=0.6):\n    return by * t\n")


MINE = """
import torch, helpers
from dataclasses import dataclass
WEIGHT = 2.0
@dataclass(frozen=True)
class Mine:
    share: float = 0.5
    kind = "soft"
    def __call__(self, x):
        return self.share * WEIGHT * x
    def again(self, x):
        return Mine(self.share)(x)
def radius(t):
    return helpers.f(t)
def inside(t):
    from helpers import f
    return f(t)
"""


def test_a_class_of_the_users_is_its_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever edits a method has another thing, though its fields are the same."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "helpers.py").write_text("def f(t):\n    return t\n")

    def made(source: str) -> Any:
        path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source)
        return runpy.run_path(str(path))

    first = made(MINE)
    assert key(first["Mine"]()) == key(made("# another\n" + MINE)["Mine"]())
    changed = [
        ("* x", "* x * x"),
        ("WEIGHT = 2.0", "WEIGHT = 3.0"),
        ('"soft"', '"hard"'),
        ("Mine(self.share)", "Mine(1)"),
    ]
    keys = {key(made(MINE.replace(*change))["Mine"]()) for change in changed}
    assert len(keys | {key(first["Mine"]()), key(first["Mine"](0.6))}) == 6
    newer = made(MINE)["Mine"]
    newer.__replace__ = replace  # as Python 3.13 does, and 3.14
    newer.__annotate_func__ = (lambda cls: lambda format: {"share": cls})(float)
    assert key(newer()) == key(first["Mine"]())
    with pytest.raises(IdentityError, match="uses the module helpers as a whole"):
        key(first["radius"])
    with pytest.raises(IdentityError, match="imports helpers inside"):
        key(first["inside"])
    for file in tmp_path.glob("mine*.py"):
        file.unlink()  # what Python has read is what counts
    assert key(first["Mine"]()) not in keys


def test_what_is_installed_anywhere_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colab, Debian and `pip install --user` keep packages where this environment would not look for its own."""
    keys = []
    for place in ("dist-packages", "site-packages", "mine"):
        package = tmp_path / place / f"pack_{place[:4]}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("import math\n\n\ndef f(t):\n    return math.sin(t)\n")
        monkeypatch.syspath_prepend(str(package.parent))
        keys.append(identity(importlib.import_module(package.name).f))
    assert keys[:2] == [{"is": "pack_dist:f"}, {"is": "pack_site:f"}]
    assert "code" in keys[2]


class Plain:
    """An attack of somebody's, which says nothing of itself."""

    def __init__(self, radius: float) -> None:
        self.radius = radius


class Says(Plain):
    def identity(self) -> Any:
        return {"radius": self.radius}


@dataclass(frozen=True)
class Has:
    radius: float


def test_what_cannot_be_told_apart_is_refused_and_the_message_says_how_to_make_it_tell() -> None:
    inside = 3.0

    def closure(t: torch.Tensor) -> torch.Tensor:
        return inside * t

    for thing in (Plain(1.0), closure, lambda t: inside * t, nn.Linear(2, 2), object(), torch.Generator()):
        with pytest.raises(IdentityError, match=r"dataclass.*identity\(\)"):
            identity({"deep": [PGD(L2(1.0)), thing]})
    assert key(Says(1.0)) == key(Says(1.0)) != key(Says(2.0))
    assert key(Has(1.0)) == key(Has(1.0)) != key(Has(2.0))
    assert key(functools.partial(growing, t=1)) != key(functools.partial(growing, t=2))


def test_architecture_of_ones_own_network_is_its_modules() -> None:
    def net(*layers: nn.Module) -> Any:
        return architecture(nn.Sequential(nn.Linear(4, 4), *layers))

    assert net(nn.ReLU()) == net(nn.ReLU())
    found = [net(nn.ReLU()), net(nn.Tanh()), net(nn.Dropout(0.1)), net(nn.Dropout(0.2)), net(nn.Linear(4, 5))]
    assert all(a != b for a, b in itertools.combinations(found, 2))


def test_differences_are_named_by_field() -> None:
    was, now = (identity({"t": RobustCrossEntropy(PGD(L2(r)))}) for r in (0.5, 1.0))
    assert differences(identity(Training(10, lr=0.1)), identity(Training(10, lr=0.2))) == ["lr was 0.1, is now 0.2"]
    assert differences(was, was) == []
    assert "radius" in " ".join(differences(was["map"][0][1], now["map"][0][1], "objective"))
