"""Weights and training states as safetensors files, with what they are and where they come from in the metadata.

A file appears whole or not at all, carries a digest of its content, and never runs code when it is read.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from rgd.denoiser import NetworkDenoiser
from rgd.errors import CheckpointError, RgdError, SaveError
from rgd.identity import digest
from rgd.networks import NETWORKS, build, config_class
from rgd.schedule import Schedule

Role = Literal["denoiser", "classifier", "judge", "autoencoder", "table"]


def _is_gone(process: str) -> bool:
    """Whether there is no process of that number; False where that cannot be asked without harm."""
    if os.name != "posix" or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except OSError as error:  # gone, or another user's
        return isinstance(error, ProcessLookupError)
    return False


def write_atomic(path: Path, content: bytes) -> None:
    """Write a whole file beside the target and rename it over it, or raise SaveError and leave the target alone."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
            if _is_gone(left.name.split(".")[-2]):  # by a process that was killed
                left.unlink(missing_ok=True)
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        reason = f"{error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(path.parent).free
            reason += f": {len(content) / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB free; make room and run again"
        raise SaveError(error.errno, f"could not save {path}: {reason}. What was saved before is untouched") from error


def write(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Save tensors and JSON metadata; the same ones give the same bytes. Raises SaveError as `write_atomic`."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    description = json.dumps(dict(metadata))
    record = {"rgd": description, "sha256": digest(tensors, description)}
    content = safetensors.torch.save(tensors, metadata=record)
    # safetensors writes the two entries in an order of chance: write the header again, just as long, in ours.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end]) | {"__metadata__": record}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(end - 8)
    write_atomic(Path(path), content[:8] + text + content[end:])


@contextmanager
def understood(path: Path | str, sealed: bool = False) -> Iterator[None]:
    """Whatever goes wrong when a file's content is made use of, as a CheckpointError that names the file: it may say
    anything at all, and be `sealed` too, with the right digest; or else something is wrong with this machine."""
    try:
        yield
    except (RgdError, FileNotFoundError):
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        why = f"({type(error).__name__}: {error})"
        damaged = f"is damaged, or was not saved by rgd {why}: delete it and make it again"
        whole = f"is whole, but of no use here {why}: rgd did not save it, or torch lacks something on this machine"
        raise CheckpointError(f"{path} {whole if sealed else damaged}") from error


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    """A file of ours, and what goes wrong within as an error that names it."""
    try:
        with understood(path), safe_open(Path(path), framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except SafetensorError as error:
        what = f"{path} is damaged or no safetensors file ({error}): delete it and make it again"
        raise CheckpointError(what) from error


def read_metadata(path: Path | str) -> dict[str, Any]:
    """A file's metadata, without its tensors. Raises CheckpointError for one missing, damaged, or not ours."""
    with _opened(path) as file:
        return json.loads(file.metadata()["rgd"])


def read(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A file's tensors, on the CPU, and metadata. Raises CheckpointError for one missing, altered, or not ours."""
    with _opened(path) as file:
        record = file.metadata()
        metadata = json.loads(record["rgd"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    if record.get("sha256") != digest(tensors, record["rgd"]):
        raise CheckpointError(f"{path} is damaged: its content does not match its digest. Delete it and make it again")
    return tensors, metadata


def check_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """CheckpointError with the source and the first names and shapes of a state dict that do not fit a network."""
    have = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    want = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [f"{name}: file {have.get(name)}, network {want.get(name)}" for name in sorted(have.keys() | want.keys())
             if have.get(name) != want.get(name)]  # fmt: skip
    if wrong:
        raise CheckpointError(
            f"{source} is of another architecture than {type(network).__name__} as configured; {len(wrong)} entries "
            f"differ, such as {'; '.join(wrong[:3])}. Build the network with the configuration it was trained with"
        )


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Load a state dict. CheckpointError as `check_weights`."""
    check_weights(network, tensors, source)
    network.load_state_dict(dict(tensors))


def read_state_dict(path: Path | str, trusted: bool = False) -> dict[str, Tensor]:
    """A plain state dict from .safetensors, or from a PyTorch file such as the published ADM weights.

    PyTorch files are read as weights alone; `trusted=True` permits a full unpickling, which can run any code. Raises
    CheckpointError if the file is missing or damaged, or holds more than weights and is not trusted.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=not trusted)
    except Exception as error:  # unpickling fails in as many ways as there are files
        hint = "" if trusted else "; if it holds more than tensors and you trust its author, pass trusted=True"
        raise CheckpointError(f"{path} could not be read as weights ({type(error).__name__}: {error}){hint}") from error


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, with all that is needed to use it and to know it.

    Attributes:
        network: in evaluation mode.
        schedule: the process it was trained on; None for a judge.
        denoising: {"predicts", "variance"} for a denoiser, and "clip" if it says; else empty.
        classes: the names of the labels, in order.
        provenance: recipe, seed, data digest, images seen, device, hours, date, commit.
    """

    network: Any
    schedule: Schedule | None = None
    denoising: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def identity(self) -> Any:
        """What it computes, and of which classes; not where it came from."""
        return {"use": self.use(), "schedule": self.schedule, "classes": self.classes}

    def save(self, path: Path | str, dtype: torch.dtype | None = None) -> None:
        """Save to a safetensors file; `dtype` (e.g. torch.float16) for the weights of a smaller file.

        Raises SaveError as `write_atomic`, and CheckpointError for a network of a class that is not registered, which
        could not be loaded.
        """
        name = type(self.network).__name__
        if type(self.network) not in [network for _, network in NETWORKS.values()]:
            raise CheckpointError(
                f"a {name} could not be built again from its file: register its class with rgd.networks.register, or "
                "write its state_dict with rgd.checkpoints.write"
            )
        tensors = dict(self.network.state_dict())
        if dtype is not None:
            tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
        if self.schedule is not None:
            tensors["schedule.alpha_bar"] = self.schedule.alpha_bar
            if not self.schedule.timesteps.equal(torch.arange(self.schedule.T)):  # respaced
                tensors["schedule.timesteps"] = self.schedule.timesteps
        metadata = {
            "format": 1,
            "network": name,
            "config": asdict(self.network.config),
            "denoising": self.denoising,
            "classes": self.classes,
            "provenance": self.provenance,
        }
        write(path, tensors, metadata)

    @property
    def role(self) -> Role:
        """What it is for: what its network says, or what goes with it does."""
        known: Role = "denoiser" if self.denoising else "judge" if self.schedule is None else "classifier"
        role: Role = getattr(self.network, "role", known)
        return role

    def use(self) -> Any:
        """What the rest of `rgd` takes: a denoiser, or else the network itself."""
        if self.role != "denoiser":
            return self.network
        if self.schedule is None:
            raise CheckpointError("a denoiser needs the schedule that it was trained on, and this model has none")
        conditional = getattr(self.network.config, "num_classes", None) is not None
        return NetworkDenoiser(self.network, self.schedule, **self.denoising, conditional=conditional)

    @classmethod
    def of(cls, denoise: NetworkDenoiser, classes: tuple[str, ...] = (), **provenance: Any) -> Self:
        """A denoiser, such as `rgd.from_diffusers` makes, with the names of the classes that it was trained on."""
        denoising = {name: getattr(denoise, name) for name in ("predicts", "variance", "clip")}
        return cls(denoise.network, denoise.schedule, denoising, classes, provenance)


def load(path: Path | str, device: torch.device | str = "cpu") -> Model:
    """Load a model saved by `Model.save`. Raises CheckpointError as `read` and `load_weights`, and for a newer file."""
    tensors, metadata = read(path)
    with understood(path, sealed=True):
        try:
            config, options = config_class(metadata["network"]), metadata["config"]
        except KeyError as error:
            raise CheckpointError(
                f"{path} holds no model that is known here (missing or unknown {error}). If the network is of a class "
                "of your own, or an adapter, import its module first; commands do for --network package.module:Class"
            ) from error
        unknown = options.keys() - {f.name for f in fields(config)}
        if unknown:
            raise CheckpointError(f"{path} has options unknown to this version of rgd: {sorted(unknown)}; upgrade rgd")
        described = config(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
        names = [name for name in ("alpha_bar", "timesteps") if f"schedule.{name}" in tensors]
        tables = {name: tensors.pop(f"schedule.{name}") for name in names}
        with _of_at_most(2 * len(tensors) + 100), torch.device("meta"):  # what is described costs nothing yet
            check_weights(build(described), tensors, path)
        network = build(described)
        load_weights(network, {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, path)
        network, schedule = network.eval().requires_grad_(False).to(device), Schedule(**tables) if tables else None
        classes, provenance = tuple(map(str, metadata["classes"])), dict(metadata["provenance"])
        model = Model(network, schedule, dict(metadata["denoising"]), classes, provenance)
        model.use()
    return model


@contextmanager
def _of_at_most(parameters: int) -> Iterator[None]:
    """RuntimeError as soon as a network that is built within has more: a file may describe one of any size."""
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1
        if count > parameters:
            raise RuntimeError("it describes a network of far more weights than it holds")

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()
