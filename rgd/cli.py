"""The command line: `rgd demo | train | sample | gradients | evaluate | paper | survey | course | info`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

import numpy as np
import torch
import tyro

from rgd import demo as demonstration
from rgd import experiments, samplers
from rgd import measure as scoring
from rgd.book import plots
from rgd.course.commands import course
from rgd.data import same_classes
from rgd.demo import report
from rgd.errors import RgdError
from rgd.lab import datasets
from rgd.lab import recipe as recipes
from rgd.lab.checks import know, load, need, numbers, room_for, while_finite
from rgd.lab.origin import provenance
from rgd.lab.samples import score, steered
from rgd.layers import image_shape
from rgd.measure.scores import Metric
from rgd.processes import processes
from rgd.scale.commands import paper
from rgd.survey.commands import survey
from rgd.training import Training, autocast, checkpoints, fastest


def _named(names: Callable[[], Sequence[str]]) -> Any:
    """The help of an argument that may be one of these names; they are looked up only when somebody asks for help."""
    return tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint=lambda _: f"There are {', '.join(names())}.")


File = Annotated[Path, tyro.conf.Positional]
Networks = tuple[str, ...]
RecipeName = Annotated[str | None, tyro.conf.Positional, _named(recipes.names)]
ExperimentName = Annotated[str | None, tyro.conf.Positional, _named(experiments.names)]
SAMPLERS = {"ddpm": samplers.ddpm, "ddim": samplers.ddim, "dpm": samplers.dpm_solver, "heun": samplers.heun}
# Every field of Training, none of which need be given, as --training.steps or --steps.
Changes: Any = TypedDict("Changes", {  # type: ignore[misc]
    name: Annotated[kind, tyro.conf.arg(aliases=["--" + name.replace("_", "-")])]
    for name, kind in get_type_hints(Training).items()
}, total=False)  # fmt: skip


def demo(
    data: str = "digits", out: Path | None = None, effort: float = 1.0, samples: int = 400, seed: int = 0,
    size: int | None = None,
) -> None:  # fmt: skip
    """Train, guide and measure on one data set, and write a report. Stop it with Ctrl-C; the same command goes on.

    Args:
        data: digits, mnist, fashion-mnist, cifar10, or a folder of class folders.
        out: the folder where everything is kept; default runs/demo-NAME.
        effort: multiplies the training steps.
        samples: images drawn for each guidance and scale.
        seed: of everything.
        size: side of the images, for a folder.
    """
    numbers(0, effort=effort)
    out = out and room_for(out / "report.html").parent
    path = demonstration.run(data, out, effort=effort, seed=seed, samples=samples, size=size)
    results = json.loads((path.parent / "results.json").read_text())
    _print_scores(results["sweep"])
    for kind, share in results["walk"].items():
        print(f"{kind:>40}  walks that the judge reads {scoring.Estimate(**share['judge'])}")
    print(f"\nThe report is {path}")


def _print_scores(cells: list[dict[str, Any]]) -> None:
    for cell in cells:
        accuracy, fd = (str(scoring.Estimate(**cell[key])) for key in ("accuracy", "fd"))
        print(f"{cell['name']:>40} {cell['scale']:5g}   judge accuracy {accuracy:<22}  FD-judge {fd}")


def train(
    recipe: RecipeName = None, training: Changes = {}, data: str | None = None, out: Path | None = None  # noqa: B006
) -> None:  # fmt: skip
    """Make the model of a recipe, or go on making it.

    Args:
        recipe: a name such as digits/robust, or your own, mine.py or mine.py:NAME. Without one, all are listed.
        training: what is to be other than the recipe's, each by its long name or its short one.
        data: another data set or folder than the recipe's, with images of the same shape.
        out: folder of the training state and the model; default runs/NAME.
    """
    if recipe is None:
        print(recipes.listing())
        return
    this = recipes.read(recipe)
    this = replace(this, training=replace(this.training, **training), data=this.data if data is None else data)
    path = room_for((Path("runs") / this.name if out is None else out) / "model.safetensors")
    model = recipes.train(this, path.parent)
    if processes().rank == 0:
        print(f"{this.name}: {model.provenance['images_seen']:,} images seen; the model is {path}")


def sample(
    denoiser: File, classifier: Path | None = None, scale: float = 1.0, labels: tuple[int, ...] | None = None,
    n: int = 100, sampler: Literal["ddpm", "ddim", "dpm", "heun"] = "dpm", steps: int = 25,
    interval: tuple[float, float] = (0, math.inf), form: Literal["score", "mean"] = "score", seed: int = 0,
    batch_size: int = 256, network: Networks = (), out: Path = Path("samples.safetensors"),
) -> None:  # fmt: skip
    """Draw images, guided by a classifier, by classifier-free guidance, or not at all; in no more steps than there are.

    Args:
        denoiser: a model file; here as below also a model of others, such as timm:NAME, see `rgd.lab.named`.
        classifier: a model file; without one, a conditional denoiser with a null label guides itself.
        scale: of the guidance.
        labels: the classes to draw, repeated up to n; default all in turn.
        n: images.
        interval: guide only at lowest <= t < highest.
        form: mean is ADM's and the paper's, for the sampler ddpm alone.
        network: the class of a network of your own, package.module:Class, whose module is imported.
        out: the images and labels, with their origin; a picture of the first 100 goes beside it.
    """
    numbers(-math.inf, scale=scale)
    numbers(1, n=n, steps=steps, batch_size=batch_size)
    picture = room_for(out).with_suffix(".png")
    need(out != picture, f"{out} is where the picture goes: give --out {out.with_suffix('.safetensors')}")
    know(network)
    model, guiding = load(denoiser, "denoiser"), load(classifier, "classifier") if classifier else None
    denoise, config = model.use(), model.network.config
    if guiding and (model.classes or denoise.conditional):  # what was trained without labels need not name any
        same_classes(guiding.classes, model.classes, str(classifier), str(denoiser))
    classes = guiding.classes if guiding else model.classes
    guides = guiding is not None or denoise.conditional
    need(guides or not labels, f"{denoiser} knows no classes: name a --classifier that does, or leave --labels out")
    numbers(0, len(classes), labels=labels or ())
    y = torch.tensor(labels or range(len(classes))).repeat(n)[:n] if classes else None
    guided = steered(model, guiding, scale, interval, form, str(denoiser))
    options: Any = {"sampler": partial(while_finite, SAMPLERS[sampler]), "steps": min(steps, denoise.schedule.T)}
    with autocast(processes().device, network=model.network):
        images = samplers.sample(guided, (n, *image_shape(config)), y, seed=seed, batch_size=batch_size, **options)
    if processes().rank > 0:
        return
    origin = {
        "denoiser": str(denoiser), "classifier": classifier and str(classifier), "scale": scale, "sampler": sampler,
        "steps": options["steps"], "interval": list(map(str, interval)), "form": form, "seed": seed, "classes": classes,
        "made": model.provenance, **provenance(),
    }  # fmt: skip
    tensors = {"images": images} if y is None else {"images": images, "labels": y}
    checkpoints.write(out, tensors, origin)
    plots.image_grid(images[:100]).savefig(picture, dpi=150)
    print(f"{n} images in {out}, a picture of them in {picture}")


def gradients(
    classifiers: Annotated[tuple[Path, ...], tyro.conf.Positional], data: str | None = None,
    levels: tuple[int, ...] = (0, 50, 100, 200, 400), target: int | None = None, n: int = 256, seed: int = 0,
    network: Networks = (), out: Path = Path("gradients.png"),
) -> None:  # fmt: skip
    """Compare the gradients of classifiers on test images: a picture by noise level, norms, and cosines to the first.

    Args:
        classifiers: model files, one at least of a classifier that knows t, and models of others as of `rgd sample`.
        data: where the test images come from; default what the first was trained on.
        levels: the times t.
        target: the class the picture's gradients point to; default the image's own.
        n: test images for the numbers.
        network: as of `rgd sample`.
        out: the picture.
    """
    numbers(1, n=n)
    need(len(classifiers) > 0, "name at least one model file of a time-dependent classifier")
    need(room_for(out).suffix in (".png", ".pdf", ".svg"), f"--out: end {out} in .png, .pdf or .svg")
    # Training calls every model model.safetensors and its folder by its name; published ones have a name each.
    names = [path.parent.name if path.stem == "model" and path.parent.name else path.stem for path in classifiers]
    alike = f"these files are called {', '.join(names)} in the picture: rename those that share a name"
    need(len({*names, "noised image"}) > len(names), alike)
    know(network)
    models = {name: load(path, "classifier") for name, path in zip(names, classifiers)}
    first = next((model for model in models.values() if model.schedule), models[names[0]])
    need(first.schedule is not None, "name a classifier that knows t too: gradients are compared at its noise")
    if data is None:
        test = datasets.load_again(first.provenance, first.classes, size=first.network.config.image_size).take(n)
    else:
        test = datasets.load(data, "test").take(n)
    report.compare_gradients(models, test, levels, target, seed).savefig(out, dpi=150)
    print(f"the picture is {out}")


def evaluate(
    what: ExperimentName = None, judge: Path | None = None, inception: bool = False, reference: str | None = None,
    metrics: tuple[Metric, ...] | None = None, halves: int = 30, network: Networks = (), quick: bool = False,
    runs: Path = Path("runs"), out: Path | None = None,
) -> None:  # fmt: skip
    """Score a file of samples against the training images of a data set; each number with its 95 % interval. Or run
    an experiment, such as compare_mnist; stop it with Ctrl-C, and the same command goes on.

    Args:
        what: a file that `rgd sample` wrote; or an experiment's name, or your own, mine.py or mine.py:NAME (with an
            experiment, the last four options alone have a meaning). Without one, the experiments are listed.
        judge: a model file of an independent judge, for accuracy and for the features of distances.
        inception: measure distances in Inception's features; its weights are downloaded, or named by RGD_INCEPTION.
        reference: a data set or folder; default what the samples' denoiser was trained on.
        metrics: which; default all that can be had.
        halves: of the jackknife.
        network: as of `rgd sample`.
        quick: a small version of the experiment.
        runs: where `rgd train` put models that are not published, and where an experiment keeps what it has done.
        out: a JSON file for the numbers and their origin; of an experiment, default runs/NAME/results.json.
    """
    if what is None:
        print("\n".join(experiments.names()))
        return
    what = str(what)
    know(network)
    if ".py" in what or not (Path(what).suffix or Path(what).exists()):  # what has a suffix or is there is no name
        folder = Path(what.rpartition(".py:")[2]).stem + ("_quick" if quick else "")
        out = room_for(out or runs / folder / "results.json")
        results = experiments.run(experiments.read(what, quick), out, runs=runs)
        if processes().rank == 0:
            _print_scores(results.get("headline", []))
            print(f"\nThe results are {out}")
        return
    numbers(2, halves=halves)
    scores = score(Path(what), judge, inception, reference, metrics, halves, out and room_for(out))
    for name, found in scores.items():
        print(f"{name:>10}  {found}   {found.method}")


def info(file: Annotated[Path | None, tyro.conf.Positional] = None) -> None:
    """Say what a model or samples file is and where it comes from; without one, what this machine offers."""
    if file is not None:
        print(json.dumps(checkpoints.read_metadata(file), indent=1))
        return
    here = {**provenance(), "python": sys.version.split()[0], "numpy": np.__version__}
    here |= {"precision": fastest(processes().device), "data": list(datasets.KNOWN)}
    print(json.dumps(here, indent=1))


def main() -> None:
    """The entry point: errors that say what to do are printed without a traceback."""
    commands = {f.__name__: f for f in (demo, train, sample, gradients, evaluate, paper, survey, course, info)}
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="rgd", description="Robust classifier guidance.")
    except KeyboardInterrupt as error:
        sys.last_value = error  # the other processes are told of it
        named = any(".py" in a or a in experiments.names() for a in sys.argv[1:])
        resumable = {"demo", "train", "course", "paper"} & set(sys.argv) or named
        kept = "What was done is kept; the same command goes on from here." if resumable else "Nothing was written."
        print(f"\nStopped. {kept}", file=sys.stderr)
        raise SystemExit(130) from None
    except (RgdError, OSError, ImportError, ValueError) as error:
        sys.last_value = error
        print(f"rgd: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
