"""The whole idea on one machine: train, disagree, guide, measure, report.

`run("digits", folder)` trains an unconditional DDPM, an independent judge, and three classifiers of one architecture:
clean (on images as they are), vanilla (on noised ones) and robust (on noised ones under attack). It compares their
gradients, samples with each guidance over a few scales from the same noise, scores all, and writes `report.html` and
`results.json`. Every stage keeps what it has done, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from rgd import checkpoints
from rgd import measure as metrics
from rgd.attacks import L2, PGD
from rgd.data import Dataset
from rgd.errors import DataError
from rgd.guidance import grad_log_prob, guide
from rgd.lab import datasets, report
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe, provenance, train
from rgd.measure import gradients
from rgd.networks import EncoderConfig, UNetConfig
from rgd.objectives import CleanCrossEntropy, Denoising, NoisyCrossEntropy, RobustCrossEntropy
from rgd.processes import best_device
from rgd.randomness import generator, noise
from rgd.samplers import dpm_solver, sample
from rgd.schedule import Schedule
from rgd.training import Training, autocast

CLASSIFIERS = ("clean", "vanilla", "robust")
FEWEST = 8  # images that can be scored: recall looks at that many
REFERENCE = 10_000  # training images that samples are compared with, the first ones
LEVELS = (0, 25, 50, 100, 200, 300, 400, 600)


@dataclass(frozen=True)
class Plan:
    """What a demo does on one data set.

    Attributes:
        recipes: of the "judge", the "denoiser", and the "clean", "vanilla" and "robust" classifiers.
        attack: what the robust classifier is trained against, and all are tested with.
        scales: of guidance, for each classifier.
        samples: images drawn for each guidance and scale.
        steps: of the sampler, DPM-Solver++(2M).
        probes: test images on which gradients and accuracy are measured.
        walk: length of the walk uphill, as a share of the median distance to the nearest image of another class.
        levels: times t at which accuracy and gradients are measured.
    """

    recipes: dict[str, Recipe]
    attack: PGD
    scales: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    samples: int = 400
    steps: int = 20
    probes: int = 200
    walk: float = 0.8
    levels: tuple[int, ...] = LEVELS


def plan(data: Dataset, effort: float = 1.0, seed: int = 0, samples: int = 400) -> Plan:
    """A plan that fits the size of the images; `effort` multiplies the training steps.

    Raises:
        ValueError: if the effort is not positive, the samples are too few, or the images are not square.
    """
    if not effort > 0:
        raise ValueError(f"the effort multiplies the training steps and must be positive, not {effort}")
    K = len(data.classes)
    fewest = max(FEWEST, K + min(10, K))  # two pictures of each class that is shown
    if samples < fewest:
        raise ValueError(f"{samples} samples of each guidance are too few to score and to show: take {fewest} or more")
    channels, size, width = data.shape
    if size != width:
        raise ValueError(f"{data.name} has images of {size} x {width}; the demo's networks take square ones")
    small = size <= 16
    common: dict[str, Any] = {
        "image_size": size,
        "in_channels": channels,
        "use_scale_shift_norm": True,
        "num_head_channels": 32,
        "patch": 1 if small else 2,
    }
    unet = UNetConfig(
        **common,
        out_channels=channels,
        model_channels=32 if small else 64,
        num_res_blocks=1,
        channel_mult=(1, 2) if small else (1, 2, 2),
        attention_resolutions=(2,),
    )
    encoder = EncoderConfig(
        **common,
        out_channels=len(data.classes),
        model_channels=32,
        num_res_blocks=1,
        channel_mult=(1, 2) if small else (1, 2, 2),
        attention_resolutions=(2,),
        pool="attention",
    )
    judge = JudgeConfig(image_size=size, in_channels=channels, out_channels=len(data.classes))

    def steps(on_small: int, on_large: int) -> int:
        return max(10, round(effort * (on_small if small else on_large)))

    # The paper's radius for colour images. In grey ones the classes are further apart, pixel for pixel.
    attack = PGD(L2(0.5 if channels == 3 else 1.0), steps=7)
    batch = 64 if small else 128
    guide_training = Training(steps(400, 1000), batch, lr=1e-3, seed=seed, save_every=100)
    recipes: dict[str, tuple[Any, Any, Training]] = {
        "judge": (
            judge,
            CleanCrossEntropy(takes_time=False),
            Training(steps(300, 1000), batch, lr=1e-3, seed=seed + 1),
        ),
        "denoiser": (
            unet,
            Denoising(),
            Training(steps(1000, 1500), batch, lr=1e-3, ema=0.995, warmup=50, clip=1.0, seed=seed, save_every=100),
        ),
        "clean": (encoder, CleanCrossEntropy(), guide_training),
        "vanilla": (encoder, NoisyCrossEntropy(), guide_training),
        "robust": (encoder, RobustCrossEntropy(attack), guide_training),
    }
    return Plan(
        {name: Recipe(f"{data.name}/{name}", data.name, *parts) for name, parts in recipes.items()},
        attack,
        samples=samples,
        probes=min(200, samples),
    )


@dataclass
class Run:
    """A demo in progress: its folder, and how long each stage took, earlier sittings included."""

    folder: Path
    progress: bool = True
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, again: bool = False) -> Iterator[None]:
        """Time a stage, and remember it across sittings: their sum, or the last one of what is done `again` in each."""
        clock = self.folder / "seconds.json"
        if clock.exists():
            self.seconds = json.loads(clock.read_text())
        began = time.perf_counter()
        try:
            yield
        finally:
            earlier = 0.0 if again else self.seconds.get(name, 0.0)
            self.seconds[name] = earlier + time.perf_counter() - began
            checkpoints.write_atomic(clock, json.dumps(self.seconds, indent=1).encode())

    def cached(self, kind: str, key: object, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays computed once for a key; whatever they depend on must be in the key."""
        path = self.folder / kind / f"{checkpoints.content_key(key)}.safetensors"
        if path.exists():
            tensors, _ = checkpoints.read(path)
        else:
            tensors = {name: torch.as_tensor(value) for name, value in compute().items()}
            checkpoints.write(path, tensors, {"key": key, **provenance()})
        return {name: tensor.numpy() for name, tensor in tensors.items()}


