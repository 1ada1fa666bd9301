"""The least work that gives a right sample: guided digits by today's build, an older one, and a plain loop.

`python -m benchmarks.guided OLD` needs a checkout of the build to compare with (`git worktree add OLD ad7a990`). First
every way to sample is swept over its scales on one seed, which gives the table of levers; then the ways that are
compared draw on other seeds, in turns, each in a process of its own that keeps its models and waits while others work.
Of each repetition the time is kept, and the images of all are scored: today's minus the older build's, image by image.
How much memory each takes is seen apart. There are two rounds of turns, the second on new seeds and at a scale that the
first chose. Last, on MNIST, a smaller guide draws beside the vanilla one. Everything is written to
`results/guided-DATA.json` as it comes, and what is there already is not done again. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

import rgd  # this one, or the older: the worker below runs with both

ROOT = Path(__file__).resolve().parent.parent
METRICS = ("fd", "recall", "accuracy")


@dataclass(frozen=True)
class Way:
    """A way to draw guided images.

    Attributes:
        build: "new" for this one, "old" for the other checkout, "loop" for a plain one around the same networks with
            diffusers' DDIMScheduler and a gradient written by hand.
        sampler, steps, eta: see `rgd.samplers`.
        scales: of guidance, to try.
        lowest: the t from which on the guide is asked.
        every: at which steps.
        layout: whether the denoiser's pixels keep their channels together (PyTorch's channels_last).
        compiled: whether the denoiser is compiled by inductor, its weights folded in.
        bf16: whether the denoiser computes in bfloat16, where autocast lets it.
        batch_size: images at a time.
        guide: another classifier than that of the run, a file.
    """

    build: str
    sampler: str
    steps: int | str
    scales: tuple[float, ...]
    eta: float = 0.0
    lowest: int = 0
    every: int = 1
    layout: bool = False
    compiled: bool = False
    bf16: bool = False
    batch_size: int = 250
    guide: str = ""


HALF = Path("runs/guided/half/model.safetensors")
FIRST, CHOSEN = "ad7a990: DDIM, 25 steps", "6 steps from t = 60"


def levers(data: str) -> dict[str, Way]:
    """Each with those before it, until CHOSEN; after that, other ways to take six steps or fewer."""
    old = Way("old", "ddim", 25, (2.0, 2.4, 2.8))
    fast = Way("new", "dpm_solver", "6 from 60", (1.7, 1.9, 2.2), 0.7, 70, layout=True)
    if data == "mnist":
        return {
            FIRST: old,
            "the layout of pixels": replace(old, build="new", scales=(2.4,), layout=True),
            "fresh noise (eta 1)": replace(old, build="new", eta=1.0, scales=(1.7, 2.0), layout=True),
            "DPM-Solver++, 12 steps": replace(fast, steps=12, eta=0.0, lowest=0, scales=(2.0, 2.4)),
            "and quadratic times": replace(fast, steps="quadratic12", eta=0.0, lowest=0, scales=(2.0, 2.4)),
            "and fresh noise (eta 0.7)": replace(fast, steps="quadratic12", lowest=0, scales=(1.7, 2.0)),
            "8 steps": replace(fast, steps="quadratic8", lowest=0, scales=(1.7, 2.0)),
            "8 steps that end at t = 40": replace(fast, steps="quadratic8 from 40", lowest=0, scales=(1.7, 1.9)),
            "and the guide from t = 70 on": replace(fast, steps="quadratic8 from 40", scales=(1.9,)),
            CHOSEN: fast,
            "without fresh noise": replace(fast, eta=0.0, scales=(1.9, 2.4)),
            **others(fast, 1.9, (1.7, 1.9)),
        }
    old, fast = replace(old, scales=(12.0, 16.0, 23.0)), replace(fast, eta=0.0, scales=(16.0, 19.0, 23.0))
    return {
        FIRST: old,
        "the layout of pixels": replace(old, build="new", scales=(16.0,), layout=True),
        "fresh noise (eta 1)": replace(old, build="new", eta=1.0, scales=(12.0, 16.0), layout=True),
        "DPM-Solver++, 12 steps": replace(fast, steps=12, lowest=0, scales=(16.0,)),
        "and quadratic times": replace(fast, steps="quadratic12", lowest=0, scales=(16.0,)),
        "8 steps that end at t = 40": replace(fast, steps="quadratic8 from 40", lowest=0, scales=(16.0,)),
        CHOSEN: fast,
        "with fresh noise (eta 0.7)": replace(fast, eta=0.7, scales=(12.0, 16.0)),
        **others(fast, 16.0, (16.0, 19.0)),
    }


def others(fast: Way, scale: float, scales: tuple[float, ...]) -> dict[str, Way]:
    """The fast way with one thing changed."""
    return {
        "5 steps": replace(fast, steps="5 from 60", scales=scales),
        "the guide every second step": replace(fast, every=2, scales=(scale,)),
        "compiled": replace(fast, compiled=True, scales=(scale,)),
        "the U-Net in bfloat16": replace(fast, bf16=True, scales=(scale,)),
        "batches of 64": replace(fast, batch_size=64, scales=(scale,)),
    }


# The worker: one process for each build. It knows the names that both builds have.


def plain_loop(denoise: Any, classifier: Any, scale: float, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """What one writes with diffusers, from x_T (B, C, H, W)."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=True)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        times = torch.full((len(x),), int(t))
        with torch.no_grad():
            eps = denoise.network(x, times)
        with torch.enable_grad():
            xt = x.detach().requires_grad_()
            chosen = classifier(xt, times).log_softmax(1)[torch.arange(len(y)), y].sum()
            gradient = torch.autograd.grad(chosen, xt)[0]
        eps = eps - (1 - scheduler.alphas_cumprod[t]).sqrt() * scale * gradient
        x = scheduler.step(eps, t, x).prev_sample
    return x


