"""Chapters on a GPU that is not there: does every tensor lie where it should?

The usual way for a notebook to fail on a GPU is a tensor that was left on the CPU, and a machine without a GPU never
notices. Here PyTorch gets a second device, named "pretend". Its tensors are ordinary ones in disguise, and an operation
on tensors of both devices fails as it would on a GPU. `rgd` takes that device for the best there is.

`python -m tools.pretend_gpu` runs every chapter so, or those that are named. It checks no number and measures no speed.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

from rgd import cli, demo, processes
from rgd.book import profile as profiles
from rgd.experiments import truth

ROOT = Path(__file__).resolve().parent.parent
NAME = "pretend"

# What a GPU accepts from the CPU beside its own tensors: copies, and the indices of a lookup.
BETWEEN = {"aten::copy_", "aten::_to_copy", "aten::index", "aten::index_put", "aten::index_put_"}


class Pretend(torch.Tensor):
    """A tensor that says it is on the pretended device, around the one on the CPU that holds the numbers."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> Pretend:
        layout = dict(strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype)
        disguised = torch.Tensor._make_wrapper_subclass(cls, numbers.shape, device=f"{NAME}:0", **layout)  # type: ignore
        disguised.numbers = numbers
        return disguised

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return perform(operation, *args, **(kwargs or {}))

    def __repr__(self, **_: Any) -> str:
        return f"{self.numbers!r} on {NAME}"


def perform(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation on the real tensors, and its result in disguise if it belongs on the device.

    Raises:
        RuntimeError: for tensors of both devices; numbers without dimensions may be anywhere, as on a GPU.
    """
    name = operation._schema.name
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    disguised = any(isinstance(x, Pretend) for x in tensors)
    strangers = [x for x in tensors if not isinstance(x, Pretend) and x.ndim > 0]
    if disguised and strangers and name not in BETWEEN:
        raise RuntimeError(f"{name} got tensors on {NAME} and on the CPU, {tuple(strangers[0].shape)}")
    if name.startswith("aten::index") and not isinstance(args[0], Pretend) and disguised:
        raise RuntimeError(f"{name}: a tensor on the CPU is indexed by one on {NAME}")

    def bare(x: Any) -> Any:
        return x.numbers if isinstance(x, Pretend) else torch.device("cpu") if isinstance(x, torch.device) else x

    here = isinstance(args[0], Pretend) if name == "aten::copy_" else disguised
    if kwargs.get("device") is not None:
        here = torch.device(kwargs["device"]).type == NAME
        kwargs["device"] = torch.device("cpu")
    result = operation(*pytree.tree_map(bare, args), **pytree.tree_map(bare, kwargs))
    first = next(iter(operation._schema.returns), None)
    if first is not None and first.alias_info is not None and first.alias_info.is_write:  # done in place
        return kwargs["out"] if "out" in kwargs else args[0]
    return pytree.tree_map(lambda x: Pretend(x) if here and isinstance(x, torch.Tensor) else x, result)


class _Backend:
    """What PyTorch asks of a device's module."""

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed(self, seed: int) -> None: ...

    def manual_seed_all(self, seed: int) -> None: ...

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.zeros(1)

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None: ...


class _Generator(torch.Generator):
    """Randomness for the pretended device comes from the CPU."""

    def __new__(cls, device: torch.device | str = "cpu") -> _Generator:
        return super().__new__(cls, device="cpu" if torch.device(device).type == NAME else device)


_library = torch.library.Library("_", "IMPL")


def install() -> None:
    """Make the device, and make `rgd` take it for the best. There is no way back: use a process of its own.

    Raises:
        RuntimeError: if this PyTorch is too old to have devices written in Python.
    """
    setup = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if setup is None:
        raise RuntimeError(f"torch {torch.__version__} has no devices written in Python, as newer ones have")
    setup(NAME, backend_module=_Backend())
    _library.fallback(perform, "PrivateUse1")
    torch.Generator = _Generator  # type: ignore
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a disguise cannot change its type underneath
    for module in (processes, profiles, demo, cli, truth):
        module.best_device = lambda: torch.device(NAME)  # type: ignore
    processes.processes.cache_clear()


def run(chapter: Path) -> None:
    """Run a chapter's cells in this process, showing nothing but its progress.

    Raises:
        Exception: whatever a cell raises, with the cell's number in a note.
    """
    cells = [c for c in json.loads(chapter.read_text())["cells"] if c["cell_type"] == "code"]
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *shown: None}
    began = time.perf_counter()
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if "%pip" in source:
            continue
        *body, last = ast.parse(source).body
        try:
            if isinstance(last, ast.Expr):
                exec(compile(ast.Module(body, []), f"<cell {number}>", "exec"), names)
                shown = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)
                for form in ("_repr_png_", "_repr_html_"):
                    getattr(shown, form, lambda: None)()
            else:
                exec(compile(source, f"<cell {number}>", "exec"), names)
        except Exception as error:
            error.add_note(f"in {chapter.name}, code cell {number}:\n{source}")
            raise
    print(f"{chapter.name}: {len(cells) - 1} cells in {time.perf_counter() - began:.0f} s")


def main() -> None:
    """Run the chapters that are named, or all."""
    os.environ.setdefault("RGD_PROFILE", "ci")
    install()
    for chapter in [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb")):
        run(chapter)


if __name__ == "__main__":
    main()
