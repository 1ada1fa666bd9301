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

from rgd.checkpoints import Model, write_atomic
from rgd.data import Dataset, same_classes
from rgd.errors import DataError
from rgd.guidance import grad_log_prob
from rgd.measure import Estimate, gradients, plots
from rgd.processes import processes
from rgd.randomness import noise

KINDS = ("clean", "vanilla", "robust")


@dataclass(frozen=True)
class Pictures:
    """What a report shows beside numbers.

    Attributes:
        images: samples (N, C, H, W) for each (guidance, scale); ("none", 0.0) is unguided.
        labels: the classes asked for, (N,).
        gradients: `xt` and each classifier's gradient (L, C, H, W) at the times `t` (L,) towards `target`.
        walk: `start` images, `target` classes, and where each classifier's walk ended.
        logs: each model's training log.
    """

    images: dict[tuple[str, float], Tensor]
    labels: Tensor
    gradients: dict[str, Tensor]
    walk: dict[str, Tensor]
    logs: dict[str, list[dict[str, float]]]


def _png(fig: Figure) -> str:
    """A figure for a page's own text."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=150)
    return base64.b64encode(buffer.getvalue()).decode()


def best_scales(results: dict[str, Any]) -> dict[str, float]:
    """For each classifier the scale whose samples are nearest to the training images (least FD-judge)."""
    best = {}
    for kind in KINDS:
        cells = [cell for cell in results["guidance"] if cell["guidance"] == kind]
        best[kind] = min(cells, key=lambda cell: cell["fd_judge"]["value"])["scale"]
    return best


def write(folder: Path, results: dict[str, Any], pictures: Pictures) -> Path:
    """Write `report.html`, and its first figure as `samples.png`, into the folder; the report's path."""
    plots.use_style()
    best = best_scales(results)
    figures = {
        "samples": samples_figure(pictures, best, results["classes"]),
        "gradients": gradients_figure(pictures),
        "walk": walk_figure(pictures, results["classes"]),
        "scales": scales_figure(results),
        "noise": noise_figure(results),
        "training": training_figure(pictures.logs),
    }
    figures["samples"].savefig(folder / "samples.png", dpi=130)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rgd.lab", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["estimate"] = estimate_text
    page = environment.get_template("report.html.j2").render(
        results=results,
        figures={name: _png(figure) for name, figure in figures.items()},
        best=best,
        cell=_cell(results),
        target=results["classes"][int(pictures.gradients["target"])],
    )
    write_atomic(folder / "report.html", page.encode())
    return folder / "report.html"


def estimate_text(estimate: dict[str, Any], digits: int = 2) -> str:
    """`0.93 (0.91 to 0.95)`."""
    return f"{estimate['value']:.{digits}f} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


def _cell(results: dict[str, Any]) -> Any:
    return lambda kind, scale: next(c for c in results["guidance"] if c["guidance"] == kind and c["scale"] == scale)


def samples_figure(pictures: Pictures, best: dict[str, float], classes: list[str]) -> Figure:
    """Two images of each class for every guidance, from the same noise."""
    K = min(len(classes), 10)
    chosen = torch.stack([(pictures.labels == k).nonzero()[:2, 0] for k in range(K)], dim=1).flatten()
    rows = {"unguided": ("none", 0.0)} | {kind: (kind, best[kind]) for kind in KINDS}
    fig, axes = plots.figure(len(rows), 1, 0.75 * K + 0.4, len(rows) * (0.16 * K + 0.25))
    for ax, (name, cell) in zip(axes[:, 0], rows.items()):
        plots.show_image(ax, plots.tile(pictures.images[cell][chosen], K))
        ax.set_title(name, fontsize=11, color=plots.COLOURS[cell[0]], loc="left", fontweight="bold")
    return fig


def gradients_figure(pictures: Pictures) -> Figure:
    """The noised image and both gradients, by t."""
    g = pictures.gradients
    rows = {"noised image": g["xt"], **{f"{kind} gradient": g[kind] for kind in KINDS}}
    return plots.picture_table(rows, [f"t = {t}" for t in g["t"].tolist()], [f"{kind} gradient" for kind in KINDS], 1.0)


def walk_figure(pictures: Pictures, classes: list[str]) -> Figure:
    """Where each walk started and ended."""
    w = pictures.walk
    rows = {"test image": w["start"], **{f"{kind} walk": w[kind] for kind in KINDS}}
    return plots.picture_table(rows, [plots.plain(f"to {classes[k]}"[:10]) for k in w["target"].tolist()])