def in_bf16(network: Any, xt: Tensor, t: Tensor) -> Tensor:
    """The network's output, computed in bfloat16 where autocast lets it."""
    with torch.autocast("cpu", torch.bfloat16):
        return network(xt, t).float()


def ready(way: Way, data: str, guide: str) -> Any:
    """(scale, n, seed) -> images: a way, its models loaded, compiled and called once."""
    denoise, classifier = rgd.zoo.load(f"{data}/ddpm", "cpu"), rgd.zoo.load(f"{data}/{guide}", "cpu")
    shape = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}[data]
    if way.guide:
        classifier = rgd.checkpoints.load(way.guide, "cpu").network
    if way.layout:
        denoise.network.to(memory_format=torch.channels_last)
    if way.compiled:
        torch._inductor.config.freezing = True  # of the denoiser alone: of a gradient it changed the numbers
        denoise = replace(denoise, network=torch.compile(denoise.network))
    if way.bf16:
        denoise = replace(denoise, network=partial(in_bf16, denoise.network))
    gradient = rgd.grad_log_prob(classifier)
    if way.every > 1:
        gradient = rgd.seldom(gradient, way.every)

    def draw(scale: float, n: int, seed: int) -> Tensor:
        y = torch.arange(n) % 10
        if way.build == "loop":
            starts = range(0, n, way.batch_size)
            noise = [rgd.noise((min(way.batch_size, n - i), *shape), seed, i) for i in starts]
            loop = partial(plain_loop, denoise, classifier, scale, steps=int(way.steps))
            return torch.cat([loop(x, y[i : i + way.batch_size]) for i, x in zip(starts, noise)])
        sampler: Any = getattr(rgd, way.sampler)
        sampler = partial(sampler, eta=way.eta) if way.eta else sampler
        guided = rgd.guide(rgd.unconditional(denoise), gradient, scale, (way.lowest, float("inf")))
        return rgd.sample(
            guided, (n, *shape), y, sampler=sampler, steps=way.steps, seed=seed, batch_size=way.batch_size,
            progress=False,
        )  # fmt: skip

    draw(2.0, way.batch_size, 99)
    return draw


