"""Damaged and hostile files: thousands of mutations of every kind of file that rgd reads.

`python -m tools.fuzz` changes bytes, cuts, doubles and rewrites headers, and, every second time, changes what a file
says and seals it again; then it reads the file as a user's command would. Each must be read, or refused by one of rgd's
own errors, in bounded time and memory. What else happens is told, with the number by which it can be had again. The
counts are written to `results/fuzz.json`.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from tqdm import tqdm

import rgd
from rgd.errors import RgdError
from rgd.experiments import Comparison, Entry
from rgd.lab import bench, datasets, samples
from rgd.training import checkpoints
from rgd.training.checkpoints import Model

SECONDS, GIGABYTES = 20, 4  # at most, for one file; memory beyond what the process had
SHAPE: dict[str, Any] = dict(image_size=8, in_channels=1)
SMALL: dict[str, Any] = dict(model_channels=8, num_res_blocks=1, channel_mult=(1,), attention_resolutions=())
NAMES = tuple("0123456789")
SCHEDULE, TRAINING = rgd.schedule.linear(50), rgd.Training(steps=3, batch_size=4, ema=0.9)


@dataclass(frozen=True)
class Kind:
    """A kind of file: `make` writes a good one to a path in a folder of its own, `read` reads it."""

    make: Callable[[Path], None]
    read: Callable[[Path], Any]


def unet() -> Any:
    """A small denoiser."""
    return rgd.build(rgd.UNetConfig(**SHAPE, **SMALL, out_channels=1))


def make_model(path: Path) -> None:
    """A denoiser's file."""
    Model(unet(), SCHEDULE, {"predicts": "eps", "variance": "large"}, NAMES).save(path)


def make_samples(path: Path) -> None:
    """What `rgd sample` writes, beside a judge."""
    judge = rgd.build(rgd.JudgeConfig(**SHAPE, out_channels=10, width=4, features=4))
    Model(judge, None, {}, NAMES).save(path.parent / "judge.safetensors")
    tensors = {"images": rgd.noise((40, 1, 8, 8), seed=1).clamp(-1, 1), "labels": torch.arange(40) % 10}
    checkpoints.write(path, tensors, {"classes": NAMES, "made": {"data": "digits"}})


def read_samples(path: Path) -> Any:
    """As `rgd evaluate` does."""
    return samples.score(path, path.parent / "judge.safetensors", False, "digits", ("accuracy",), 2, None)


def train(path: Path) -> Any:
    """To the end of a short training, from the state that is there."""
    *_, step = rgd.fit(
        unet(), rgd.objectives.Denoising(), datasets.load("digits").take(20), SCHEDULE, TRAINING, path.parent
    )
    return step


def make_data(path: Path) -> None:
    """A saved data set."""
    datasets.save(datasets.load("digits").take(20), path)


def make_weights(path: Path) -> None:
    """A PyTorch file of weights."""
    torch.save({"state_dict": {f"module.{k}": v for k, v in unet().state_dict().items()}}, path)


PLAN = Comparison("digits", "t/judge", (Entry("plain", "t/ddpm"),))


def make_results(path: Path) -> None:
    """A file of results, of which one cell is kept."""
    cell = {"name": "plain", "scale": 0.0, "fd": {"value": 1.0, "low": 0.5, "high": 1.5, "n": 4, "method": "m"}}
    results = {
        "kind": "comparison", "keys": {"t/judge": "a", "t/ddpm": "b"}, "weights": {}, "made": {}, "before": [],
        "sweep": [{**cell, "kept_as": "scores/0123456789abcdef01234567"}], "seconds": 3, "provenance": {"date": "2026",
        "commit": "c"},
    }  # fmt: skip
    path.write_text(json.dumps(bench.sealed(results)))


def read_results(path: Path) -> Any:
    """As an experiment that goes on from it does."""
    return bench.Bench(PLAN, path, runs=path.parent / "runs", progress=False).key("t/judge")


KINDS = {
    "model.safetensors": Kind(make_model, lambda path: checkpoints.load(path).use()),
    "state.safetensors": Kind(train, train),
    "samples.safetensors": Kind(make_samples, read_samples),
    "data-train.npz": Kind(make_data, lambda path: datasets.load(path.parent / "data").x0()),
    "weights.pt": Kind(make_weights, lambda path: rgd.load_from(unet(), path)),
    "results.json": Kind(make_results, read_results),
}


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Another file: one to three changes of its bytes or of its header's words."""
    for _ in range(dice.randint(1, 3)):
        content = dice.choice(CHANGES)(content, dice) or b"\0"
    return content


def flip(content: bytes, dice: random.Random) -> bytes:
    """A few bytes are others; half of the time near the beginning, where headers are."""
    changed = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        changed[dice.randrange(min(len(content), dice.choice((400, len(content)))))] = dice.randrange(256)
    return bytes(changed)


def cut(content: bytes, dice: random.Random) -> bytes:
    """The end is missing."""
    return content[: dice.randrange(len(content))]


def double(content: bytes, dice: random.Random) -> bytes:
    """A part stands twice, or where another was."""
    a, b, c = (dice.randrange(len(content)) for _ in range(3))
    return content[:c] + content[min(a, b) : max(a, b)] + content[c + dice.randrange(2) * abs(a - b) :]


