"""What a thing is, made of its fields: two things are the same if and only if their identities are equal.

What is kept to be used again (models, samples, scores) is kept under the `key` of all that it depends on. What cannot
be told apart from others of its kind is refused: to find a wrong result again is worse than to compute one twice.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import json
import math
import sys
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgd.errors import IdentityError


def digest(tensors: Mapping[str, Tensor], description: str = "") -> str:
    """SHA-256, in hex, of tensors: their names, shapes, types and values; of a description too, if there is one."""
    found = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return found.hexdigest()


def weights_digest(network: nn.Module) -> str:
    """A short hash of a network's weights."""
    return digest(network.state_dict())[:16]


def key(thing: Any) -> str:
    """A short hash of a thing's identity: the name under which what follows from it is kept."""
    return hashlib.blake2b(json.dumps(identity(thing), sort_keys=True).encode(), digest_size=12).hexdigest()


def identity(thing: Any) -> Any:
    """What a thing is, as a JSON value: the same for equal things in any process, another for any other thing.

    Numbers, words, lists, mappings and tensors are what they hold; a dataclass is its class and the fields by which it
    is compared; a network its configuration and its weights; a function of the user's its code and what the code names.
    Anything else says what it is by a method `identity()`, which returns something of these kinds. Raises IdentityError
    for what cannot tell: a plain object, a closure, a network without configuration.
    """
    if thing is None or isinstance(thing, bool | str | int):
        return thing
    if isinstance(thing, float):  # JSON knows no infinity, and 2.0 equals 2
        return int(thing) if thing.is_integer() else float(thing) if math.isfinite(thing) else {"float": repr(thing)}
    if isinstance(thing, list | tuple):
        return [identity(part) for part in thing]
    if isinstance(thing, Mapping):
        pairs = [[identity(name), identity(value)] for name, value in thing.items()]
        return {"map": sorted(pairs, key=lambda pair: json.dumps(pair[0]))}
    if isinstance(thing, Tensor):
        return {"tensor": digest({"": thing})}
    if callable(getattr(thing, "identity", None)) and not isinstance(thing, type):
        return {**_class(type(thing)), "identity": identity(thing.identity())}
    if is_dataclass(thing) and not isinstance(thing, type):
        if "__dataclass_fields__" not in vars(type(thing)):
            raise _refused(thing, "is of a class that inherits from a dataclass and is none")
        return _class(type(thing)) | {f.name: identity(getattr(thing, f.name)) for f in fields(thing) if f.compare}
    if isinstance(thing, nn.Module):
        if getattr(thing, "config", None) is None:
            raise _refused(thing, "is a network without a configuration")
        return _class(type(thing)) | {"config": identity(thing.config), "weights": weights_digest(thing)} | _hung(thing)
    return _other(thing)


def _other(thing: Any) -> Any:
    if isinstance(thing, type):
        return _class(thing)
    if isinstance(thing, torch.dtype | torch.device):
        return {"is": str(thing)}
    if isinstance(thing, functools.partial):
        return {"partial": [identity(part) for part in (thing.func, thing.args, thing.keywords)]}
    if isinstance(thing, types.MethodType):
        return {"method": thing.__name__, "of": identity(thing.__self__)}
    if isinstance(thing, types.BuiltinFunctionType):
        return {"is": _name(thing)}
    if isinstance(thing, types.FunctionType):
        named = _known(thing.__module__) and "<locals>" not in thing.__qualname__  # else others have the same name
        return {"is": _name(thing)} if named else _function(thing)
    if hasattr(thing, "item") and getattr(thing, "shape", None) == ():  # a number of NumPy's
        return identity(thing.item())
    raise _refused(thing, "is a plain object")


def _name(thing: Any) -> str:
    """A class's or function's name; of ours without the module, which may change and does not matter."""
    ours = (thing.__module__ or "").split(".")[0] == "rgd"
    return f"rgd:{thing.__qualname__}" if ours else f"{thing.__module__}:{thing.__qualname__}"


@functools.cache
def _known(module: str | None) -> bool:
    """Whether a module is ours, Python's, or installed: what is in it has a name that says enough."""
    root = (module or "builtins").split(".")[0]
    if root == "rgd" or root in sys.stdlib_module_names - {"__main__"}:
        return True
    # Not asked of sysconfig: an environment may also see the system's packages, the user's, or another environment's.
    place = Path(getattr(sys.modules.get(root), "__file__", None) or "").parts
    return not {"site-packages", "dist-packages"}.isdisjoint(place)