def run(
    name: str = "digits",
    folder: Path | str | None = None,
    *,
    effort: float = 1.0,
    seed: int = 0,
    samples: int = 400,
    progress: bool = True,
    size: int | None = None,
) -> Path:
    """Run the demo, or what is left of it, and return the path of its report.

    Args:
        name: what `rgd.data.load` takes: "digits", "mnist", "cifar10", or a folder of class folders.
        folder: where everything is kept; default `runs/demo-NAME`.
        effort: multiplies the training steps.
        seed: of everything.
        samples: images drawn for each guidance and scale.
        progress: whether to show progress bars.
        size: of the images of a folder.

    Raises:
        RgdError, ValueError, FileNotFoundError: with what was wrong and what to do.
    """
    training_data, test_data = (datasets.load(name, split, size=size) for split in ("train", "test"))
    todo = plan(training_data, effort, seed, samples)
    if len(test_data) < FEWEST:
        n = len(test_data)
        raise DataError(f"{training_data.name} has {n} test images, and to score them takes {FEWEST}: add some")
    folder = Path("runs") / f"demo-{training_data.name}" if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    this = Run(folder, progress)

    models: dict[str, Any] = {}
    for part, recipe in todo.recipes.items():
        with this.stage(f"train {part}"):
            models[part] = train(recipe, folder / part, training_data, progress)
    device = best_device()
    judge, denoise = models["judge"].use().to(device), models["denoiser"].use()
    networks = {kind: models[kind].use().to(device) for kind in CLASSIFIERS}
    ids = {part: checkpoints.weights_digest(model.network) for part, model in models.items()}

    with this.stage("probe classifiers", again=True):
        probes = test_data.take(todo.probes)
        probed = {
            kind: probe_classifier(networks[kind], probes, todo, models[kind].schedule, seed, progress and kind)
            for kind in CLASSIFIERS
        }
        compared = compare_gradients(networks, probes, todo, models["vanilla"].schedule, seed)
        length = todo.walk * distance_to_other_classes(probes, training_data)
        walks, walk_images = walk(networks, judge, probes, length, seed)

    labels = torch.arange(todo.samples) % len(training_data.classes)
    cells = [("none", 0.0), *((kind, scale) for kind in CLASSIFIERS for scale in todo.scales)]
    images: dict[tuple[str, float], Tensor] = {}
    with this.stage("sample"):
        for kind, scale in cells:
            key = [kind, scale, todo.samples, todo.steps, seed, ids["denoiser"], ids.get(kind, "")]

            def draw(kind: str = kind, scale: float = scale) -> dict[str, np.ndarray]:
                denoiser = denoise if kind == "none" else guide(denoise, grad_log_prob(networks[kind]), scale)
                title = "sample none" if kind == "none" else f"sample {kind} x{scale:g}"
                with autocast(device, network=models["denoiser"].network):
                    return {"images": _sample(denoiser, training_data, labels, todo, seed, progress and title)}

            images[kind, scale] = torch.from_numpy(this.cached("samples", key, draw)["images"])

    with this.stage("score", again=True):
        reference = metrics.extract(training_data.take(REFERENCE), judge)
        features = {
            cell: metrics.extract(x, judge, labels=labels)
            for cell, x in tqdm(images.items(), "score", disable=not progress)
        }
        scores = {cell: _score(f, reference) for cell, f in features.items()}
        differences = [
            {"minus": other, "scale": scale}
            | {
                name: metrics.paired_difference(name, features["robust", scale], features[other, scale], reference)
                for name in ("accuracy", "fd")
            }
            for other in ("clean", "vanilla")
            for scale in todo.scales
        ]
        judged = metrics.extract(test_data, judge, labels=test_data.labels)
        judge_accuracy = metrics.estimate("accuracy", judged)
        real = _score(judged[torch.arange(len(judged))[: todo.samples]], reference)  # as many as are drawn

    results = {
        "data": training_data.name,
        "classes": list(training_data.classes),
        "image_shape": list(training_data.shape),
        "training_images": len(training_data),
        "reference_images": len(reference),
        "test_images": len(test_data),
        "plan": {"effort": effort, "seed": seed, "samples": todo.samples, "steps": todo.steps, "probes": len(probes),
                 "walk": round(length, 1),
                 "attack": f"PGD-{todo.attack.steps} (L2, radius {todo.attack.threat.radius:g})"},
        "models": {part: {**model.provenance, "parameters": sum(p.numel() for p in model.network.parameters())}
                   for part, model in models.items()},
        "judge_accuracy": judge_accuracy,
        "real": real,
        "accuracy_by_t": probed,
        "gradients": compared,
        "walk": walks,
        "guidance": [{"guidance": kind, "scale": scale, **scores[kind, scale]} for kind, scale in cells],
        "robust_minus": differences,
        "seconds": this.seconds,
        "provenance": provenance(),
    }  # fmt: skip
    plain = json.loads(json.dumps(results, default=metrics.Estimate.to_json))
    checkpoints.write_atomic(folder / "results.json", json.dumps(plain, indent=1).encode())
    pictures = report.Pictures(
        images=images,
        labels=labels,
        gradients=gradient_pictures(networks, test_data, models["vanilla"].schedule, seed),
        walk=walk_images,
        logs={part: _log(folder / part) for part in todo.recipes},
    )
    return report.write(folder, plain, pictures)