def peak() -> int:
    """The most memory that this process ever held, in bytes. Not `getrusage`'s: that counts from before it was itself,
    when it still was a copy of the process that started it."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def work(data: str, guide: str, told: Any, say: Any) -> None:
    """Answers requests, a line of JSON each, until there are no more."""
    known: dict[str, Any] = {}
    for line in told:
        asked = json.loads(line)
        key = json.dumps(asked["way"])
        if key not in known:
            known = {key: ready(Way(**{**asked["way"], "scales": ()}), data, guide)}
        began = time.perf_counter()
        images = known[key](asked["scale"], asked["n"], asked["seed"])
        took = time.perf_counter() - began
        torch.save(images, asked["to"])
        print(json.dumps({"seconds": took, "peak": peak()}), file=say, flush=True)


class Worker:
    """A process that draws with one build."""

    def __init__(self, tree: Path, data: str, guide: str) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", data, guide]
        env = {**os.environ, "PYTHONPATH": str(tree)}
        self.process = subprocess.Popen(
            command, cwd=tree, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def draw(self, way: Way, scale: float, n: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """Images, and what they took."""
        with tempfile.TemporaryDirectory() as folder:
            told = {"way": asdict(way), "scale": scale, "n": n, "seed": seed, "to": f"{folder}/images.pt"}
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(told) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"the worker of {way.build} ended; what it said is above")
            return torch.load(told["to"]), json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


# What asks the workers, and scores.


class Scorer:
    """The judge's view of images, and of the training images that they are compared with."""

    def __init__(self, data: str) -> None:
        from rgd import measure
        from rgd.lab import datasets

        self.measure, self.judge = measure, rgd.zoo.load(f"{data}/judge", "cpu")
        self.reference = measure.extract(datasets.load(data).take(10_000), self.judge)

    def see(self, images: Tensor) -> Any:
        return self.measure.extract(images, self.judge, labels=torch.arange(len(images)) % 10)

    def score(self, images: Tensor, metrics: tuple[str, ...] = METRICS) -> dict[str, Any]:
        seen = self.see(images)
        return {name: self.measure.estimate(name, seen, self.reference).to_json() for name in metrics}

    def difference(self, a: Tensor, b: Tensor) -> dict[str, Any]:
        """a minus b, image by image."""
        seen = self.see(a), self.see(b)
        return {name: self.measure.paired_difference(name, *seen, self.reference).to_json() for name in METRICS}


@dataclass
class Record:
    """The file of results, written whenever there is more."""

    path: Path
    kept: dict[str, Any]
    now: dict[str, Any]

    @classmethod
    def open(cls, path: Path, provenance: dict[str, Any], about: dict[str, Any]) -> Record:
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.get("about") != about:
            kept = {"about": about, "sweep": [], "turns": [], "memory": [], "rounds": []}
        return cls(path, {"provenance": provenance, **kept}, provenance)

    def find(self, rows: str, **wanted: Any) -> dict[str, Any] | None:
        return next((row for row in self.kept[rows] if wanted.items() <= row.items()), None)

    def add(self, rows: str, **row: Any) -> None:
        self.kept[rows].append(row)
        self.kept["provenance"] = self.now
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.kept, indent=1))


def plain(way: Way) -> dict[str, Any]:
    """As JSON gives it back; what came later is told only of ways that have it, so that older rows still count."""
    told = {name: value for name, value in asdict(way).items() if name != "guide" or value}
    return {**json.loads(json.dumps(told)), "scales": None}


def sweep(record: Record, start: Any, scorer: Scorer, data: str, samples: int) -> None:
    """Every lever at each of its scales, on seed 0."""
    with start("new") as new, start("old") as old:
        for name, way in levers(data).items():
            for scale in way.scales:
                cell: dict[str, Any] = {"name": name, "way": plain(way), "scale": scale}
                if record.find("sweep", **cell):
                    continue
                images, took = (old if way.build == "old" else new).draw(way, scale, samples, 0)
                row = {**cell, "seconds": took["seconds"], "images": samples, **scorer.score(images)}
                record.add("sweep", **row)
                print(f"{name:30} x{scale:<4g} {1e3 * took['seconds'] / samples:6.1f} ms an image, FD-judge "
                      f"{row['fd']['value']:6.2f}, accuracy {row['accuracy']['value']:.4f}", flush=True)  # fmt: skip


