"""The demo's report: one HTML file that needs no other, from the results and the pictures of a run."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from rgd.attacks import Classifier
from rgd.book import plots
from rgd.data import Dataset, same_classes
from rgd.errors import DataError
from rgd.experiments.cells import best_cells
from rgd.experiments.matching import one_schedule
from rgd.guidance import grad_log_prob
from rgd.layers import image_shape
from rgd.measure import Estimate, gradients
from rgd.processes import processes
from rgd.randomness import noise
from rgd.training.checkpoints import Model, write_atomic


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a report shows beside numbers.

    Attributes:
        images: samples (N, C, H, W) for each guidance that is shown, all from the same noise.
        labels: the classes they were asked for, (N,).
        gradients: a figure of the classifiers' gradients, see `gradients_figure`.
        walk: `start` images, `target` classes, and where each classifier's walk ended, in this order.
        logs: each model's training log.
    """

    images: Mapping[str, Tensor]
    labels: Tensor
    gradients: Figure
    walk: Mapping[str, Tensor]
    logs: Mapping[str, list[dict[str, float]]]


def write(folder: Path, results: dict[str, Any], pictures: Pictures) -> Path:
    """Write `report.html`, and its first figure as `samples.png`, of a demo's results; the report's path."""
    plots.use_style()
    unguided, *guided = results["sweep"]
    figures = {
        "samples": samples_figure(pictures),
        "gradients": pictures.gradients,
        "walk": walk_figure(pictures, results["classes"]),
        "scales": scales_figure(unguided, guided),
        "noise": noise_figure(results["classifiers"]),
        "training": training_figure(pictures.logs),
    }
    figures["samples"].savefig(folder / "samples.png", dpi=130)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rgd.lab", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["estimate"] = estimate_text
    page = environment.get_template("report.html.j2").render(
        results=results, unguided=unguided, best=best_cells(guided), figures={k: _png(f) for k, f in figures.items()}
    )
    write_atomic(folder / "report.html", page.encode())
    return folder / "report.html"


def _png(fig: Figure) -> str:
    """A figure for a page's own text."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=150)
    return base64.b64encode(buffer.getvalue()).decode()


def estimate_text(estimate: dict[str, Any], digits: int = 2) -> str:
    """`0.93 (0.91 to 0.95)`."""
    return f"{estimate['value']:.{digits}f} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


def samples_figure(pictures: Pictures) -> Figure:
    """Two images of each class, ten classes at most, for every guidance, from the same noise."""
    rows = [(pictures.labels == k).nonzero()[:2, 0] for k in pictures.labels.unique()[:10]]
    fig, axes = plots.figure(n := len(pictures.images), 1, 0.75 * len(rows) + 0.4, n * (0.16 * len(rows) + 0.25))
    for ax, (name, images) in zip(axes[:, 0], pictures.images.items()):
        plots.show_image(ax, plots.tile(images[torch.stack(rows, dim=1).flatten()], len(rows)))
        title = "unguided" if name == "none" else name
        ax.set_title(title, fontsize=11, color=plots.COLOURS[name], loc="left", fontweight="bold")
    return fig


def gradients_figure(
    classifiers: Mapping[str, Classifier], x0: Tensor, schedule: Any, levels: Sequence[int], target: int, seed: int
) -> Figure:
    """An image (1, C, H, W) at growing noise, and each classifier's gradient towards the class `target`, by t."""
    t = torch.tensor(levels, device=x0.device)
    eps = noise(x0.shape, seed).to(x0.device)
    xt = schedule.q_sample(x0.expand(len(t), -1, -1, -1), t, eps.expand(len(t), -1, -1, -1))
    found = {name: grad_log_prob(f)(xt, t, torch.full_like(t, target)) for name, f in classifiers.items()}
    return plots.picture_table({"noised image": xt, **found}, [f"t = {level}" for level in levels], list(found), 1.05)


def walk_figure(pictures: Pictures, classes: Sequence[str]) -> Figure:
    """Where each walk started and ended."""
    start, target, *kinds = pictures.walk
    names = {start: "test image"} | {kind: f"{kind} walk" for kind in kinds}
    columns = [plots.plain(f"to {classes[k]}"[:10]) for k in pictures.walk[target].tolist()]
    return plots.picture_table({name: pictures.walk[part] for part, name in names.items()}, columns)


