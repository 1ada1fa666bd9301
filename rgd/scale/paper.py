"""The paper's table as an experiment: the same images, from the same noise and for the same classes, unguided and with
each guide, scored against ADM's reference images. All but the files is the paper's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pooch
import torch
from torch import Tensor

from rgd.adapters import adm
from rgd.errors import CheckpointError, at_least, require
from rgd.lab.bench import Bench
from rgd.measure import Estimate
from rgd.networks import EncoderConfig, UNetConfig
from rgd.processes import processes
from rgd.randomness import generator

METRICS = {"fd": "FID", "sfd": "sFID", "isc": "IS", "precision": "precision", "recall": "recall"}
UNET: UNetConfig = adm.CONFIGS["128x128_diffusion"]  # type: ignore[assignment]
ENCODER: EncoderConfig = adm.CONFIGS["128x128_classifier"]  # type: ignore[assignment]
SCALES = {"unguided": 0.0, "vanilla": adm.BEST_SCALES["128x128"], "robust": 1.0}
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "unguided": {"fd": 5.91, "precision": 0.70, "recall": 0.65, "source": "Dhariwal & Nichol 2021"},
    "vanilla": {"fd": 2.97, "precision": 0.78, "recall": 0.59, "source": "Dhariwal & Nichol 2021"},
    "robust": {"fd": 2.85, "precision": 0.82, "recall": 0.56, "source": "Kawar et al. 2023, unverified"},
}
"""What was published of ImageNet at 128 pixels, 250 steps. The last has not been checked against the paper."""


@dataclass(frozen=True)
class File:
    """A file: where it is, which is no part of what it is, and the SHA-256 of what is in it."""

    path: Path = field(compare=False)
    sha256: str

    @classmethod
    def at(cls, path: Path) -> Self:
        """The file at a path; CheckpointError if there is none."""
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}")
        return cls(path, pooch.file_hash(str(path)))


@dataclass(frozen=True)
class Row:
    """A row of the table: its name, and the classifier that guides it, if any, at which scale."""

    name: str
    classifier: File | None = None
    scale: float = 0.0


@dataclass(frozen=True)
class Paper:
    """The table: `rgd.experiments.run(Paper(...), out)` makes it, or goes on making it.

    Attributes:
        denoiser: a state dict in ADM's layout, of the configuration `unet`; those of the rows' classifiers `encoder`.
        reference: an .npz with uint8 images (N, H, W, C) as `arr_0`; with `mu`, `sigma`, `mu_s` and `sigma_s`, the
            moments in Inception's features of more images than these.
        eye: who looks at the images: Inception's weights, or a judge's .safetensors.
        batch_size: images that are drawn at once, and kept.
        dtype: of the networks' weights, the name of one of torch's.
        npz: whether the images are written in ADM's layout too, for its own evaluator.
    """

    denoiser: File
    rows: tuple[Row, ...]
    reference: File
    eye: File
    unet: UNetConfig = UNET
    encoder: EncoderConfig = ENCODER
    samples: int = 50_000
    steps: int = 250
    batch_size: int = 100
    seed: int = 0
    dtype: str = "float32"
    halves: int = 30
    npz: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        at_least(self, samples=2, steps=1, batch_size=1, halves=2)
        names = [row.name for row in self.rows]
        require(0 < len(names) == len(set(names)), "the names of the rows", names, "at least one, and no two alike")

    def models(self) -> tuple[str, ...]:
        """None by name: its files are its own."""
        return ()

    def small(self) -> Paper:
        """Fewer images and steps."""
        return replace(self, samples=min(self.samples, 200), steps=min(self.steps, 10))

    def files(self) -> dict[str, dict[str, str]]:
        """What made the table: the name and the digest of each file."""
        found = {"denoiser": self.denoiser, "reference": self.reference, "eye": self.eye}
        found |= {row.name: row.classifier for row in self.rows if row.classifier}
        return {name: {"name": file.path.name, "sha256": file.sha256} for name, file in found.items()}

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now. All processes draw images; the first alone looks at them and scores them."""
        from rgd.scale.work import Work

        work, files = Work(self, bench), self.files()
        for drawn in work.draw():
            yield {"files": files, "drawn": drawn, "table": work.known()}
        if processes().rank > 0:  # nothing is left for them: they need not wait, which their library does minutes alone
            yield {"files": files, "drawn": self.samples, "table": work.known()}
            return
        for row in self.rows:
            work.score(row)
            yield {"files": files, "drawn": self.samples, "table": work.known()}
        for row in self.rows if self.npz else ():
            work.write_npz(row)


def labels(seed: int, first: int, n: int, classes: int) -> Tensor:
    """The classes of the images first, first + 1, ...: uniform at random, as ADM draws them, each by its number."""
    each = [torch.randint(classes, (), generator=generator(seed, "label", i)) for i in range(first, first + n)]
    return torch.stack(each)


def markdown(table: list[Mapping[str, Any]], published: bool = False) -> str:
    """The table of results, with what was published beneath each row, where that can be compared."""
    inception = all("inception" in row["fd"]["method"] for row in table)
    titles = [title if inception else title.replace("FID", "FD-judge") for title in METRICS.values()]
    lines = [["guidance", "scale", *titles], ["---"] * (len(titles) + 2)]
    for row in table:
        ours = [str(Estimate(**row[name])) for name in METRICS]
        lines.append([row["name"], f"{row['scale']:g}" if row["scale"] else "", *ours])
        if published and row["name"] in PUBLISHED:
            theirs = PUBLISHED[row["name"]]
            lines.append([f"*{theirs['source']}*", "", *(f"{theirs[n]:g}" if n in theirs else "" for n in METRICS)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
