"""Training: a generator over any objective, which resumes where it was killed.

`for step in fit(network, objective, data, schedule, ...)` yields every step; the caller logs, plots and stops. All
randomness of a step is a function of (seed, step), so nothing but weights, optimiser and step number is saved, and
on the CPU a run that was killed and resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rgd import checkpoints
from rgd.data import Dataset, batch_indices
from rgd.errors import CheckpointError, DataError, TrainingDiverged
from rgd.identity import architecture, differences, identity
from rgd.networks import NETWORKS, UNetConfig
from rgd.objectives import Loss, Objective, unwrap
from rgd.processes import Processes, processes
from rgd.randomness import generator
from rgd.schedule import Schedule

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: images a step, over all processes and accumulated micro-batches.
        lr, weight_decay: of AdamW; `warmup` steps up from zero, then constant or, with `anneal`, linearly to zero.
        ema: decay of the averaged weights, None for none. It warms up as (1 + n) / (10 + n), so that early averages
            do not drag the random start along.
        accumulate: micro-batches a step, for batches beyond the device's memory.
        clip: largest norm of the gradient, None for no clipping.
        flip: mirror each image left to right with probability 1/2.
        shift: move each image by up to so many pixels in each direction, its edges reflected.
        precision: "auto" is the fastest that is safe, see `autocast`.
        seed: of everything random.
        save_every: steps between training states, where there is a folder to keep them.
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

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"the decay of the EMA lies in [0, 1), not {self.ema}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"the learning rate is a positive number, not {self.lr}")

    def lr_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ... steps - 1."""
        factor = min(1.0, (step + 1) / (self.warmup + 1))
        return self.lr * factor * (1 - step / self.steps if self.anneal else 1)


@dataclass(frozen=True, eq=False)
class TrainStep:
    """What one optimiser step did.

    Attributes:
        step: steps done, from 1 to `Training.steps`.
        images: images seen, over all processes, since the first step of all.
        loss: of this step, averaged over micro-batches; a tensor, so that reading it is the caller's choice.
        statistics: of the objective, averaged over micro-batches; on this process.
        lr: the learning rate used.
        seconds: spent training since step 0, earlier runs included.
        network: the network to use: the averaged one where there is an EMA, else the trained one.
    """

    step: int
    images: int
    loss: Tensor
    statistics: dict[str, Tensor]
    lr: float
    seconds: float
    network: nn.Module = field(repr=False)


def autocast(
    device: torch.device, precision: Precision = "auto", network: nn.Module | None = None
) -> AbstractContextManager:
    """The mixed-precision context for a device.

    "auto" is bf16 on GPUs that have it, fp16 on others. On a CPU it is bf16 where the processor has instructions for it
    and the network is known to have a million parameters or more, which halves the time; smaller ones lose more to
    conversions than they gain. All else is fp32.

    Raises:
        ValueError: for an unknown precision, or fp16 on a CPU.
    """
    if precision == "auto":
        precision = _fast_precision(device, network)
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("fp16 needs a GPU; choose bf16 or fp32 on a CPU")
    if precision not in ("fp32", "bf16", "fp16"):
        raise ValueError(f"precision is 'auto', 'fp32', 'bf16' or 'fp16', not {precision!r}")
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def _fast_precision(device: torch.device, network: nn.Module | None) -> Precision:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type != "cpu" or network is None or sum(p.numel() for p in network.parameters()) < 1_000_000:
        return "fp32"
    # PyTorch has no public question for this; where there are no instructions, bfloat16 is emulated, and slow.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in questions) else "fp32"


def _drops(module: nn.Module) -> bool:
    """Whether a layer drops something: `nn.Dropout` and its kin, or attention with a share of its own."""
    share = module.p if isinstance(module, nn.modules.dropout._DropoutNd) else getattr(module, "dropout", 0)
    return isinstance(share, float) and share > 0


