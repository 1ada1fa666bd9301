"""The paper's table at work. Images are drawn in pieces, each kept as soon as it is done, so that a run goes on
wherever it was killed. An image depends on the seed and its own number alone, a piece on nothing that others do."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from rgd import measure
from rgd.adapters import adm
from rgd.book import plots
from rgd.denoiser import Denoiser
from rgd.errors import CheckpointError
from rgd.guidance import grad_log_prob, guide
from rgd.lab.bench import Bench
from rgd.lab.checks import while_finite
from rgd.lab.origin import provenance
from rgd.lab.store import Kept
from rgd.layers import image_shape
from rgd.measure import Features
from rgd.processes import processes
from rgd.randomness import NoiseStream
from rgd.samplers import ddpm
from rgd.scale.paper import METRICS, Paper, Row, labels
from rgd.training import checkpoints
from rgd.training.checkpoints import understood

SEEN = ("features", "logits", "spatial")


def with_moments(mean: Tensor, covariance: Tensor, like: Features) -> Features:
    """Features of no images, twice as many as dimensions, with exactly these moments: all a Frechet distance asks."""
    values, axes = torch.linalg.eigh(covariance)
    spread = (axes * values.clamp(min=0).sqrt()).T * (len(values) - 0.5) ** 0.5
    cloud = mean + torch.cat([spread, -spread])
    return Features(cloud, cloud[:, :1], like.source, like.shape, spatial=cloud)


class Work:
    """One table at work. A piece is a row and the number of its first image."""

    def __init__(self, plan: Paper, bench: Bench) -> None:
        self.plan, self.bench, self.store = plan, bench, bench.store
        self.shape = image_shape(plan.unet)
        self.firsts = range(0, plan.samples, plan.batch_size)
        self.device = processes().device
        self.quiet = not bench.progress or processes().rank > 0
        self.origin = provenance()  # once: it asks git

    def piece(self, row: Row, first: int) -> dict[str, Any]:
        """All that the images of a piece depend on."""
        plan, n = self.plan, min(self.plan.batch_size, self.plan.samples - first)
        guided = row.classifier and [row.classifier, plan.encoder, row.scale]
        settings = {"steps": plan.steps, "seed": plan.seed, "dtype": plan.dtype, "first": first, "n": n}
        return {"denoiser": plan.denoiser, "unet": plan.unet, "classes": plan.encoder.out_channels,
                "guided": guided, **settings}  # fmt: skip

    def scored(self, row: Row) -> dict[str, Any]:
        """All that a row's scores depend on."""
        against = {"eye": self.plan.eye, "reference": self.plan.reference, "halves": self.plan.halves}
        return {"pieces": [self.piece(row, first) for first in self.firsts], **against}

    def known(self) -> list[dict[str, Any]]:
        """The rows of the table that are scored."""
        found = [(row, self.scored(row)) for row in self.plan.rows]
        there = [(row, parts) for row, parts in found if self.store.has("scores", **parts)]
        return [self.store.get("scores", **parts).cell(name=row.name, scale=row.scale) for row, parts in there]

    def needed(self) -> list[Row]:
        """The rows that are not scored; the reference is looked at before anything is drawn for them in vain."""
        rows = [row for row in self.plan.rows if not self.store.has("scores", **self.scored(row))]
        assert not rows or self.references
        return rows

    # Drawing.

    @cached_property
    def denoisers(self) -> dict[str, Denoiser]:
        """A denoiser for each row, guided as the paper guides."""
        load: Any = partial(adm.load, dtype=getattr(torch, self.plan.dtype), device=self.device)
        found = {row.name: load(self.plan.unet, self.plan.denoiser.path) for row in self.plan.rows[:1]}
        (alone,) = found.values()
        for row in self.plan.rows:
            gradient = row.classifier and grad_log_prob(load(self.plan.encoder, row.classifier.path))
            found[row.name] = guide(alone, gradient, row.scale, form="mean") if gradient else alone
        return found

    def images(self, row: Row, first: int, n: int, bar: Any) -> Tensor:
        """A piece, uint8 (n, C, H, W), drawn by this process alone."""
        y = labels(self.plan.seed, first, n, self.plan.encoder.out_channels).to(self.device)
        noise = NoiseStream(self.plan.seed, first)
        x = noise(0, (n, *self.shape), self.device)
        for step in while_finite(ddpm, self.denoisers[row.name], x, y, steps=self.plan.steps, noise=noise):
            x = step.x
            bar.update()
        return measure.quantise(x.float().cpu())

    def draw(self) -> Iterator[int]:
        """Draw what is not there; of every row, how many images there are, now and then. All rows grow together. In
        each round every process draws one piece, and the first keeps them all."""
        group, size, steps = processes(), self.plan.batch_size, self.plan.steps
        rows = group.first(self.needed)
        pieces = [(row, first) for first in self.firsts for row in rows]
        left = group.first(lambda: [p for p in pieces if not self.store.has("drawn", **self.piece(*p))])
        shown: dict[str, Any] = {"desc": "drawing", "unit": "step", "disable": self.quiet}
        done = len(pieces) - len(left)
        with closing(tqdm(total=len(pieces) * steps, initial=done * steps, **shown)) as bar:
            for number, start in enumerate(range(0, len(left), group.count)):
                now = left[start : start + group.count]
                mine = torch.zeros(size, *self.shape, dtype=torch.uint8)
                if group.rank < len(now):
                    row, first = now[group.rank]
                    n = self.piece(row, first)["n"]
                    mine[:n] = self.images(row, first, n, bar)
                drawn = group.gather(mine, size * group.count).split(size)
                bar.update((len(now) - 1) * steps)
                if group.rank == 0:
                    self.keep(now, drawn)
                if _worth_showing(number) or start + group.count >= len(left):
                    if group.rank == 0:
                        self.pictures()
                    yield min(self.plan.samples, (done + start + len(now)) // len(rows) * size)

    def keep(self, pieces: Iterable[tuple[Row, int]], drawn: Iterable[Tensor]) -> None:
        """Put pieces into the store."""
        for piece, images in zip(pieces, drawn):
            parts = self.piece(*piece)
            self.store.put(Kept(tensors={"images": images[: parts["n"]]}, origin=self.origin), "drawn", **parts)

    def kept(self, row: Row) -> Iterator[Tensor]:
        """A row's images, piece by piece, as far as they are there."""
        for parts in (self.piece(row, first) for first in self.firsts):
            if not self.store.has("drawn", **parts):
                return
            yield self.store.get("drawn", **parts).tensors["images"]

    def pictures(self) -> None:
        """The first images of all rows, a line for each, and a grid of each row, beside the results."""
        rows = {}
        for row in self.plan.rows:
            found = [images for images, _ in zip(self.kept(row), range(-(-100 // self.plan.batch_size)))]
            if found:
                rows[row.name] = torch.cat(found)[:100] / 127.5 - 1
                _save_grid(rows[row.name], self.beside(row, ".png"))
        n = min([10, *map(len, rows.values())])
        _save_grid(torch.cat([images[:n] for images in rows.values()]), self.bench.out.with_suffix(".png"), n)

    def beside(self, row: Row, suffix: str) -> Path:
        """Where what belongs to a row is written."""
        return self.bench.out.with_name(f"{self.bench.out.stem}-{row.name}{suffix}")

    # Scoring.

    @cached_property
    def eye(self) -> nn.Module:
        """Who looks."""
        path = self.plan.eye.path
        if path.suffix != ".safetensors":
            return measure.load_inception(path, spatial=True).to(self.device)
        judge = checkpoints.load(path, self.device).network
        if not hasattr(judge, "spatial"):
            raise CheckpointError(
                f"{path} holds a {type(judge).__name__}, where a judge with spatial features is needed"
            )
        return judge

    def look(self, images: Tensor, **parts: Any) -> dict[str, Any]:
        """What is seen in images, looked at once: tensors, and who saw it."""
        if not self.store.has("seen", eye=self.plan.eye, **parts):
            found = measure.extract(images, self.eye)
            tensors = {name: getattr(found, name).float() for name in SEEN}
            self.store.put(
                Kept({"source": found.source}, tensors, origin=self.origin), "seen", eye=self.plan.eye, **parts
            )
        kept = self.store.get("seen", eye=self.plan.eye, **parts)
        return {"source": kept.values["source"], **kept.tensors}

    def features(self, looks: Iterable[dict[str, Any]]) -> Features:
        """What was seen in all of the pieces."""
        pieces = list(looks)
        whole: Any = {name: torch.cat([piece[name] for piece in pieces]).double() for name in SEEN}
        return Features(source=pieces[0]["source"], shape=self.shape, **whole)

    @cached_property
    def references(self) -> dict[str, Features]:
        """For each metric, what the samples' features are held against."""
        file = self.plan.reference
        with understood(file.path), np.load(file.path, allow_pickle=False) as archive:
            images = torch.from_numpy(archive["arr_0"]).movedim(-1, 1)
            names = [name for name in ("mu", "sigma", "mu_s", "sigma_s") if name in archive]
            moments = {name: torch.from_numpy(archive[name]).double() for name in names}
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            found = f"{file.path} holds images {images.dtype} {tuple(images.shape[1:])}"
            raise CheckpointError(f"{found}, where uint8 {self.shape} are drawn: name another --reference")
        parts = images.split(self.plan.batch_size)
        seen = self.features(self.look(part, reference=file, part=i, n=len(part)) for i, part in enumerate(parts))
        against = dict.fromkeys(METRICS, seen)
        if len(moments) == 4 and seen.source.startswith("inception"):
            against["fd"] = with_moments(moments["mu"], moments["sigma"], seen)
            against["sfd"] = with_moments(moments["mu_s"], moments["sigma_s"], seen)
        return against

    def score(self, row: Row) -> None:
        """Keep a row's scores; a metric that is known is not computed again."""
        parts, found = self.scored(row), dict[str, Any]()
        if self.store.has("scores", **parts):
            return
        if [name for name in METRICS if not self.store.has("metric", metric=name, **parts)]:
            pieces = tqdm(self.firsts, f"looking at {row.name}", disable=self.quiet)
            each = zip(pieces, self.kept(row))
            seen = self.features(self.look(images, **self.piece(row, first)) for first, images in each)
        for name in tqdm(METRICS, f"scoring {row.name}", disable=self.quiet):
            if not self.store.has("metric", metric=name, **parts):
                value = measure.estimate(name, seen, self.references[name], halves=self.plan.halves)
                self.store.put(Kept({name: value}, origin=self.origin), "metric", metric=name, **parts)
            found |= self.store.get("metric", metric=name, **parts).values
        self.store.put(Kept(found, origin=self.origin), "scores", **parts)

    def write_npz(self, row: Row) -> None:
        """A row's images and labels as ADM's evaluator takes them: `arr_0` (N, H, W, C) and `arr_1` (N,)."""
        path, (channels, height, width) = self.beside(row, ".npz"), self.shape
        header: Any = {"descr": "|u1", "fortran_order": False, "shape": (self.plan.samples, height, width, channels)}
        asked = labels(self.plan.seed, 0, self.plan.samples, self.plan.encoder.out_channels).numpy()
        unfinished: Any = path.with_suffix(".partial")
        with zipfile.ZipFile(unfinished, "w") as archive:
            with archive.open("arr_0.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for images in self.kept(row):
                    file.write(images.movedim(1, -1).contiguous().numpy().tobytes())
            with archive.open("arr_1.npy", "w") as file:
                np.lib.format.write_array(file, asked)
        unfinished.replace(path)


def _save_grid(images: Tensor, path: Path, columns: int = 10) -> None:
    """Images (N, C, H, W) in [-1, 1] as a picture of whole pixels, small ones enlarged; a figure would take seconds."""
    grid = ((plots.tile(images, columns) + 1) * 127.5).round().clamp(0, 255).byte().movedim(0, -1)
    times = max(1, 600 // grid.shape[1])
    pixels = grid.repeat_interleave(times, 0).repeat_interleave(times, 1).numpy()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(path)


def _worth_showing(number: int) -> bool:
    """The rounds 0, 1, 3, 7, ...: pictures while they are news."""
    return (number + 1) & number == 0
