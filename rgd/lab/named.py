"""Models of others by name: what commands and comparisons take wherever they take a file or a name of this project's.

- `timm:resnet10t.c3_in1k`: the library's own weights, downloaded;
- `torchvision:resnet18,weights=robust.pt,classes=cifar10,size=32`;
- `diffusers:google/ddpm-cifar10-32`, or a folder: its U-Net with its scheduler;
- `package.module:function`: whatever a function of your own returns.

A name may be followed by options: `weights`, a file that `rgd.load_from` reads; `classes`, a known data set or a file
with a name on each line; and how a classifier sees: `size`, `mean`, `std` (numbers with colons between them) and
`interpolation`, see `rgd.Sees`. A library or module is imported because the user names it: no file does so.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rgd.adapters import CleanClassifier, from_diffusers, from_timm, from_torchvision, load_from
from rgd.denoiser import Denoiser, NetworkDenoiser
from rgd.errors import RgdError
from rgd.guidance import Gradient, grad_log_prob, grad_log_prob_of_x0
from rgd.lab.datasets import KNOWN
from rgd.training.checkpoints import Model

LIBRARIES = ("timm", "torchvision", "diffusers")
OPTIONS = ("weights", "classes", "size", "mean", "std", "interpolation")
SPEC = re.compile(rf"({'|'.join(LIBRARIES)}):([^,]+)((?:,.*)?)|([A-Za-z_][\w.]*):([A-Za-z_]\w*)((?:,\w+=.*)?)")


def is_spec(what: Path | str) -> bool:
    """Whether that names a model of others; a file that is there is a file."""
    return SPEC.fullmatch(_text(what)) is not None and not Path(what).exists()


def model(what: Path | str) -> Model:
    """The model of others that is named so, in evaluation mode; a classifier of clean images has no schedule.

    Raises:
        RgdError: for an unknown option or name, classes that are not as many as the network's, or a function that
            returns something else.
        CheckpointError: for weights that do not fit.
    """
    library, name, rest, module, function, more = SPEC.fullmatch(_text(what)).groups()  # type: ignore[union-attr]
    parts = [part.partition("=") for part in (rest or more or "").split(",")[1:]]
    options = {option: value for option, _, value in parts}
    if unknown := options.keys() - set(OPTIONS):
        raise RgdError(f"{what}: there is no option {', '.join(sorted(unknown))}; there are {', '.join(OPTIONS)}")
    classes = class_names(options["classes"]) if "classes" in options else ()
    try:
        if module:
            made, spec = _own(module, function)
            names: Sequence[str] = ()
        else:
            maker = {"timm": _timm, "torchvision": _torchvision, "diffusers": _diffusers}[library]
            (made, names), spec = maker(name, len(classes) if "weights" in options else None), f"{library}:{name}"
    except (ImportError, AttributeError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise RgdError(f"there is no {what}: {type(error).__name__}: {error}") from error
    if isinstance(made, Model):
        return made
    if "weights" in options and (left := load_from(made.network, options["weights"])):
        warnings.warn(f"{what}: the file holds more than the network takes: {', '.join(left)}", stacklevel=2)
    if isinstance(made, NetworkDenoiser):
        return Model.of(made, classes, spec=str(what))
    if classes and names and len(classes) != len(names):
        raise RgdError(f"{what}: {len(classes)} classes are named, and the network knows {len(names)}")
    made.spec, made.sees = spec, replace(made.sees, **_seen(options))
    return Model(made, None, {}, tuple(classes or names), {"spec": str(what)})


def gradient(guide: Model, denoise: Denoiser) -> Gradient:
    """By what a classifier guides: its own gradient, or, where it never saw noise, the one through the estimate x0."""
    clean = isinstance(guide.network, CleanClassifier)
    return grad_log_prob_of_x0(guide.network, denoise) if clean else grad_log_prob(guide.network)


def class_names(where: str) -> tuple[str, ...]:
    """Of a known data set, or the lines of a file. RgdError if it is neither."""
    if where in KNOWN:
        return KNOWN[where][1]
    if not Path(where).is_file():
        raise RgdError(f"classes={where} is neither a file with a name on each line nor one of {', '.join(KNOWN)}")
    return tuple(Path(where).read_text().splitlines())


def look_here() -> None:
    """Let modules that the user names be found in the folder they are in, too."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _text(what: Path | str) -> str:
    return what.as_posix() if isinstance(what, Path) else what


def _seen(options: dict[str, str]) -> dict[str, Any]:
    """The fields of `Sees` among the options; a size may be one side."""
    found: dict[str, Any] = {o: tuple(map(float, options[o].split(":"))) for o in ("mean", "std") if o in options}
    if "size" in options:
        sides = [int(side) for side in options["size"].split(":")]
        found["size"] = (sides[0], sides[-1])
    return found | {o: options[o] for o in ("interpolation",) if o in options}


# Each: the name, and the number of classes where the weights are the user's -> what was made, and its classes' names.


def _timm(name: str, own: int | None) -> tuple[CleanClassifier, Sequence[str]]:
    import timm
    from timm.data import ImageNetInfo, infer_imagenet_subset

    settings: dict[str, Any] = {"num_classes": own} if own else {}
    network: Any = timm.create_model(name, pretrained=own is None, **settings)
    subset = None if own else infer_imagenet_subset(network)
    called = ImageNetInfo(subset).index_to_description if subset else str
    return from_timm(network), tuple(map(called, range(network.num_classes)))


def _torchvision(name: str, own: int | None) -> tuple[CleanClassifier, Sequence[str]]:
    from torchvision import models

    weights: Any = models.get_model_weights(name).DEFAULT
    settings: dict[str, Any] = {"num_classes": own} if own else {}
    network = models.get_model(name, weights=weights if own is None else None, **settings)
    return from_torchvision(network, weights.transforms()), () if own else weights.meta["categories"]


def _diffusers(name: str, own: int | None) -> tuple[NetworkDenoiser, Sequence[str]]:
    """Not as a pipeline, whose folder may name code to be run: its U-Net, and a scheduler of the library's own."""
    import diffusers

    scheduler = diffusers.DDPMScheduler.load_config(name, subfolder="scheduler")["_class_name"]
    kind = getattr(diffusers, scheduler, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise ValueError(f"{scheduler} is no scheduler of diffusers")
    unet = diffusers.UNet2DModel.from_pretrained(name, subfolder="unet")
    return from_diffusers(unet.eval().requires_grad_(False), kind.from_pretrained(name, subfolder="scheduler")), ()


def _own(module: str, function: str) -> tuple[Any, Any]:
    """What a function returns, and as its identity the function, which is its name and its code."""
    look_here()
    maker = getattr(import_module(module), function)
    made = maker()
    if not isinstance(made, CleanClassifier | NetworkDenoiser | Model):
        wanted = "an rgd.CleanClassifier, a NetworkDenoiser or a checkpoints.Model"
        raise ValueError(f"it returned a {type(made).__name__}, where {wanted} is needed")
    return made, {"name": f"{module}:{function}", "function": maker}
