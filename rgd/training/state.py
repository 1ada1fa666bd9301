"""How to train, and the state of a training run: what its steps change, and its way to disk and back."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rgd.compute.precision import Precision, autocast
from rgd.errors import CheckpointError, TrainingDiverged, at_least, one_of, require
from rgd.identity import differences, digest, weights_digest
from rgd.modes import modes_of
from rgd.processes import Processes
from rgd.training import checkpoints
from rgd.training.objectives import Loss, unwrap

STATE, PREVIOUS = "state.safetensors", "state.previous.safetensors"


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: images a step, over all processes and accumulated micro-batches.
        lr, weight_decay: of AdamW; `warmup` steps up from zero, then constant or, with `anneal`, linearly to zero.
        ema: decay of the averaged weights, None for none. It is at most (1 + n) / (10 + n) after n steps, so that early
            averages do not drag the random start along.
        accumulate: micro-batches a step, for batches beyond the device's memory.
        clip: largest norm of the gradient, None for no clipping.
        flip: mirror each image left to right with probability 1/2.
        shift: move each image by up to so many pixels in each direction, its edges reflected.
        precision: "auto" is the fastest that is safe, see `rgd.compute.precision.autocast`.
        seed: of everything random.
        save_every: steps between training states, where there is a folder to keep them.
        recompute: gradient checkpointing, for less memory and a third more time; see `rgd.compute.room.recomputing`.

    Raises ValueError naming the setting that cannot be, and what it may be.
    """

    steps: int
    batch_size: int = 128
    lr: float = 3e-4
    weight_decay: float = 0.05
    warmup: int = 0
    anneal: bool = True
    ema: float | None = None
    accumulate: int = 1
    clip: float | None = None
    flip: bool = False
    shift: int = 0
    precision: Precision = "auto"
    seed: int = 0
    save_every: int = field(default=1000, compare=False)  # changes nothing of what comes out
    recompute: bool = field(default=False, compare=False)  # nor does this

    def __post_init__(self) -> None:
        at_least(self, steps=1, batch_size=1, warmup=0, accumulate=1, shift=0, save_every=1)
        require(0 < self.lr < math.inf, "lr", self.lr, "positive and finite")
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "zero or more, and finite")
        require(self.ema is None or 0 <= self.ema < 1, "ema", self.ema, "in [0, 1), or None for no average")
        clips = self.clip is None or 0 < self.clip < math.inf
        require(clips, "clip", self.clip, "positive and finite, or None for no clipping")
        one_of("precision", self.precision, Precision)

    def lr_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ... steps - 1."""
        factor = min(1.0, (step + 1) / (self.warmup + 1))
        return self.lr * factor * (1 - step / self.steps if self.anneal else 1)


class TrainingState:
    """A network in training, with its optimiser, its average, the number of steps done and what the last one gave.

    Attributes:
        wrapped, network: as the processes share it, and the network inside.
        modes: in which each module trains. One that its owner set to evaluation mode, such as a frozen batch norm,
            stays so; a network that is in evaluation mode as a whole is set to training.
        slots, micro_batch: in how many micro-batches, of how many images, a batch is split, over processes and in turn.
            Each has its own randomness: where they are as many, the outcome is the same, to rounding.
        at_once, tried: for how many images there is room; in how many steps that was tried out.
        whole: False in the midst of an update, when nothing may be saved.
        loss, statistics: of the last step.
    """

    def __init__(self, network: nn.Module, group: Processes, training: Training) -> None:
        self.group, self.training, self.wrapped = group, training, group.wrap(network)
        self.network = unwrap(self.wrapped)
        if not self.network.training:
            self.network.train()
        self.modes = modes_of(self.wrapped)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        fused, decay = group.device.type in ("cuda", "cpu"), training.weight_decay
        self.optimizer = torch.optim.AdamW(self.parameters, training.lr, weight_decay=decay, fused=fused)
        self.ema = None if training.ema is None else AveragedModel(self.network, multi_avg_fn=self._average)
        self.autocast = autocast(group.device, training.precision, self.network)
        half = isinstance(self.autocast, torch.autocast) and self.autocast.fast_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=half)
        self.step, self.seconds, self.saved_at, self.whole, self.tried = 0, 0.0, 0, True, 0
        self._split(group.count * training.accumulate)
        self.loss, self.statistics = torch.tensor(torch.nan), dict[str, Tensor]()
        self.folder: Path | None = None
        self.identity: dict[str, Any] = {}
        self.start = ""

    def _split(self, slots: int) -> None:
        if self.training.batch_size % slots:
            over = f"{self.group.count} processes x {slots // self.group.count} micro-batches"
            raise ValueError(f"a batch of {self.training.batch_size} does not split over {over}")
        self.slots, self.micro_batch = slots, self.training.batch_size // slots
        self.at_once = self.micro_batch

    def _average(self, averaged: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        decay = min(self.training.ema or 0.0, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    def update(self, losses: list[Loss]) -> None:
        """One step of the optimiser along the gradients that were accumulated."""
        self.whole = False
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.training.lr_at(self.step)
        if self.training.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.network)
        self.loss = _mean([loss.value for loss in losses])
        self.statistics = {name: _mean([loss.statistics[name] for loss in losses]) for name in losses[0].statistics}
        self.step += 1
        self.whole = True

    def tensors(self) -> dict[str, Tensor]:
        """Network, average and optimiser under one namespace; the optimiser's entries by parameter number."""
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            entries = self.optimizer.state.get(parameter, {})
            tensors |= {f"optimizer/{i}/{name}": tensor for name, tensor in entries.items()}
        if self.ema is not None:
            tensors |= {f"ema/{name}": tensor for name, tensor in self.ema.state_dict().items()}
        return tensors

    def save(self) -> None:
        """Keep the state in the folder that `resume` was given, if any, unless it holds numbers that are none.

        The one before it is kept too, for a damaged one to fall back to.
        """
        if self.folder is None:
            return
        tensors = self.tensors()
        broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
        if broken:
            raise self.diverged(f"{broken[0]} became NaN or infinite by step {self.step}")
        if self.group.rank == 0:
            metadata = {
                "identity": self.identity,
                "start": self.start,
                "step": self.step,
                "slots": self.slots,
                "seconds": self.seconds,
                "loss": float(self.loss),
                "statistics": {name: float(value) for name, value in self.statistics.items()},
                "scaler": self.scaler.state_dict(),
            }
            partial, newest = self.folder / "state.new.safetensors", self.folder / STATE
            checkpoints.write(partial, tensors, metadata)
            if newest.exists():
                newest.replace(self.folder / PREVIOUS)
            partial.replace(newest)
        self.saved_at = self.step

    def resume(self, folder: Path, identity: dict[str, Any]) -> None:
        """Go on from the newest readable state in a folder, if there is one, and keep later ones there.

        Raises CheckpointError if it is of a run with another identity or other weights at its start, or none of those
        there can be read.
        """
        self.folder, self.identity, self.start = folder, identity, weights_digest(self.network)
        found = self.group.first(lambda: _newest(folder))
        if found is not None:
            with checkpoints.understood(found[2], sealed=True):
                self._go_on(*found)

    def _go_on(self, tensors: dict[str, Tensor], metadata: dict[str, Any], source: Path) -> None:
        folder, identity = source.parent, self.identity
        changes = "; ".join(differences(metadata.get("identity", {}), identity))
        if changes:
            raise CheckpointError(
                f"{folder} holds a run with other settings: {changes}. Restore them to resume, or train into "
                "another folder (or delete this one)"
            )
        # A run that goes on has the weights with which it began; or, in a notebook, those to which it has come.
        come_to = {digest(_part(tensors, start))[:16] for start in ("network/", "ema/module.")}
        begun = metadata.get("start", self.start)
        if self.start not in {begun, *come_to}:
            raise CheckpointError(
                f"{folder} holds a run that began with other weights than this network has: give it the network "
                "with which it began to resume, or train into another folder (or delete this one)"
            )
        self.start = begun
        self._restore(tensors, metadata, source)

    def _restore(self, tensors: dict[str, Tensor], metadata: dict[str, Any], source: Path) -> None:
        checkpoints.load_weights(self.network, _part(tensors, "network/"), source)
        if self.ema is not None:
            checkpoints.load_weights(self.ema, _part(tensors, "ema/"), source)
        for name, tensor in _part(tensors, "optimizer/").items():
            i, key = name.split("/")
            parameter = self.parameters[int(i)]
            # A fused step walks memory: averages must lie as their parameters do.
            like = torch.empty_like(parameter).copy_(tensor) if tensor.ndim else tensor.to(parameter.device)
            self.optimizer.state[parameter][key] = like
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(metadata["scaler"])
        self.step = self.saved_at = operator.index(metadata["step"])
        slots = operator.index(metadata.get("slots", self.slots))
        if slots % self.group.count == 0:  # else fewer or more processes see the same images, with other noise
            self._split(slots)
        self.seconds, self.loss = float(metadata["seconds"]), torch.tensor(float(metadata["loss"]))
        self.statistics = {name: torch.tensor(value) for name, value in metadata["statistics"].items()}

    def diverged(self, what: str) -> TrainingDiverged:
        """The error to raise, with where the last good state is."""
        kept = "none was saved"
        if self.folder is not None and self.saved_at:
            kept = f"the last good state is {self.folder / STATE}, of step {self.saved_at}"
        return TrainingDiverged(
            f"{what} (lr {self.optimizer.param_groups[0]['lr']:.2e}); {kept}. Lower the learning rate, clip the "
            "gradient (clip=1.0), or use a wider precision (bf16 or fp32)"
        )


def _newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], Path] | None:
    """The newest state in a folder that can be read, if there is one at all: tensors, metadata, and its file."""
    damage: list[str] = []
    for path in (folder / STATE, folder / PREVIOUS):
        if path.exists():
            try:
                return *checkpoints.read(path), path
            except CheckpointError as error:
                damage.append(str(error))
    if damage:
        raise CheckpointError(f"no training state in {folder} can be read: {'; '.join(damage)}")
    return None


def _part(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    """Those whose names start so, under the rest of their names."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack([value.detach().float() for value in values]).mean()