def scales_figure(unguided: Mapping[str, Any], guided: Sequence[Mapping[str, Any]]) -> Figure:
    """The four scores against the guidance scale."""
    fig, axes = plots.figure(2, 2, 8.0, 5.6)
    kinds = dict.fromkeys(cell["name"] for cell in guided)
    by_kind = {kind: [unguided, *(cell for cell in guided if cell["name"] == kind)] for kind in kinds}
    names = {"accuracy": "judge accuracy", "fd": "Frechet distance (judge)"}
    for ax, name in zip(axes.flat, (*names, "precision", "recall")):
        series = {kind: [Estimate(**cell[name]) for cell in cells] for kind, cells in by_kind.items()}
        scales = [cell["scale"] for cell in next(iter(by_kind.values()))]
        plots.curves(ax, scales, series, "guidance scale", names.get(name, name))
    return fig


def noise_figure(studied: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Accuracy by t, the cosine between the gradients by t, and their spectra."""
    fig, axes = plots.figure(1, 3, 11.0, 3.4)

    def series(part: str, label: str = "") -> dict[str, list[Estimate]]:
        measured = {kind: rows for kind, rows in studied.items() if part in rows[0]}
        return {f"{kind}{label}": [Estimate(**row[part]) for row in rows] for kind, rows in measured.items()}

    t = [row["t"] for row in studied["robust"]]
    accuracies = {**series("accuracy"), **series("accuracy_attacked", ", attacked")}
    plots.curves(axes[0, 0], t, accuracies, "t", "accuracy")
    plots.curves(axes[0, 1], t, series("cosine_of_twins"), "t", "cosine to the robust gradient")
    axes[0, 1].axhline(0, color="black", linewidth=0.8)
    for kind, rows in studied.items():
        style = {"color": plots.COLOURS[kind], "marker": plots.MARKERS[kind], "markersize": 4}
        axes[0, 2].plot(rows[1]["spectrum"], label=kind, **style)
    axes[0, 2].set(xlabel="spatial frequency (cycles per image)", ylabel="share of the energy")
    axes[0, 2].legend()
    return fig


def training_figure(logs: Mapping[str, list[dict[str, float]]]) -> Figure:
    """The loss of each network against its steps."""
    fig, axes = plots.figure(1, len(logs), 10.0, 2.6)
    for ax, (name, rows) in zip(axes[0], logs.items()):
        ax.plot([r["step"] for r in rows], [r["loss"] for r in rows], color=plots.COLOURS.get(name))
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("step")
    axes[0, 0].set_ylabel("loss")
    return fig


def compare_gradients(
    models: Mapping[str, Model], test: Dataset, levels: Sequence[int], target: int | None, seed: int
) -> Figure:
    """Classifiers' gradients at a test image, by t. Meanwhile their norms and their cosines to the first one's are
    printed, means over all of `test`.

    Args:
        target: the class that the picture's gradients point to; None for the image's own.

    Raises:
        DataError: unless all know the classes of `test` and take its images, noised by one schedule.
    """
    first, *_ = models.values()
    schedule = one_schedule({name: model for name, model in models.items() if model.schedule})
    for name, model in models.items():
        same_classes(model.classes, test.classes, name, test.name)
        config = model.network.config
        if model.schedule and (takes := image_shape(config)) != test.shape:
            raise DataError(f"{name} takes images of {takes}, and those of {test.name} are {test.shape}")
    if not (levels and all(0 <= level < schedule.T for level in levels)):
        raise DataError(f"levels run from 0 to {schedule.T - 1}, and are {tuple(levels)}: give one or more of those")
    if target is not None and not 0 <= target < len(test.classes):
        raise DataError(f"classes run from 0 to {len(test.classes) - 1}, and the target is {target}")
    data = test.to(processes().device)
    x0, y = data.x0(), data.labels
    eps = noise(x0.shape, seed).to(x0.device)
    for level in tqdm(levels, "gradients", unit="level"):
        t = torch.full_like(y, level)
        xt = schedule.q_sample(x0, t, eps)
        for name, model in models.items():
            norm = gradients.norm(model.network, xt, t, y).mean()
            cosine = gradients.cosine(first.network, model.network, xt, t, y).nanmean()
            tqdm.write(f"t = {level:4d}  {name:>12}  norm {norm:9.3f}  cosine to the first {cosine:+.3f}")
    networks = {plots.plain(name): model.network for name, model in models.items()}
    return gradients_figure(networks, x0[:1], schedule, levels, int(y[0]) if target is None else target, seed)