def way(record: Record, name: str) -> Way:
    """A lever, as it was swept."""
    return levers(record.kept["about"]["data"])[name]


def best(record: Record, name: str) -> Way:
    """A lever at its scale of least FD-judge."""
    rows = [row for row in record.kept["sweep"] if row["name"] == name]
    return replace(way(record, name), scales=(min(rows, key=lambda row: row["fd"]["value"])["scale"],))


def surest(record: Record, name: str, other: str) -> Way:
    """A lever at its largest scale at which it is no farther from the data than another at its best."""
    fd = {row["scale"]: row["fd"]["value"] for row in record.kept["sweep"] if row["name"] == name}
    most = min(row["fd"]["value"] for row in record.kept["sweep"] if row["name"] == other)
    return replace(way(record, name), scales=(max(scale for scale in fd if fd[scale] <= max(most, min(fd.values()))),))


def rounds(record: Record) -> tuple[dict[str, Way], dict[str, Way]]:
    """Who draws in turns: today's build at two scales, then, on other seeds, half-way between them."""
    old = best(record, FIRST)
    peers = {"old": old, "loop": replace(old, build="loop", steps=50)}
    nearest, surer = best(record, CHOSEN), surest(record, CHOSEN, FIRST)
    between = replace(nearest, scales=(round((nearest.scales[0] + surer.scales[0]) / 2, 3),))
    return {**peers, "new": nearest, "surer": surer}, {**peers, "between": between}


def turns(
    record: Record, start: Any, ways: dict[str, Way], images: dict[str, int], seeds: range, folder: Path
) -> None:  # fmt: skip
    """The ways in turns, each repetition on a seed of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    workers = {name: start(way.build) for name, way in ways.items()}
    for seed in seeds:
        for name, way in ways.items():
            cell: dict[str, Any] = {"name": name, "way": plain(way), "scale": way.scales[0], "seed": seed}
            cell["images"] = images[name]
            if row := record.find("turns", **cell):
                if (folder / f"{name}-{seed}.pt").exists():
                    continue
                record.kept["turns"].remove(row)
            drawn, took = workers[name].draw(way, way.scales[0], images[name], seed)
            torch.save(drawn, folder / f"{name}-{seed}.pt")
            record.add("turns", **cell, seconds=took["seconds"])
            print(f"{name}, seed {seed}: {1e3 * took['seconds'] / images[name]:.1f} ms an image", flush=True)
    for worker in workers.values():
        worker.__exit__()


def memory(record: Record, start: Any, ways: dict[str, Way]) -> None:
    """The most that a process holds that does nothing but draw two batches."""
    for name, way in ways.items():
        if not record.find("memory", name=name):
            with start(way.build) as worker:
                _, took = worker.draw(way, way.scales[0], 2 * way.batch_size, 0)
            record.add("memory", name=name, bytes=took["peak"])


def found(record: Record, ways: dict[str, Way], seeds: range, scorer: Scorer, folder: Path) -> dict[str, Any]:
    """What a round showed: today's build beside the others in seconds, and beside the older one in its images."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for row in record.kept["turns"]:
        if row["seed"] in seeds:
            took[row["name"]].append(row["seconds"] / row["images"])
    sets = {name: torch.cat([torch.load(folder / f"{name}-{k}.pt") for k in seeds]) for name in ways if name != "loop"}
    today = [name for name in sets if name != "old"]
    times = {name: {other: faster(took[other], took[name]) for other in ("old", "loop")} for name in today}
    return {
        "seeds": [seeds.start, seeds.stop - 1],
        "times as fast": times,
        "scores": {name: scorer.score(images) for name, images in sets.items()},
        "minus old": {name: scorer.difference(sets[name], sets["old"]) for name in today},
    }