class _Run:
    """The mutable state of one training run, and its way to disk and back."""

    def __init__(self, network: nn.Module, training: Training, group: Processes) -> None:
        self.wrapped = group.wrap(network)
        self.network = unwrap(self.wrapped)
        self.training, self.group = training, group
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        fused = group.device.type in ("cuda", "cpu")
        self.optimizer = torch.optim.AdamW(parameters, lr=training.lr, weight_decay=training.weight_decay, fused=fused)
        self.ema = AveragedModel(self.network, multi_avg_fn=self._average) if training.ema is not None else None
        self.autocast = autocast(group.device, training.precision, self.network)
        half = isinstance(self.autocast, torch.autocast) and self.autocast.fast_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=half)
        # Only dropout consults the global random state; where there is some, each step seeds a fork of it.
        self.dropout = any(_drops(m) for m in self.network.modules())
        self.step, self.seconds, self.saved_at = 0, 0.0, 0

    def _average(self, averaged: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        decay = min(self.training.ema or 0.0, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    @property
    def result(self) -> nn.Module:
        return self.network if self.ema is None else self.ema.module

    def state(self) -> dict[str, Tensor]:
        """All tensors of the run under one namespace; the optimiser's by parameter number."""
        tensors = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        for i, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{k}": torch.as_tensor(v) for k, v in entries.items()}
        if self.ema is not None:
            tensors |= {f"ema/{k}": v for k, v in self.ema.state_dict().items()}
        scaler = self.scaler.state_dict()
        return tensors | {f"scaler/{k}": torch.tensor(float(v)) for k, v in scaler.items()}

    def restore(self, tensors: dict[str, Tensor], source: Path) -> None:
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}, "ema": {}, "scaler": {}}
        for name, tensor in tensors.items():
            part, key = name.split("/", 1)
            parts[part][key] = tensor
        checkpoints.load_weights(self.network, parts["network"], source)
        if self.ema is not None:
            checkpoints.load_weights(self.ema, parts["ema"], source)
        state: dict[int, dict[str, Tensor]] = {}
        parameters = self.optimizer.param_groups[0]["params"]
        for name, tensor in parts["optimizer"].items():
            i, key = name.split("/")
            if tensor.ndim:  # a fused step walks memory: averages must lie as their parameters do
                tensor = torch.empty_like(parameters[int(i)]).copy_(tensor)
            state.setdefault(int(i), {})[key] = tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if parts["scaler"]:
            scale = {k: v.item() for k, v in parts["scaler"].items()}
            whole = ("growth_interval", "_growth_tracker")
            self.scaler.load_state_dict({k: int(v) if k in whole else v for k, v in scale.items()})


def _states(folder: Path) -> tuple[Path, Path]:
    return folder / "state.safetensors", folder / "state.previous.safetensors"


def _save(run: _Run, folder: Path, ours: dict[str, Any]) -> None:
    newest, previous = _states(folder)
    state = run.state()
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise _diverged(f"{broken[0]} became NaN or infinite by step {run.step}", run, folder)
    if run.group.rank == 0:
        # The older state is kept until the newer one is whole, and beyond: it is what a damaged one falls back to.
        partial = folder / "state.new.safetensors"
        checkpoints.write(partial, state, {"identity": ours, "step": run.step, "seconds": run.seconds})
        if newest.exists():
            newest.replace(previous)
        partial.replace(newest)
    run.saved_at = run.step


def _resume(run: _Run, folder: Path, ours: dict[str, Any]) -> None:
    damage: list[str] = []
    for path in _states(folder):
        if not path.exists():
            continue
        try:
            tensors, metadata = checkpoints.read(path)
        except CheckpointError as error:
            damage.append(str(error))
            continue
        changes = "; ".join(differences(metadata.get("identity", {}), ours))
        if changes:
            raise CheckpointError(
                f"{folder} holds a run with other settings: {changes}. Restore them to resume, or train into another "
                "folder (or delete this one)"
            )
        run.restore(tensors, path)
        run.step, run.seconds, run.saved_at = metadata["step"], metadata["seconds"], metadata["step"]
        return
    if damage:
        raise CheckpointError(f"no training state in {folder} can be read: {'; '.join(damage)}")


def identity_of(
    network: nn.Module, objective: Objective, data: Dataset, schedule: Schedule, training: Training
) -> dict[str, Any]:
    """What a run is: a resumed run must be the same."""
    parts = {"objective": objective, "data": data, "schedule": schedule, "training": training}
    return {"network": architecture(network), **{name: identity(part) for name, part in parts.items()}}


def fit(
    network: nn.Module,
    objective: Objective,
    data: Dataset,
    schedule: Schedule,
    training: Training,
    folder: Path | str | None = None,
) -> Iterator[TrainStep]:
    """Train a network, step by step.

    Under `accelerate launch` each process takes its share of every batch. The share is a micro-batch with its own
    randomness, so that two processes do what one does with `accumulate` doubled.

    Args:
        network: trained in place, on the best device.
        objective: what of `rgd.objectives`, or your own.
        data: images and labels; moved to the device once, as uint8.
        schedule: the noise.
        training: how; see `Training`.
        folder: where to keep the training state, every `save_every` steps and whenever training stops, by Ctrl-C
            too. A run found there is resumed, and a finished one yields its last step again. None keeps nothing.

    Raises:
        TrainingDiverged: when the loss is NaN or infinite, naming the step, the loss and the last good state.
        CheckpointError: when the folder holds a run with other settings, or no readable state.
        IdentityError: when there is a folder, and the objective cannot say what it is.
        DataError: when images or labels are not those the network was built for.
        ValueError: when the batch cannot be split over processes and micro-batches.
    """
    group = processes()
    slots = group.count * training.accumulate
    if training.batch_size % slots:
        raise ValueError(
            f"a batch of {training.batch_size} does not split over {group.count} processes x {training.accumulate} "
            "micro-batches"
        )
    _check_fits(network, data)
    run = _Run(network, training, group)
    folder = None if folder is None else Path(folder)
    ours = {} if folder is None else identity_of(run.network, objective, data, schedule, training)
    if folder is not None:
        _resume(run, folder, ours)
    data = data.to(group.device)
    check_every = 1 if group.device.type == "cpu" else 20  # on a GPU, looking at the loss means waiting for it
    consistent = True
    if run.step >= training.steps:
        yield _report(run, [], 0.0)
    try:
        while run.step < training.steps:
            began = time.perf_counter()
            losses = _gradients(run, objective, data, schedule, slots)
            last = run.step + 1 == training.steps
            if run.step % check_every == 0 or last or (run.step + 1) % training.save_every == 0:
                _check_finite(losses, run, folder)
            consistent = False
            lr = _update(run)
            run.step += 1
            run.seconds += time.perf_counter() - began
            consistent = True
            if folder is not None and (last or run.step % training.save_every == 0):
                _save(run, folder, ours)
            yield _report(run, losses, lr)
    except TrainingDiverged:
        raise
    except BaseException:  # Ctrl-C, or the caller's own break: keep what was done, unless caught in mid-update
        if folder is not None and consistent and run.step > run.saved_at:
            _save(run, folder, ours)
        raise


