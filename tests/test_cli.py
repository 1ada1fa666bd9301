"""The command line: what cannot be done is refused before any work, by the option's name and without a traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from rgd import checkpoints, cli, schedule
from rgd.compute.precision import Precision
from rgd.data import Dataset
from rgd.identity import identity
from rgd.lab import datasets
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.training import Training

ANIMALS, TOOLS = ("ant", "bee", "cow"), ("axe", "bit", "cog")
COMMON = {"image_size": 8, "in_channels": 1, "model_channels": 32, "num_res_blocks": 1, "channel_mult": (1,),
          "attention_resolutions": ()}  # fmt: skip
UNET = UNetConfig(**COMMON, out_channels=1)
ENCODER, JUDGE = EncoderConfig(**COMMON, out_channels=3), JudgeConfig(image_size=8, in_channels=1, out_channels=3)
RECIPE = """
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig
from rgd.training.objectives import NoisyCrossEntropy
from rgd.training import Training

network = EncoderConfig(image_size=8, in_channels=1, out_channels=3, model_channels=32, num_res_blocks=1,
                        channel_mult=(1,), attention_resolutions=())
recipe = Recipe("animals/tiny", "animals", network, NoisyCrossEntropy(), Training(5, 8, lr=0.003, warmup=2))
"""


def save(path: Path, config: object, classes: tuple[str, ...] = ANIMALS, noised: str = "linear") -> Path:
    """A model of random weights, each of which matters."""
    network = build(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2, generator=generator)
    process = None if isinstance(config, JudgeConfig) else getattr(schedule, noised)()
    denoising = {"predicts": "eps", "variance": "large"} if isinstance(config, UNetConfig) else {}
    checkpoints.Model(network, process, denoising, classes, {"data": "animals"}).save(path)
    return path


@pytest.fixture
def rgd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`rgd(...)` in a folder with data sets, models and samples: the exit status, and all that was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGD_DATA", str(tmp_path))
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (30, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for name, classes in {"animals": ANIMALS, "tools": TOOLS, "reversed": ANIMALS[::-1]}.items():
        for split in ("train", "test"):
            datasets.save(Dataset(pixels, torch.arange(30) % 3, classes, name), tmp_path / f"{name}-{split}.npz")
    large = Dataset(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), torch.arange(6) % 3, ANIMALS, "large")
    datasets.save(large, tmp_path / "large-test.npz")
    images = {"images": pixels[:12] / 127.5 - 1, "labels": torch.arange(12) % 3}
    checkpoints.write(tmp_path / "samples.safetensors", images, {"classes": ANIMALS})
    checkpoints.write(tmp_path / "nameless.safetensors", images, {})
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "file").write_text("not a folder")
    wide, large = replace(ENCODER, image_size=(8, 12)), replace(JUDGE, image_size=28)
    for name, config in {"unet": UNET, "encoder": ENCODER, "judge": JUDGE, "wide": wide, "large_judge": large}.items():
        save(tmp_path / name, config)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rgd", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as stopped:  # any other exception would be a traceback
            status = int(stopped.code or 0)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("sample unet --scale nan", "--scale takes numbers from -inf to below inf, not nan"),
        ("sample unet --scale inf", "--scale takes"),
        ("sample unet --n 0", "--n takes numbers from 1"),
        ("sample unet --steps 0", "--steps takes numbers from 1"),
        ("sample unet --batch-size 0", "--batch-size takes numbers from 1"),
        ("sample unet --out picture.png", "give --out picture.safetensors"),
        ("sample unet --out file/samples.safetensors", "--out: there can be no folder file"),
        ("sample unet --out .", "--out: . is a folder"),
        ("gradients", "at least one model file"),
        ("gradients encoder --n 0", "--n takes numbers from 1"),
        ("gradients encoder --out file/x.png", "--out: there can be no folder file"),
        ("gradients encoder --out x.txt", "end x.txt in .png"),
        ("gradients encoder encoder", "rename those that share a name"),
        ("evaluate samples.safetensors --judge judge --halves 1", "--halves takes numbers from 2"),
        ("evaluate samples.safetensors --judge judge --metrics fib", "invalid choice 'fib' for argument '--metrics'"),
        ("evaluate samples.safetensors", "name a --judge"),
        ("evaluate samples.safetensors --inception --metrics accuracy", "name a --judge, which accuracy needs"),
        ("evaluate samples.safetensors --judge judge --out file/x.json", "--out: there can be no folder file"),
        ("train no.py", "there is no recipe file no.py"),
        ("train recipe.py --training.steps 0", "steps must be a whole number, at least 1, not 0"),
        ("train recipe.py --batch-size 0", "batch_size must be a whole number, at least 1, not 0"),
        ("train recipe.py --out file", "--out: there can be no folder file"),
        ("demo --effort nan", "--effort takes numbers from 0 to below inf, not nan"),
        ("demo --effort inf", "--effort takes"),
        ("demo --out file", "--out: there can be no folder file"),
    ],
)
def test_options_are_refused_by_name_before_any_work(
    arguments: str, expected: str, rgd: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("this is work")

    for module, name in ((checkpoints, "load"), (checkpoints, "read"), (datasets, "load")):
        monkeypatch.setattr(module, name, work)
    status, said = rgd(*arguments.split())
    assert status > 0
    assert " ".join(expected.split()) in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("demo --data mnsit", "did you mean 'mnist'"),
        ("sample judge", "where a denoiser is needed"),
        ("sample unet --classifier judge", "where a time-dependent classifier is needed"),
        ("sample unet --classifier encoder --labels 3", "--labels takes numbers from 0 to below 3, not 3"),
        ("sample unet --labels 2", "knows no classes"),
        (
            "evaluate samples.safetensors --judge large_judge --reference animals",
            "large_judge sees images of another size than those of samples",
        ),
        ("sample unet --classifier wide", "unet and its classifier see images of other sizes: [(1, 8, 8), (1, 8, 12)]"),
        ("sample unet --scale 2", "cannot guide itself"),
        ("sample unet --classifier encoder --interval nan 3", "interval"),
        ("sample absent.safetensors", "there is no file"),
        ("gradients encoder --data digits", "has 3 classes ('ant', 'bee', 'cow'), and digits has 10"),
        ("gradients encoder --data large", "takes images of (1, 8, 8), and those of large are (1, 28, 28)"),
        ("gradients encoder --levels 1000", "levels run from 0 to 999"),
        ("gradients encoder --target 3", "classes run from 0 to 2"),
        ("evaluate judge --judge judge", "holds no samples"),
        ("evaluate nameless.safetensors --judge judge --reference animals", "has 0 classes ()"),
    ],
)
def test_errors_say_what_to_do_without_a_traceback(
    arguments: str, expected: str, rgd: Callable[..., tuple[int, str]]
) -> None:
    status, said = rgd(*arguments.split())
    assert status == 1
    assert expected in said


@pytest.mark.parametrize("names", [ANIMALS[::-1], TOOLS, ("ant", "bee")], ids=["order", "names", "number"])
def test_class_names_are_compared_wherever_two_files_meet(
    names: tuple[str, ...], rgd: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    reference = ("--reference", "animals", "--metrics", "accuracy", "fd", "--halves", 2)
    assert rgd("evaluate", "samples.safetensors", "--judge", "judge", *reference)[0] == 0
    k = len(names)
    judge = save(tmp_path / "other_judge", replace(JUDGE, out_channels=k), names)
    encoder = save(tmp_path / "other", replace(ENCODER, out_channels=k), names)
    tensors, _ = checkpoints.read(tmp_path / "samples.safetensors")
    checkpoints.write(tmp_path / "of_others", tensors, {"classes": names})
    meetings = [
        ("evaluate", "samples.safetensors", "--judge", judge, *reference),
        ("evaluate", "of_others", "--judge", "judge", *reference),
        ("evaluate", "of_others", "--judge", judge, *reference),
        ("sample", "unet", "--classifier", encoder, "--steps", 2, "--n", 2),
        ("gradients", encoder, "--n", 2),
        ("gradients", "encoder", encoder, "--n", 2),
    ]
    if k == 3:
        data = "tools" if names == TOOLS else "reversed"
        others = ("--reference", data, "--metrics", "fd", "--halves", 2)
        meetings += [
            ("evaluate", "samples.safetensors", "--judge", "judge", *others),
            ("evaluate", "samples.safetensors", "--judge", judge, *others),
            ("gradients", "encoder", "--data", data, "--n", 2),
        ]
    for arguments in meetings:
        status, said = rgd(*arguments)
        assert status == 1, arguments
        for shown in (ANIMALS, names):
            assert f"{len(shown)} classes ({', '.join(map(repr, shown))})" in said, arguments
    assert not (tmp_path / "gradients.png").exists()


def test_classifiers_of_two_schedules_are_not_compared(rgd: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    save(tmp_path / "cosine", ENCODER, noised="cosine")
    status, said = rgd("gradients", "encoder", "cosine", "--n", 2, "--levels", 5)
    assert status == 1
    assert "another schedule" in said


def test_folders_that_are_not_there_are_made(rgd: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    for arguments, made in {
        ("sample", "unet", "--n", 2, "--steps", 2, "--out", "a/b/s.safetensors"): ["a/b/s.safetensors", "a/b/s.png"],
        ("gradients", "encoder", "--n", 2, "--levels", 5, "--out", "c/d/g.png"): ["c/d/g.png"],
        ("evaluate", "samples.safetensors", "--judge", "judge", "--reference", "animals", "--metrics", "accuracy",
         "--out", "e/f/s.json"): ["e/f/s.json"],
    }.items():  # fmt: skip
        status, said = rgd(*arguments)
        assert status == 0, said
        assert all((tmp_path / name).exists() for name in made)


def test_a_model_of_few_times_takes_them_all(rgd: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    whole = checkpoints.load(tmp_path / "unet")
    assert whole.schedule
    replace(whole, schedule=whole.schedule.respace(4)).save(tmp_path / "few")
    status, said = rgd("sample", "few", "--n", 2)
    assert status == 0, said
    assert checkpoints.read_metadata(tmp_path / "samples.safetensors")["steps"] == 4


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm", "heun"])
def test_images_that_are_not_finite_are_not_written(
    sampler: str, rgd: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    guided = ("sample", "unet", "--classifier", "encoder", "--n", 3, "--steps", 4, "--sampler", sampler)
    status, said = rgd(*guided, "--scale", 1e38)
    assert status == 1
    assert "rgd: step " in said
    assert "t = " in said
    assert "smaller --scale" in said
    assert not list(tmp_path.glob("samples.png"))
    assert rgd(*guided, "--scale", 1, "--out", "fine.safetensors")[0] == 0
    assert checkpoints.read(tmp_path / "fine.safetensors")[0]["images"].isfinite().all()


def test_every_field_of_training_can_be_given(rgd: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    given = ["--training.steps", 3, "--batch-size", 4, "--seed", 7, "--precision", "fp32", "--training.ema", 0.5,
             "--training.flip", "--training.no-anneal", "--training.clip", 1.0]  # fmt: skip
    status, said = rgd("train", "recipe.py", *given, "--out", "made")
    assert status == 0, said
    wanted = Training(3, 4, lr=0.003, warmup=2, seed=7, precision="fp32", ema=0.5, flip=True, anneal=False, clip=1.0)
    made = checkpoints.read_metadata(tmp_path / "made" / "model.safetensors")["provenance"]
    assert made["made_from"]["training"] == identity(wanted)
    assert rgd("train", "recipe.py", "--steps", 2, "--out", "made2")[0] == 0  # what is not given is the recipe's
    plain = checkpoints.read_metadata(tmp_path / "made2" / "model.safetensors")["provenance"]
    assert plain["made_from"]["training"] == identity(Training(2, 8, lr=0.003, warmup=2))


def test_info_says_which_precision_is_used_here(rgd: Callable[..., tuple[int, str]]) -> None:
    """By its name: it once was the context's own, an object at some address."""
    _, said = rgd("info")
    assert json.loads(said)["precision"] in get_args(Precision)