def scales_figure(results: dict[str, Any]) -> Figure:
    """The four scores against the guidance scale."""
    fig, axes = plots.figure(2, 2, 8.0, 5.6)
    by_kind = {kind: [c for c in results["guidance"] if c["guidance"] == kind] for kind in KINDS}
    unguided = results["guidance"][0]
    names = {"accuracy": "judge accuracy", "fd_judge": "Frechet distance (judge)"}
    names |= {"precision": "precision", "recall": "recall"}
    for ax, (name, label) in zip(axes.flat, names.items()):
        x = [0.0] + [c["scale"] for c in by_kind["vanilla"]]
        series = {kind: [Estimate(**c[name]) for c in [unguided, *cells]] for kind, cells in by_kind.items()}
        plots.curves(ax, x, series, "guidance scale", label)
    return fig


def noise_figure(results: dict[str, Any]) -> Figure:
    """Accuracy by t, the cosine between the gradients by t, and their spectra."""
    fig, axes = plots.figure(1, 3, 11.0, 3.4)
    rows = results["accuracy_by_t"]
    t = [row["t"] for row in rows["vanilla"]]
    series = {
        f"{kind}{label}": [Estimate(**row[how]) for row in rows[kind]]
        for kind in KINDS
        for how, label in (("accuracy", ""), ("accuracy_attacked", ", attacked"))
    }
    plots.curves(axes[0, 0], t, series, "t", "accuracy")
    compared = results["gradients"]
    t = [row["t"] for row in compared]
    series = {kind: [Estimate(**row[kind]["cosine"]) for row in compared] for kind in KINDS if kind != "robust"}
    plots.curves(axes[0, 1], t, series, "t", "cosine to the robust gradient")
    axes[0, 1].axhline(0, color="black", linewidth=0.8)
    for kind in KINDS:
        spectrum = compared[1][kind]["spectrum"]
        axes[0, 2].plot(spectrum, color=plots.COLOURS[kind], marker=plots.MARKERS[kind], markersize=4, label=kind)
    axes[0, 2].set_xlabel("spatial frequency (cycles per image)")
    axes[0, 2].set_ylabel("share of the energy")
    axes[0, 2].legend()
    return fig


def training_figure(logs: dict[str, list[dict[str, float]]]) -> Figure:
    """The loss of each network against its steps."""
    fig, axes = plots.figure(1, len(logs), 10.0, 2.6)
    for ax, (name, rows) in zip(axes[0], logs.items()):
        ax.plot([r["step"] for r in rows], [r["loss"] for r in rows], color=plots.COLOURS.get(name, "#56b4e9"))
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
    schedule: Any = first.schedule
    for name, model in models.items():
        same_classes(model.classes, test.classes, name, test.name)
        config, alpha_bar = model.network.config, getattr(model.schedule, "alpha_bar", torch.empty(0))
        if (takes := (config.in_channels, config.image_size, config.image_size)) != test.shape:
            raise DataError(f"{name} takes images of {takes}, and those of {test.name} are {test.shape}")
        if not torch.equal(alpha_bar, schedule.alpha_bar):
            raise DataError(f"{name} knows images noised by another schedule than the first one: compare it alone")
    if not (levels and all(0 <= level < schedule.T for level in levels)):
        raise DataError(f"levels run from 0 to {schedule.T - 1}, and are {tuple(levels)}: give one or more of those")
    if target is not None and not 0 <= target < len(test.classes):
        raise DataError(f"classes run from 0 to {len(test.classes) - 1}, and the target is {target}")
    device = processes().device
    x0, y = test.x0().to(device), test.labels.to(device)
    eps = noise(x0.shape, seed).to(device)
    towards = y[:1] if target is None else torch.full_like(y[:1], target)
    rows: dict[str, list[Tensor]] = {name: [] for name in ("noised image", *map(plots.plain, models))}
    for level in tqdm(levels, "gradients", unit="level"):
        t = torch.full_like(y, level)
        xt = schedule.q_sample(x0, t, eps)
        rows["noised image"].append(xt[0].cpu())
        for name, model in models.items():
            rows[plots.plain(name)].append(grad_log_prob(model.network)(xt[:1], t[:1], towards)[0].cpu())
            norm = gradients.norm(model.network, xt, t, y).mean()
            cosine = gradients.cosine(first.network, model.network, xt, t, y).nanmean()
            tqdm.write(f"t = {level:4d}  {name:>12}  norm {norm:9.3f}  cosine to the first {cosine:+.3f}")
    pictures = {name: torch.stack(images) for name, images in rows.items()}
    return plots.picture_table(pictures, [f"t = {t}" for t in levels], list(pictures)[1:], size=1.1)