def _check_fits(network: nn.Module, data: Dataset) -> None:
    """Whether the images and labels are those the network was configured for, as far as it says."""
    config = getattr(network, "config", None)
    if config is None or type(config) not in {known for known, _ in NETWORKS.values()}:
        return
    expected = (config.in_channels, config.image_size, config.image_size)
    if data.shape != expected:
        raise DataError(f"{data.name} has images of shape {data.shape}, and the network takes {expected}")
    classes = config.num_classes if isinstance(config, UNetConfig) else config.out_channels
    if classes is not None and len(data.classes) > classes:
        raise DataError(f"{data.name} has {len(data.classes)} classes, and the network was built for {classes}")


def _gradients(run: _Run, objective: Objective, data: Dataset, schedule: Schedule, slots: int) -> list[Loss]:
    """Accumulate the gradients of this process's micro-batches of one step."""
    training, group = run.training, run.group
    size = training.batch_size // slots
    batch = batch_indices(len(data), training.batch_size, training.seed, run.step)
    losses = []
    run.wrapped.train()  # the caller may have looked at the network in evaluation mode
    for micro in range(training.accumulate):
        slot = micro * group.count + group.rank
        random = generator(training.seed, "step", run.step, slot, device=group.device)
        index = batch[slot * size : (slot + 1) * size].to(group.device)
        x0, y = data.x0(index), data.labels[index]
        x0 = augment(x0, training, random)
        waiting = micro < training.accumulate - 1 and group.count > 1
        with run.wrapped.no_sync() if waiting else nullcontext():  # type: ignore[operator]
            forked = torch.random.fork_rng() if run.dropout else nullcontext()
            with forked, run.autocast:
                if run.dropout:
                    torch.manual_seed(int(generator(training.seed, "dropout", run.step, slot).initial_seed()))
                loss = objective(run.wrapped, schedule, x0, y, random)
            run.scaler.scale(loss.value / training.accumulate).backward()
        losses.append(loss)
    return losses


def augment(x0: Tensor, training: Training, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W), each mirrored and moved at random, as far as `training` says so."""
    B, C, H, W = x0.shape
    if training.flip:
        mirrored = torch.rand(B, 1, 1, 1, generator=generator, device=x0.device) < 0.5
        x0 = torch.where(mirrored, x0.flip(-1), x0)
    if training.shift:
        reach = training.shift
        padded = nn.functional.pad(x0, (reach,) * 4, mode="reflect")
        top, left = torch.randint(2 * reach + 1, (2, B, 1), generator=generator, device=x0.device)
        rows, columns = top + torch.arange(H, device=x0.device), left + torch.arange(W, device=x0.device)
        image, channel = torch.arange(B, device=x0.device), torch.arange(C, device=x0.device)
        x0 = padded[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None]]
    return x0


def _update(run: _Run) -> float:
    training = run.training
    lr = training.lr_at(run.step)
    for parameters in run.optimizer.param_groups:
        parameters["lr"] = lr
    if training.clip is not None:
        run.scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(run.network.parameters(), training.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    if run.ema is not None:
        run.ema.update_parameters(run.network)
    return lr


def _check_finite(losses: list[Loss], run: _Run, folder: Path | None) -> None:
    values = [float(loss.value.detach()) for loss in losses]
    if not all(map(math.isfinite, values)):
        raise _diverged(f"the loss was {values} at step {run.step + 1}", run, folder)


def _diverged(what: str, run: _Run, folder: Path | None) -> TrainingDiverged:
    kept = "none was saved"
    if folder is not None and run.saved_at:
        kept = f"the last good state is {_states(folder)[0]}, of step {run.saved_at}"
    return TrainingDiverged(
        f"{what} (lr {run.training.lr_at(run.step):.2e}); {kept}. Lower the learning rate, clip the gradient "
        "(clip=1.0), or use a wider precision (bf16 or fp32)"
    )


def _report(run: _Run, losses: list[Loss], lr: float) -> TrainStep:
    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack([value.detach().float() for value in values]).mean()

    names = losses[0].statistics if losses else {}
    return TrainStep(
        run.step,
        run.step * run.training.batch_size,
        mean([loss.value for loss in losses]) if losses else torch.tensor(float("nan")),
        {name: mean([loss.statistics[name] for loss in losses]) for name in names},
        lr,
        run.seconds,
        run.result,
    )