def _log(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _sample(denoise: Any, data: Dataset, labels: Tensor, todo: Plan, seed: int, progress: bool | str) -> np.ndarray:
    shape = (todo.samples, *data.shape)
    return sample(
        denoise, shape, labels, sampler=dpm_solver, steps=todo.steps, seed=seed, progress=progress, batch_size=250
    ).numpy()


def _score(features: metrics.Features, reference: metrics.Features) -> dict[str, metrics.Estimate]:
    scores = {name: metrics.estimate(name, features, reference) for name in ("fd", "precision", "recall")}
    return {"fd_judge": scores.pop("fd"), **scores, "accuracy": metrics.estimate("accuracy", features)}


def probe_classifier(
    network: nn.Module, probes: Dataset, todo: Plan, schedule: Schedule, seed: int, progress: str | bool
) -> list[dict[str, Any]]:
    """Accuracy by t, clean and under the attack that the robust classifier was trained against."""
    levels = tqdm(todo.levels, f"attack {progress}", unit="level", disable=not progress)
    return metrics.accuracy_by_t(network, probes.x0(), probes.labels, schedule, levels, attack=todo.attack, seed=seed)


def compare_gradients(
    networks: dict[str, Any], probes: Dataset, todo: Plan, schedule: Schedule, seed: int
) -> list[dict[str, Any]]:
    """By t and classifier, of the gradient towards the true class: cosine to the robust one, norm and spectrum."""
    device = best_device()
    x0, y = probes.x0().to(device), probes.labels.to(device)
    eps = noise(x0.shape, seed).to(device)
    rows = []
    for level in todo.levels:
        t = torch.full_like(y, level)
        xt = schedule.q_sample(x0, t, eps)
        row: dict[str, Any] = {"t": level}
        for kind in CLASSIFIERS:
            gradient = grad_log_prob(networks[kind])(xt, t, y)
            row[kind] = {
                "cosine": metrics.mean(gradients.cosine(networks[kind], networks["robust"], xt, t, y)),
                "norm": metrics.mean(gradient.flatten(1).norm(dim=1)),
                "spectrum": gradients.spectrum(gradient).tolist(),
            }
        rows.append(row)
    return rows


def distance_to_other_classes(probes: Dataset, data: Dataset) -> float:
    """The median, over the probes, of the L2 distance to the nearest image of another class, in [-1, 1] units."""
    x, y = probes.x0().flatten(1), probes.labels
    nearest = torch.full((len(y),), torch.inf)
    for part in torch.arange(len(data)).split(5000):
        distance = torch.cdist(x, data.x0(part).flatten(1))
        distance[y[:, None] == data.labels[part]] = torch.inf
        nearest = nearest.minimum(distance.min(dim=1).values)
    return float(nearest.median())


def walk(
    networks: dict[str, Any], judge: nn.Module, probes: Dataset, length: float, seed: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Walk from each test image uphill towards another class, and ask the judge what it sees.

    The images are clean, at t = 0, the target a random other class. Returned: for each classifier the share that the
    judge, and the classifier itself, then take for the target; and pictures of the first image of each class.
    """
    device = best_device()
    x0, y = probes.x0().to(device), probes.labels.to(device)
    K = len(probes.classes)
    target = (y + torch.randint(1, K, (len(y),), generator=generator(seed, "target")).to(device)) % K
    t = torch.zeros_like(y)
    shares: dict[str, Any] = {}
    first = torch.stack([(y == k).nonzero()[0, 0] for k in y.unique()[:10]])
    pictures = {"start": x0[first].cpu(), "target": target[first].cpu()}
    for kind in CLASSIFIERS:
        moved = gradients.ascend(networks[kind], x0, t, target, length)
        with torch.no_grad():
            seen = {"judge": judge(moved), "itself": networks[kind](moved, t)}
        shares[kind] = {
            who: metrics.proportion(int((logits.argmax(1) == target).sum()), len(y)) for who, logits in seen.items()
        }
        pictures[kind] = moved[first].cpu()
    return shares, pictures


def gradient_pictures(networks: dict[str, Any], data: Dataset, schedule: Schedule, seed: int) -> dict[str, Tensor]:
    """One test image at growing noise, and each classifier's gradient towards class 3 (or the last one)."""
    device = best_device()
    target = min(3, len(data.classes) - 1)
    index = int((data.labels != target).nonzero()[0, 0])
    levels = torch.tensor([0, 50, 100, 200, 300, 400], device=device)
    x0 = data.x0()[index : index + 1].expand(len(levels), -1, -1, -1).to(device)
    eps = noise((1, *data.shape), seed).to(device).expand_as(x0)
    xt = schedule.q_sample(x0, levels, eps)
    y = torch.full_like(levels, target)
    found = {kind: grad_log_prob(networks[kind])(xt, levels, y).cpu() for kind in CLASSIFIERS}
    return {"xt": xt.cpu(), "t": levels.cpu(), "target": torch.tensor(target), **found}
