"""The command line: `rgd demo | train | sample | gradients | evaluate | info`. Each command is one typed function."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from rgd import checkpoints, samplers
from rgd import measure as scoring
from rgd.checkpoints import Model
from rgd.denoiser import NetworkDenoiser
from rgd.errors import DataError, RgdError
from rgd.guidance import classifier_free, grad_log_prob, guide, unconditional
from rgd.lab import datasets, experiments
from rgd.lab import demo as demonstration
from rgd.lab import recipe as recipes
from rgd.lab.judge import Judge
from rgd.lab.origin import provenance
from rgd.measure import gradients as analysis
from rgd.measure import plots
from rgd.networks import EncoderUNet
from rgd.processes import best_device, processes
from rgd.randomness import noise
from rgd.training import autocast

File = Annotated[Path, tyro.conf.Positional]


def _named(names: Callable[[], Sequence[str]]) -> Any:
    """The help of an argument that may be one of these names; they are looked up only when somebody asks for help."""
    return tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint=lambda _: f"There are {', '.join(names())}.")


RecipeName = Annotated[str | None, tyro.conf.Positional, _named(recipes.names)]
ExperimentName = Annotated[str | None, tyro.conf.Positional, _named(experiments.names)]
SAMPLERS: dict[str, Any] = {
    "ddpm": samplers.ddpm,
    "ddim": samplers.ddim,
    "dpm": samplers.dpm_solver,
    "heun": samplers.heun,
}


def demo(
    data: str = "digits",
    out: Path | None = None,
    effort: float = 1.0,
    samples: int = 400,
    seed: int = 0,
    size: int | None = None,
) -> None:
    """Train, guide and measure on one data set, and write a report. Stop it with Ctrl-C; the same command goes on.

    Args:
        data: digits, mnist, fashion-mnist, cifar10, or a folder of class folders.
        out: where everything is kept; default runs/demo-NAME.
        effort: multiplies the training steps.
        samples: images drawn for each guidance and scale.
        seed: of everything.
        size: side of the images, for a folder.
    """
    path = demonstration.run(data, out, effort=effort, seed=seed, samples=samples, size=size)
    results = json.loads((path.parent / "results.json").read_text())
    for cell in results["guidance"]:
        scores = (scoring.Estimate(**cell[name]) for name in ("accuracy", "fd_judge"))
        accuracy, distance = map(str, scores)
        print(f"{cell['guidance']:>8} {cell['scale']:4g}   judge accuracy {accuracy:<22}  FD-judge {distance}")
    for kind, share in results["walk"].items():
        print(
            f"{kind:>8}        moved images that the judge takes for the target: {scoring.Estimate(**share['judge'])}"
        )
    print(f"\nThe report is {path}")


def train(
    recipe: RecipeName = None,
    out: Path | None = None,
    data: str | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    precision: Literal["auto", "fp32", "bf16", "fp16"] | None = None,
) -> None:
    """Make the model of a recipe, or go on making it.

    Args:
        recipe: a name such as digits/robust, or your own, mine.py or mine.py:NAME. Without one, all are listed.
        out: folder of the training state and the model; default runs/NAME.
        data: another data set or folder than the recipe's, with images of the same shape.
        steps: other than the recipe's; likewise the next three.
    """
    if recipe is None:
        print(recipes.listing())
        return
    this = recipes.read(recipe)
    given: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "seed": seed, "precision": precision}
    this = replace(this, training=replace(this.training, **{k: v for k, v in given.items() if v is not None}))
    if data is not None:
        this = replace(this, data=data)
    folder = Path("runs") / this.name if out is None else out
    model = recipes.train(this, folder)
    if processes().rank == 0:
        print(
            f"{this.name}: {model.provenance['images_seen']:,} images seen; the model is {folder / 'model.safetensors'}"
        )


def _network(path: Path, kind: type, what: str) -> tuple[Any, Model]:
    model = checkpoints.load(path, processes().device)
    used = model.use()
    if not isinstance(used, kind):
        raise RgdError(f"{path} holds a {type(model.network).__name__}, where {what} is needed")
    return used, model


def sample(
    denoiser: File,
    classifier: Path | None = None,
    scale: float = 1.0,
    labels: tuple[int, ...] | None = None,
    n: int = 100,
    sampler: Literal["ddpm", "ddim", "dpm", "heun"] = "dpm",
    steps: int = 25,
    interval: tuple[float, float] = (0, float("inf")),
    form: Literal["score", "mean"] = "score",
    seed: int = 0,
    batch_size: int = 256,
    out: Path = Path("samples.safetensors"),
) -> None:
    """Draw images, guided by a classifier, by classifier-free guidance, or not at all.

    Args:
        denoiser: a model file.
        classifier: a model file; without one, a conditional denoiser with a null label guides itself.
        scale: of the guidance.
        labels: the classes to draw, repeated up to n; default all in turn.
        n: images.
        interval: guide only at lowest <= t < highest.
        form: mean is ADM's and the paper's, for the sampler ddpm alone.
        out: the images and labels, with their origin; a picture of the first 100 goes beside it.
    """
    if out.suffix == ".png":
        raise RgdError(f"{out} is where the picture goes: give --out {out.with_suffix('.safetensors')}")
    denoise, model = _network(denoiser, NetworkDenoiser, "a denoiser")
    config = denoise.network.config
    known, guiding_itself = len(model.classes), classifier is None and config.num_classes is not None
    if n < 1:
        raise RgdError(f"there is nothing to draw: n is {n}")
    if labels and classifier is None and config.num_classes is None:
        raise RgdError(f"{denoiser} knows no classes: name a --classifier that does, or leave --labels out")
    wanted = torch.tensor(labels) if labels else torch.arange(known)
    if wanted.min() < 0 or wanted.max() >= known:
        raise DataError(f"labels run from 0 to {known - 1} here, not {wanted.tolist()}")
    y = wanted.repeat(-(-n // len(wanted)))[:n]
    if classifier is not None:
        guiding, other = _network(classifier, EncoderUNet, "a time-dependent classifier")
        if other.classes != model.classes:
            raise RgdError(f"{classifier} knows the classes {other.classes}, and {denoiser} {model.classes}")
        steered: Any = guide(denoise, grad_log_prob(guiding), scale, interval, form)
    elif guiding_itself and config.null_label:
        steered = classifier_free(denoise, scale, interval)
    elif scale != 1:
        raise RgdError(f"{denoiser} cannot guide itself: name a --classifier, or leave --scale out")
    else:
        steered = denoise if guiding_itself else unconditional(denoise)
    shape = (n, config.in_channels, config.image_size, config.image_size)
    with autocast(processes().device, network=denoise.network):
        images = samplers.sample(
            steered, shape, y, sampler=SAMPLERS[sampler], steps=steps, seed=seed, batch_size=batch_size
        )
    if processes().rank > 0:
        return
    origin = {
        "denoiser": str(denoiser), "classifier": classifier and str(classifier), "scale": scale, "sampler": sampler,
        "steps": steps, "interval": list(map(str, interval)), "form": form, "seed": seed, "classes": model.classes,
        "made": model.provenance, **provenance(),
    }  # fmt: skip
    checkpoints.write(out, {"images": images, "labels": y}, origin)
    plots.image_grid(images[:100]).savefig(out.with_suffix(".png"), dpi=150)
    print(f"{n} images in {out}, a picture of them in {out.with_suffix('.png')}")


def gradients(
    classifiers: Annotated[tuple[Path, ...], tyro.conf.Positional],
    data: str | None = None,
    levels: tuple[int, ...] = (0, 50, 100, 200, 400),
    target: int | None = None,
    n: int = 256,
    seed: int = 0,
    out: Path = Path("gradients.png"),
) -> None:
    """Compare the gradients of classifiers on test images: a picture by noise level, norms, and cosines to the first.

    Args:
        classifiers: model files.
        data: where the test images come from; default what the first was trained on.
        levels: the times t.
        target: the class the picture's gradients point to; default the image's own.
        n: test images for the numbers.
        out: the picture.
    """
    if not classifiers:
        raise RgdError("name at least one model file of a time-dependent classifier")
    # Training calls every model model.safetensors and its folder by its name; published ones have a name each.
    names = [path.parent.name if path.stem == "model" and path.parent.name else path.stem for path in classifiers]
    if len(set(names)) < len(names):
        raise RgdError(f"these files are called {', '.join(names)} in the picture: rename those that share a name")
    loaded = {
        name: _network(path, EncoderUNet, "a time-dependent classifier") for name, path in zip(names, classifiers)
    }
    (first, model), *_ = loaded.values()
    assert model.schedule is not None
    if data is None:
        test = datasets.load_again(model.provenance, model.classes, size=first.config.image_size).take(n)
    else:
        test = datasets.load(data, "test").take(n)
    for name, (network, _) in loaded.items():
        takes, known = (network.config.in_channels, *2 * [network.config.image_size]), network.config.out_channels
        if takes != test.shape or known < len(test.classes):
            raise RgdError(f"{name} takes {takes} and {known} classes; {test.name}: {test.shape}, {len(test.classes)}")
    if not all(0 <= level < model.schedule.T for level in levels):
        raise RgdError(f"levels run from 0 to {model.schedule.T - 1}, not {levels}")
    if target is not None and not 0 <= target < len(test.classes):
        raise RgdError(f"classes run from 0 to {len(test.classes) - 1}, not {target}")
    device = processes().device
    x0, y = test.x0().to(device), test.labels.to(device)
    eps = noise(x0.shape, seed).to(device)
    pictures: dict[str, list[torch.Tensor]] = {"noised image": [], **{name: [] for name in loaded}}
    for level in tqdm(levels, "gradients", unit="level"):
        t = torch.full_like(y, level)
        xt = model.schedule.q_sample(x0, t, eps)
        towards = y[:1] if target is None else torch.full_like(y[:1], target)
        pictures["noised image"].append(xt[0].cpu())
        for name, (network, _) in loaded.items():
            pictures[name].append(grad_log_prob(network)(xt[:1], t[:1], towards)[0].cpu())
            norm = analysis.norm(network, xt, t, y).mean()
            cosine = analysis.cosine(first, network, xt, t, y).nanmean()
            tqdm.write(f"t = {level:4d}  {name:>12}  norm {norm:9.3f}  cosine to the first {cosine:+.3f}")
    rows = {name: torch.stack(images) for name, images in pictures.items()}
    plots.picture_table(rows, [f"t = {t}" for t in levels], list(loaded), size=1.1).savefig(out, dpi=150)
    print(f"the picture is {out}")


def evaluate(
    what: ExperimentName = None,
    judge: Path | None = None,
    inception: bool = False,
    reference: str | None = None,
    metrics: tuple[str, ...] | None = None,
    halves: int = 30,
    quick: bool = False,
    runs: Path = Path("runs"),
    out: Path | None = None,
) -> None:
    """Score a file of samples against the training images of a data set; each number with its 95 % interval. Or run
    an experiment, such as compare_mnist; stop it with Ctrl-C, and the same command goes on.

    Args:
        what: a file that `rgd sample` wrote; or an experiment's name, or your own, mine.py or mine.py:NAME (with an
            experiment, the last three options alone have a meaning). Without one, the experiments are listed.
        judge: a model file of an independent judge, for accuracy and for the features of distances.
        inception: measure distances in Inception's features; its weights are downloaded, or named by RGD_INCEPTION.
        reference: a data set or folder; default what the samples' denoiser was trained on.
        metrics: of fd, kid, isc, precision, recall, accuracy; default all that can be had.
        halves: of the jackknife.
        quick: a small version of the experiment.
        runs: where `rgd train` put models that are not published, and where an experiment keeps what it has done.
        out: a JSON file for the numbers and their origin; of an experiment, default runs/NAME/results.json.
    """
    if what is None:
        print("\n".join(experiments.names()))
        return
    if _is_experiment(what):
        _run_experiment(what, quick, runs, out)
        return
    tensors, origin = checkpoints.read(Path(what))
    if "images" not in tensors:
        raise RgdError(f"{what} holds no samples: `rgd sample` draws some, and `rgd info` says what a model is")
    critic = None if judge is None else _network(judge, Judge, "a judge")[0]
    if reference is None:
        made, classes, size = origin.get("made", {}), origin.get("classes", ()), tensors["images"].shape[-1]
        real = datasets.load_again(made, classes, "train", size=size)
    else:
        real = datasets.load(reference)
    scores = scoring.evaluate(
        tensors["images"], real, judge=critic, labels=tensors["labels"] if critic else None,
        inception=scoring.load_inception().to(best_device()) if inception else None, metrics=metrics, halves=halves,
    )  # fmt: skip
    for name, score in scores.items():
        print(f"{name:>10}  {score}   {score.method}")
    if out is not None:
        record = {"samples": origin, "reference": real.source, **provenance()}
        record["scores"] = {name: score.to_json() for name, score in scores.items()}
        checkpoints.write_atomic(out, json.dumps(record, indent=1).encode())


def _is_experiment(what: str) -> bool:
    """By name, or a Python file; what has a suffix or is there is a file of samples."""
    return ".py" in what or not (Path(what).suffix or Path(what).exists())


def _run_experiment(what: str, quick: bool, runs: Path, out: Path | None) -> None:
    name = Path(what.rpartition(".py:")[2]).stem
    folder = runs / (f"{name}_quick" if quick else name)
    out = folder / "results.json" if out is None else out
    results = experiments.run(experiments.read(what, quick), out, runs=runs)
    if processes().rank > 0:
        return
    for cell in results.get("headline", ()):
        distance, accuracy = (str(scoring.Estimate(**cell[name])) for name in ("fd", "accuracy"))
        print(f"{cell['name']:>40} {cell['scale']:5g}   FD-judge {distance:<22} judge accuracy {accuracy}")
    print(f"\nThe results are {out}")


def info(file: Annotated[Path | None, tyro.conf.Positional] = None) -> None:
    """Say what a model or samples file is and where it comes from; without one, what this machine offers."""
    if file is not None:
        print(json.dumps(checkpoints.read_metadata(file), indent=1))
        return
    device = processes().device
    print(json.dumps({**provenance(), "python": sys.version.split()[0], "numpy": np.__version__,
                      "precision": str(autocast(device)), "data": list(datasets.KNOWN)}, indent=1))  # fmt: skip


def main() -> None:
    """The entry point: errors that say what to do are printed without a traceback."""
    commands = {f.__name__: f for f in (demo, train, sample, gradients, evaluate, info)}
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="rgd", description="Robust classifier guidance.")
    except KeyboardInterrupt:
        resumable = {"demo", "train"} & set(sys.argv) or any(
            ".py" in a or a in experiments.names() for a in sys.argv[1:]
        )
        kept = "What was done is kept; the same command goes on from here." if resumable else "Nothing was written."
        print(f"\nStopped. {kept}", file=sys.stderr)
        raise SystemExit(130) from None
    except (RgdError, FileNotFoundError, ConnectionError, ImportError, ValueError) as error:
        print(f"rgd: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