_WRITTEN = {"__repr__", "__replace__", "__annotate__", "__annotate_func__"}  # by Python; by dataclass, in "<string>"
_asked: list[Any] = []  # classes and functions whose identity is being made: one may name another that names it


def _class(cls: type) -> dict[str, Any]:
    """A class: its name, and, if it is in a file of the user's, the code of its methods and what stands in its body."""
    found: dict[str, Any] = {"is": _name(cls)}
    if cls in _asked:
        return found
    _asked.append(cls)
    try:
        for base in (base for base in cls.__mro__ if not _known(base.__module__)):
            for name, value in sorted(vars(base).items()):
                function = getattr(value, "__func__", getattr(value, "fget", value))
                if isinstance(function, types.FunctionType):
                    if name not in _WRITTEN and function.__code__.co_filename != "<string>":
                        found[f"{base.__qualname__}.{name}"] = identity(function)
                elif not name.startswith("__") and isinstance(value, int | float | str | tuple | list | dict):
                    found[f"{base.__qualname__}.{name}"] = identity(value)
    finally:
        _asked.pop()
    return found


def _hung(network: nn.Module) -> dict[str, Any]:
    """What was hung into a network and may change what it computes, if there is anything."""
    kinds = ("_forward_pre_hooks", "_forward_hooks")
    found = [[n, k, identity(h)] for n, m in network.named_modules() for k in kinds for h in getattr(m, k).values()]
    return {"hooks": found} if found else {}


def _function(function: types.FunctionType) -> Any:
    """A function of the user's: its code as Python has compiled it, its defaults, and whatever of its module it uses.

    So a file that is edited while a run goes on makes no difference to the run, but another version of Python may.
    """
    code = function.__code__
    if set(code.co_freevars) - {"__class__"}:
        raise _refused(function, "is a closure")
    if function in _asked:
        return {"again": function.__qualname__}
    _asked.append(function)
    try:
        steps, names = _steps(code)
        used = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
        for name, value in used.items():
            if isinstance(value, types.ModuleType) and not _known(value.__name__):
                raise _refused(function, f"uses the module {name} as a whole, from which it could take anything")
        return {
            "code": hashlib.sha256(json.dumps(steps).encode()).hexdigest()[:24],
            "defaults": identity([function.__defaults__, function.__kwdefaults__, function.__dict__]),
            "uses": {n: v.__name__ if isinstance(v, types.ModuleType) else identity(v) for n, v in used.items()},
        }
    finally:
        _asked.pop()


def _steps(code: types.CodeType) -> tuple[list[Any], set[str]]:
    """What a function's code does, step by step, without line numbers and docstring, and the names it looks up."""
    steps: list[Any] = []
    names: set[str] = set()
    for step in dis.get_instructions(code):
        value: Any = step.argval
        if isinstance(value, types.CodeType):
            value, inner = _steps(value)
            names |= inner
        if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")):
            names.add(value)
        if step.opname == "IMPORT_NAME" and not _known(value):
            raise _refused(code, f"imports {value} inside: import what it takes from there above it")
        steps.append([step.opname, value if isinstance(value, str | int | float | list | None) else repr(value)])
    return steps, names


def _refused(thing: Any, what: str) -> IdentityError:
    name = getattr(thing, "__qualname__", None) or getattr(thing, "co_name", None) or type(thing).__qualname__
    return IdentityError(
        f"{name} {what}: nothing tells it apart from others of its kind, so that what is made with it could not be "
        "found again without the risk of a wrong one. Make it a dataclass whose fields say what it is, or give it a "
        "method identity() that returns them"
    )


def architecture(network: nn.Module) -> Any:
    """The identity of an untrained network: its configuration, or, where it has none, its modules and their weights'
    shapes. It does not see a `forward` that was changed: give a network of your own a `config`, a frozen dataclass."""
    if getattr(network, "config", None) is not None:
        return {"is": _name(type(network)), "config": identity(network.config)}
    modules = [[name, _name(type(module)), module.extra_repr()] for name, module in network.named_modules()]
    return {"modules": modules, "shapes": [[name, list(p.shape)] for name, p in network.state_dict().items()]}


def differences(theirs: Any, ours: Any, where: str = "") -> list[str]:
    """Where two identities differ, in words: "training.lr was 0.1, is now 0.2"."""
    if isinstance(theirs, dict) and isinstance(ours, dict) and theirs.get("is") == ours.get("is"):
        names = sorted(theirs.keys() | ours.keys())
        return [line for n in names for line in differences(theirs.get(n), ours.get(n), f"{where}.{n}".lstrip("."))]
    return [] if theirs == ours else [f"{where} was {json.dumps(theirs)[:200]}, is now {json.dumps(ours)[:200]}"]
