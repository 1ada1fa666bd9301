"""Which training makes the most of CIFAR-10's denoiser, at equal time?

`python -m benchmarks.denoisers` trains the recipe's network in several ways, each for so many minutes on an idle
machine: what it predicts, the schedule, the weights of the noise levels, and patches or none. How many steps fit into
the time is found by timing some; then the learning rate falls to zero over just these. Each trained model draws images
without a guide from the same noise, and the independent judge says how far from the data they are. The file
`results/denoisers.json` is written after each; what is in it is not done again, and a training that was stopped goes
on. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Generator, Tensor, nn
from tqdm import tqdm

from rgd import measure, recipes, zoo
from rgd.lab import datasets
from rgd.lab.origin import provenance
from rgd.networks import UNetConfig, build
from rgd.samplers import ddim, sample
from rgd.schedule import Schedule, named
from rgd.training import fit
from rgd.training.checkpoints import Model
from rgd.training.objectives import Denoising, Loss, denoising_terms, draw_xt

DATA, GAMMA, SHIFT = "cifar10", 5.0, 2.0  # of min-SNR and of the sigmoid: what their authors use
METRICS = ("fd", "precision", "recall")


@dataclass(frozen=True)
class Weighted(Denoising):
    """The squared error, weighted by noise level: "even", "min-snr" (arXiv:2303.09556) or "sigmoid" (2303.00848)."""

    weight: str = "even"

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        xt, t, eps = draw_xt(schedule, x0, generator)
        dropped = torch.rand(len(y), generator=generator) < self.label_dropout
        output = network(xt, t, torch.where(dropped, -1, y))
        mse, _ = denoising_terms(self.predicts, output, schedule, x0, xt, t, eps)
        return Loss((weights(self, schedule)[t] * mse).mean(), {"mse": mse.detach().mean()})


def weights(objective: Weighted, schedule: Schedule) -> Tensor:
    """(T,), of mean 1. Both rules are rules for the error of eps; an error of v is larger by 1 / alpha_bar."""
    alpha_bar = schedule.alpha_bar.double()
    log_snr = torch.logit(alpha_bar)
    if objective.weight == "even":
        return torch.ones_like(alpha_bar).float()
    if objective.weight == "min-snr":
        weight = (GAMMA * (-log_snr).exp()).clamp(max=1)
    else:  # over the log of the SNR, of which a step of t takes so much
        weight = (SHIFT - log_snr).sigmoid() * -torch.gradient(log_snr)[0]
    weight = weight * alpha_bar if objective.predicts == "v" else weight
    return (weight / weight.mean()).float()


@dataclass(frozen=True)
class Way:
    """A way to train: what the network `predicts`, the `schedule`'s name, the `weight` of its levels, its `patch`."""

    predicts: str = "eps"
    schedule: str = "linear"
    weight: str = "even"
    patch: int = 2

    @property
    def network(self) -> UNetConfig:
        network: Any = recipes.read(f"{DATA}/ddpm").network
        return replace(network, patch=self.patch)

    @property
    def objective(self) -> Weighted:
        return Weighted(self.predicts, conditional=True, label_dropout=0.2, weight=self.weight)  # type: ignore[arg-type]


WAYS = {
    "the recipe": Way(),
    "v": Way("v"),
    "eps, cosine": Way("eps", "cosine"),
    "v, cosine": Way("v", "cosine"),
    "eps, min-SNR": Way("eps", "linear", "min-snr"),
    "v, cosine, min-SNR": Way("v", "cosine", "min-snr"),
    "v, cosine, sigmoid": Way("v", "cosine", "sigmoid"),
    "no patches": Way(patch=1),
}


def pace(way: Way, timed: int = 12) -> float:
    """Seconds of a step."""
    training = replace(recipes.read(f"{DATA}/ddpm").training, steps=timed)
    run = fit(build(way.network, 0), way.objective, datasets.load(DATA), named(way.schedule), training)
    for step in run:
        if step.step == 2:  # those before it warm up
            began = time.perf_counter()
    return (time.perf_counter() - began) / (timed - 2)


def trained(way: Way, minutes: float, folder: Path) -> tuple[Model, dict[str, Any]]:
    """The running mean of a way's weights, and what the training took."""
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "steps.json"
    if not known.exists():
        known.write_text(json.dumps(max(20, round(60 * minutes / pace(way)))))
    training = replace(recipes.read(f"{DATA}/ddpm").training, steps=json.loads(known.read_text()))
    data, schedule = datasets.load(DATA), named(way.schedule)
    run = fit(build(way.network, 0), way.objective, data, schedule, training, folder)
    for step in tqdm(run, total=training.steps, unit="step", mininterval=60):
        last = step
    took = {"steps": training.steps, "images": last.images, "seconds": round(last.seconds, 1)}
    denoising = {"predicts": way.predicts, "variance": "large"}
    return Model(last.network.eval(), schedule, denoising, data.classes), took


class Scorer:
    """Who looks at what a model draws by itself."""

    def __init__(self, samples: int) -> None:
        self.judge: Any = zoo.load(f"{DATA}/judge", "cpu")
        self.samples, self.data = samples, datasets.load(DATA)
        self.reference = measure.extract(self.data.take(10_000), self.judge)

    def __call__(self, denoise: Any) -> dict[str, Any]:
        images = sample(denoise, (self.samples, *self.data.shape), sampler=ddim, steps=25, seed=5, progress=False)
        seen = measure.extract(images.clamp(-1, 1), self.judge)
        return {name: measure.estimate(name, seen, self.reference).to_json() for name in METRICS}


def main(
    only: Annotated[tuple[str, ...], tyro.conf.Positional] = tuple(WAYS), minutes: float = 12, samples: int = 1000,
    runs: Path = Path("runs/denoisers"), out: Path = Path("results/denoisers.json"),
) -> None:  # fmt: skip
    """Measure, print and write.

    Args:
        only: which ways.
        minutes: of training, each way.
        samples: to draw with each model.
        runs: where trainings are kept, to go on with.
        out: the file of results.
    """
    about = {"data": DATA, "minutes": minutes, "samples": samples}
    kept = json.loads(out.read_text()) if out.exists() else {}
    kept = kept if kept.get("about") == about else {"about": about, "rows": []}
    score = Scorer(samples)
    if "published" not in kept:
        kept["published"] = score(zoo.load(f"{DATA}/ddpm", "cpu"))
    for name in only:
        way = WAYS[name]
        if not any(row["name"] == name for row in kept["rows"]):
            model, took = trained(way, minutes, runs / name.replace(", ", "-").replace(" ", "-"))
            kept["rows"].append({"name": name, **took, **score(model.use())})
            kept["provenance"] = provenance()
            out.write_text(json.dumps(kept, indent=1) + "\n")
        row = next(row for row in kept["rows"] if row["name"] == name)
        print(f"{name:20} {row['steps']:6} steps, FD-judge {row['fd']['value']:7.1f} "
              f"({row['fd']['low']:.1f} to {row['fd']['high']:.1f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main)