def word(content: bytes, dice: random.Random) -> bytes:
    """A number, a name or a bracket of a text is another, as somebody would do who knows the format."""
    head = content[:4000]
    others = [b"-1", b"0", b"null", b"1e999", b"NaN", b"99999999999", b"[]", b"{}", b'"F64"', b'"../../x"', b"true"]
    marks = [i for i in range(len(head)) if head[i : i + 1] in b'0123456789"[{,:']
    if not marks:
        return flip(content, dice)
    at, new = dice.choice(marks), dice.choice(others)
    # Of the same length in all, so that what says how long the header is still holds, half of the time.
    return content[:at] + new + content[at + (len(new) if dice.random() < 0.5 else 1) :]


CHANGES = (flip, cut, double, word, word)
ODD: tuple[Any, ...] = (None, -1, 0, 10**12, 1e308, "", "x", "../../x", [], {}, [[]], True, {"is": "rgd:L2"}, [1, "a"])


def reseal(path: Path, dice: random.Random) -> None:
    """A whole and sealed file that says something else: one of its values, or one of its tensors, is another."""
    if path.suffix == ".json":
        told = json.loads(path.read_text())
        altered(told, dice)
        path.write_text(json.dumps(bench.sealed(told)))
        return
    tensors, about = checkpoints.read(path)
    if dice.random() < 0.6:
        altered(about, dice)
    else:
        name = dice.choice(sorted(tensors))
        tensor = tensors.pop(name)
        others = [tensor[None], tensor.flatten()[:-1], tensor.double(), tensor.long(), tensor * float("nan"), -tensor]
        if choice := dice.randrange(len(others) + 1):
            tensors[name if dice.random() < 0.8 else name[:-1]] = others[choice - 1].contiguous()
    checkpoints.write(path, tensors, about)


def altered(tree: Any, dice: random.Random) -> None:
    """One value somewhere in a JSON tree is another, or gone."""
    while True:
        places = list(tree) if isinstance(tree, dict) else range(len(tree))
        place = dice.choice(list(places))
        inner = tree[place]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.7:
            tree = inner
            continue
        if isinstance(tree, dict) and dice.random() < 0.2:
            del tree[place]
        else:
            tree[place] = dice.choice(ODD)
        return


def run(name: str, count: int, first: int, folder: Path, told: Callable[[str], None]) -> Counter[str]:
    """Mutations of one kind of file: how often each error came, "read" for none, "other" for what must not happen."""
    kind, found = KINDS[name], Counter[str]()
    kind.make(folder / name)
    good = (folder / name).read_bytes()
    kind.read(folder / name)
    for number in tqdm(range(first, first + count), name, unit="file"):
        for rest in folder.glob("state.*"):
            rest.unlink()
        dice = random.Random(f"{name} {number}")
        (folder / name).write_bytes(good)
        if number % 2 and (folder / name).suffix in (".safetensors", ".json"):
            reseal(folder / name, dice)
        else:
            (folder / name).write_bytes(mutated(good, dice))
        signal.alarm(SECONDS)
        try:
            kind.read(folder / name)
            outcome = "read"
        except (RgdError, ValueError, FileNotFoundError) as error:
            ours = isinstance(error, RgdError) or type(error) in (ValueError, FileNotFoundError)
            outcome = type(error).__name__ if ours and "/rgd/" in _raised_in(error) else "other"
            if outcome == "other":
                told(f"{name} {number}: {type(error).__name__}: {str(error)[:200]}")
        except Exception as error:
            outcome = "other"
            told(f"{name} {number}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
        found[outcome] += 1
    return found


def _raised_in(error: BaseException) -> str:
    """The file whose line raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename if trace is not None else ""


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def limited() -> None:
    """No file may take more time or memory than is meant."""
    signal.signal(signal.SIGALRM, _too_long)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + GIGABYTES * 2**30, resource.RLIM_INFINITY))


def main(
    count: int = 10_000, first: int = 0, only: str | None = None, out: Path | None = Path("results/fuzz.json")
) -> None:
    """Try them, print and write. Kinds of which the file of results has as many from this first one are done.

    Args:
        count: mutations of each kind of file.
        first: the number of the first.
        only: a kind, whatever the file has; it is not written.
        out: the file of results.
    """
    from rgd.lab.origin import provenance

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    limited()
    known = json.loads(out.read_text()) if out is not None and out.exists() else {}
    same = (known.get("count"), known.get("first")) == (count, first)
    counts: dict[str, dict[str, int]] = known["kinds"] if same and only is None else {}
    for name in [name for name in KINDS if name not in counts] if only is None else [only]:
        with tempfile.TemporaryDirectory() as folder:
            found = run(name, count, first, Path(folder), tqdm.write)
        counts[name] = dict(sorted(found.items()))
        print(name, counts[name])
        if out is not None and only is None:
            told = {"count": count, "first": first, "kinds": counts, "provenance": provenance()}
            checkpoints.write_atomic(out, json.dumps(told, indent=1).encode())
    if any("other" in found for found in counts.values()):
        raise SystemExit("something else than rgd's own errors came; see above")


if __name__ == "__main__":
    tyro.cli(main)