def faster(slow: list[float], fast: list[float]) -> dict[str, float]:
    """The ratio of the medians, and the least and the greatest ratio of any turn."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    value = statistics.median(slow) / statistics.median(fast)
    return {"value": value, "low": min(ratios), "high": max(ratios)}


def narrow(record: Record, start: Any, scorer: Scorer, samples: int, swept: int, repetitions: int) -> None:
    """A guide with half of the channels, trained as the vanilla one was, beside that one in turns: each at its scale of
    least FD-judge, on seeds that no round has, in seconds and image by image."""
    from rgd.lab import recipe

    vanilla: Any = recipe.read("mnist/vanilla")
    network = replace(vanilla.network, model_channels=16, num_head_channels=16)
    recipe.train(replace(vanilla, name="mnist/half", network=network), ROOT / HALF.parent)
    whole = best(record, CHOSEN)
    half, cells = replace(whole, guide=str(HALF)), []
    took: dict[str, list[float]] = {"whole": [], "half": []}
    images: dict[str, list[Tensor]] = {"whole": [], "half": []}
    with start("new") as one, start("new") as other:
        for scale in (1.7, 1.9, 2.2, 2.6):
            cells.append({"scale": scale, **scorer.score(other.draw(half, scale, swept, 0)[0])})
        scale = min(cells, key=lambda cell: cell["fd"]["value"])["scale"]
        turns = {"whole": (one, whole, whole.scales[0]), "half": (other, half, scale)}
        for seed in range(2 * repetitions + 1, 3 * repetitions + 1):
            for name, (worker, way, at) in turns.items():
                drawn, seen = worker.draw(way, at, samples, seed)
                images[name].append(drawn)
                took[name].append(seen["seconds"] / samples)
    sets = {name: torch.cat(drawn) for name, drawn in images.items()}
    record.kept["narrow"] = {
        "sweep": cells, "scales": {name: at for name, (*_, at) in turns.items()}, "seconds": took,
        "times as fast": faster(took["whole"], took["half"]),
        "scores": {name: scorer.score(drawn) for name, drawn in sets.items()},
        "minus whole": scorer.difference(sets["half"], sets["whole"]),
        "provenance": record.now,
    }  # fmt: skip
    record.write()


def main(
    old: tyro.conf.Positional[Path], samples: int = 2000, swept: int = 1000, loops: int = 400, repetitions: int = 5,
    data: str = "mnist", guide: str = "vanilla", quick: bool = False, out: Path | None = None,
) -> None:  # fmt: skip
    """Measure, print and write.

    Args:
        old: a checkout of the older build.
        samples: images of a repetition.
        swept: images of a cell of the sweep.
        loops: images of a repetition of the plain loop, which takes ten times as long.
        repetitions: in turns; medians are told.
        data: mnist or cifar10.
        guide: the classifier.
        quick: few images, to see that it works.
        out: the file of results.
    """
    from rgd.lab.origin import provenance

    samples, swept, loops, repetitions = (100, 100, 20, 2) if quick else (samples, swept, loops, repetitions)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=old, capture_output=True, text=True, check=True).stdout
    about = {"data": data, "guide": guide, "samples": [samples, swept, loops], "old": commit.strip()}
    record = Record.open(out or Path(f"results/guided-{data}.json"), provenance(), about)
    scorer = Scorer(data)

    def start(build: str) -> Worker:
        return Worker(old if build == "old" else ROOT, data, guide)

    sweep(record, start, scorer, data, swept)
    for k, ways in enumerate(rounds(record)):
        seeds = range(k * repetitions + 1, (k + 1) * repetitions + 1)
        if len(record.kept["rounds"]) == k:
            images = {name: loops if name == "loop" else samples for name in ways}
            turns(record, start, ways, images, seeds, folder := Path("runs/guided", data))
            record.add("rounds", **found(record, ways, seeds, scorer, folder))
        memory(record, start, ways)
        for name, differences in record.kept["rounds"][k]["minus old"].items():
            print(f"{name}, scale {ways[name].scales[0]:g}:")
            for what, value in {**record.kept["rounds"][k]["times as fast"][name], **differences}.items():
                print(f"  {what:9} {value['value']:8.4f} ({value['low']:.4f} to {value['high']:.4f})")
    if (data, guide) == ("mnist", "vanilla") and not quick and "narrow" not in record.kept:  # it is trained first
        narrow(record, start, scorer, samples, swept, repetitions)
    print(f"Everything is in {record.path}")


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    work(sys.argv[2], sys.argv[3], sys.stdin, sys.stdout)
elif __name__ == "__main__":
    tyro.cli(main)
