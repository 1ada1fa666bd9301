"""What a thing is, made of its fields: two things are the same if and only if their identities are equal.

Whatever is kept to be used again (trained models, samples, scores) is kept under the `key` of all that it depends on.
What cannot be told apart from others of its kind is refused, because a wrong result that is found again is worse than
one that is computed twice.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import textwrap
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
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
    is compared; a network its configuration and its weights; a function of a module its code and what the code names.
    Anything else says what it is by a method `identity()`, which returns something of these kinds.

    Raises:
        IdentityError: for what has nothing to tell it apart: a plain object, a closure, a lambda, a network without
            configuration. The message says how to make it tell.
    """
    if thing is None or isinstance(thing, bool | str | int):
        return thing
    if isinstance(thing, float):  # JSON knows no infinity, and 2.0 equals 2
        return int(thing) if thing.is_integer() else repr(float(thing)) if thing - thing != 0 else float(thing)
    if isinstance(thing, list | tuple):
        return [identity(part) for part in thing]
    if isinstance(thing, Mapping):
        pairs = [[identity(name), identity(value)] for name, value in thing.items()]
        return {"map": sorted(pairs, key=lambda pair: json.dumps(pair[0]))}
    if isinstance(thing, Tensor):
        return {"tensor": digest({"": thing})}
    if callable(getattr(thing, "identity", None)) and not isinstance(thing, type):
        return {"is": _name(type(thing)), "identity": identity(thing.identity())}
    if is_dataclass(thing) and not isinstance(thing, type):
        return {"is": _name(type(thing))} | {
            f.name: identity(getattr(thing, f.name)) for f in fields(thing) if f.compare
        }
    if isinstance(thing, nn.Module):
        return {"is": _name(type(thing)), "config": identity(_config(thing)), "weights": weights_digest(thing)}
    return _other(thing)


def _other(thing: Any) -> Any:
    if isinstance(thing, type | types.BuiltinFunctionType | torch.dtype | torch.device):
        return {"is": _name(thing) if hasattr(thing, "__qualname__") else str(thing)}
    if isinstance(thing, functools.partial):
        return {"partial": [identity(part) for part in (thing.func, thing.args, thing.keywords)]}
    if isinstance(thing, types.MethodType):
        return {"method": thing.__name__, "of": identity(thing.__self__)}
    if isinstance(thing, types.FunctionType):
        return _function(thing)
    if hasattr(thing, "item") and getattr(thing, "shape", None) == ():  # a number of NumPy's
        return identity(thing.item())
    raise _refused(thing, "is a plain object")


def _name(thing: Any) -> str:
    """A class's or function's name; of ours without the module, which may change and does not matter."""
    ours = thing.__module__.split(".")[0] == "rgd"
    return f"rgd:{thing.__qualname__}" if ours else f"{thing.__module__}:{thing.__qualname__}"


def _config(network: nn.Module) -> Any:
    config = getattr(network, "config", None)
    if config is None:
        raise _refused(network, "is a network without a configuration")
    return config


def _function(function: types.FunctionType) -> Any:
    """A function by its code, without comments and docstring, its defaults, and whatever else of its module it uses."""
    code = function.__code__
    if code.co_freevars or code.co_name == "<lambda>":
        raise _refused(function, "is a lambda" if code.co_name == "<lambda>" else "is a closure")
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError) as error:
        raise _refused(function, "has no source that could be read") from error
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:]
    used = {name: function.__globals__[name] for name in sorted(_names(code)) if name in function.__globals__}
    return {
        "function": ast.unparse(tree),
        "defaults": identity([function.__defaults__, function.__kwdefaults__]),
        "uses": {
            name: value.__name__ if isinstance(value, types.ModuleType) else identity(value)
            for name, value in used.items()
            if value is not function  # one that calls itself
        },
    }


def _names(code: types.CodeType) -> set[str]:
    """The names that a function's code, and that of functions inside it, looks up in its module."""
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}.union(*inner)


def _refused(thing: Any, what: str) -> IdentityError:
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
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
