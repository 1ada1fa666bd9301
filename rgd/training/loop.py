"""Training: a generator over any objective, which resumes where it was killed.

`for step in fit(network, objective, data, schedule, ...)` yields every step; the caller logs, plots and stops. All
randomness is a function of (seed, step): on the CPU a run that was killed and resumed ends with the same bits.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgd.compute.room import divided, recomputing
from rgd.data import Dataset, batch_indices
from rgd.errors import DataError, TrainingDiverged
from rgd.identity import architecture, identity
from rgd.layers import image_shape
from rgd.memory import halving
from rgd.modes import set_modes
from rgd.networks import NETWORKS, UNetConfig
from rgd.processes import processes
from rgd.randomness import generator, global_seed
from rgd.schedule import Schedule
from rgd.training.objectives import Loss, Objective, Stateful
from rgd.training.state import Training, TrainingState

Batch = tuple[Tensor, Tensor]
"""x0 (B, C, H, W) and y (B,)."""


@dataclass(frozen=True, eq=False)
class TrainStep:
    """What one optimiser step did.

    Attributes:
        step, images, seconds: done, seen and spent since step 0, over all processes and earlier runs.
        loss, statistics: of the objective, averaged over this process's micro-batches; tensors, so that reading them
            is the caller's choice.
        lr: the learning rate used.
        network: the network to use: the averaged one where there is an EMA, else the trained one.
        repeated: whether this is the last step of a run that had finished before, told again: nothing was trained.
    """

    step: int
    images: int
    loss: Tensor
    statistics: dict[str, Tensor]
    lr: float
    seconds: float
    network: nn.Module = field(repr=False)
    repeated: bool = False


def identity_of(
    network: nn.Module, objective: Objective | Stateful, data: Dataset, schedule: Schedule, training: Training
) -> dict[str, Any]:
    """What a run is, and which weights it trains: a resumed run must be the same."""
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    parts = {"objective": objective, "data": data, "schedule": schedule, "training": training, "trained": trained}
    return {"network": architecture(network), **{name: identity(part) for name, part in parts.items()}}


def fit(
    network: nn.Module, objective: Objective | Stateful, data: Dataset, schedule: Schedule, training: Training,
    folder: Path | str | None = None,
) -> Iterator[TrainStep]:  # fmt: skip
    """Train a network, step by step.

    Under `accelerate launch` each process takes its share of every batch, a micro-batch with its own randomness: two
    processes do what one does with `accumulate` doubled, and a run goes on with fewer or more. Where memory runs out
    less is computed at once, with a warning and the same gradients, to rounding; dropout alone draws anew.

    Args:
        network: any module, trained in place, on the best device. Modules that are in evaluation mode, such as a
            frozen batch norm, stay so, unless all of the network is.
        objective: one of `rgd.objectives`, or your own.
        data: moved to the device once, as uint8; or a stream, `rgd.data.stream`, whose batches are read ahead.
        folder: where to keep the training state, every `save_every` steps and whenever training stops, by Ctrl-C
            too. A run found there is resumed, and a finished one tells its last step again. None keeps nothing.

    Raises:
        TrainingDiverged: when the loss is NaN or infinite, naming the step, the loss and the last good state.
        CheckpointError: when the folder holds a run with other settings or another beginning, or no readable state.
        IdentityError: when there is a folder, and the objective cannot say what it is.
        DataError: when images or labels are not those the network was built for.
        ValueError: when the batch cannot be split over processes and micro-batches.
        OutOfMemory: when there is no room for one image, or for a batch that a batch norm must see whole.
        WorkerLost: when another process is gone, naming it; the state is saved.
    """
    group = processes()
    _check_fits(network, data, training)
    state = TrainingState(network, group, training)
    if folder is not None:
        state.resume(Path(folder), identity_of(state.network, objective, data, schedule, training))
    if state.step >= training.steps:
        yield _report(state, repeated=True)
        return
    batches = data.to(group.device).batches(_shares(len(data), state))
    remembering = objective.begin() if isinstance(objective, Stateful) else objective
    once = group.count > 1 or remembering is not objective
    check_every = 1 if group.device.type == "cpu" else 20  # on a GPU, looking at the loss means waiting for it
    before = state.step, dict[str, Tensor]()
    try:
        while state.step < training.steps:
            began, before = time.perf_counter(), (state.step, copy.deepcopy(dict(state.network.named_buffers())))
            due = state.step + 1 == training.steps or (state.step + 1) % training.save_every == 0
            with group.together():
                losses = _gradients(state, remembering, batches, schedule, once)
            if due or state.step % check_every == 0:
                values = [float(loss.value.detach()) for loss in losses]
                if not all(map(math.isfinite, values)):
                    raise state.diverged(f"the loss was {values} at step {state.step + 1}")
            state.update(losses)
            state.seconds += time.perf_counter() - began
            yield _report(state)
            if due:  # only now: what the caller keeps of a step is never behind the state
                state.save()
    except BaseException as error:  # Ctrl-C, or the caller's own break
        _keep(state, before, error)
        raise


def _keep(state: TrainingState, before: tuple[int, dict[str, Tensor]], error: BaseException) -> None:
    """Save what was done, but not half an update, nor what a step that is not done left in buffers, a batch norm's."""
    if state.whole and state.step > state.saved_at and not isinstance(error, TrainingDiverged):
        if before[0] == state.step:
            state.network.load_state_dict(before[1], strict=False)
        state.save()


def _check_fits(network: nn.Module, data: Dataset, training: Training) -> None:
    """Whether images and labels are those the network was configured for, if it says so."""
    if training.shift >= (side := min(data.shape[1:])):
        raise DataError(f"shift must be less than the side of the images, {side} pixels, not {training.shift}")
    config: Any = getattr(network, "config", None)
    if type(config) not in {known for known, _ in NETWORKS.values()} or not hasattr(config, "image_size"):
        return
    if data.shape != (expected := image_shape(config)):
        raise DataError(f"{data.name} has images of shape {data.shape}, and the network takes {expected}")
    classes = config.num_classes if isinstance(config, UNetConfig) else config.out_channels
    if classes is not None and len(data.classes) > classes:
        raise DataError(f"{data.name} has {len(data.classes)} classes, and the network was built for {classes}")


def _shares(n: int, state: TrainingState) -> Iterator[Tensor]:
    """Which of n images are in this process's micro-batches, from the state's next step on."""
    group, training = state.group, state.training
    for step in range(state.step, training.steps):
        slots = batch_indices(n, training.batch_size, training.seed, step).chunk(state.slots)
        yield from slots[group.rank :: group.count]


def _gradients(
    state: TrainingState, objective: Objective, batches: Iterator[Batch], schedule: Schedule, once: bool
) -> list[Loss]:
    """The gradients of this process's micro-batches of one step, with as many images at once as there is room for. What
    can be done but `once` in a step, as others take part or the objective moves on, is first tried out, alone."""
    drawn = list(islice(batches, state.slots // state.group.count))

    def attempt(network: nn.Module, objective: Objective, at_once: int) -> list[Loss]:
        state.optimizer.zero_grad(set_to_none=True)
        with divided(state.network, at_once) if at_once < state.micro_batch else nullcontext():
            return _accumulate(state, network, objective, drawn, schedule)

    if once and state.tried < 2:  # twice: from the second step on the optimiser has its averages
        buffers = copy.deepcopy(dict(state.network.named_buffers()))
        trial = partial(attempt, state.network, copy.deepcopy(objective))
        state.at_once, state.tried = halving(trial, state.at_once, "training")[1], state.tried + 1
        state.network.load_state_dict(buffers, strict=False)
    if once:
        return attempt(state.wrapped, objective, state.at_once)
    losses, state.at_once = halving(partial(attempt, state.wrapped, objective), state.at_once, "training")
    return losses


def _accumulate(
    state: TrainingState, network: nn.Module, objective: Objective, drawn: Sequence[Batch], schedule: Schedule
) -> list[Loss]:
    """Each of this process's micro-batches, which are slots of the batch, has its own randomness."""
    group, training = state.group, state.training
    losses = []
    set_modes(state.modes)  # the caller may have looked at the network in evaluation mode
    mine = range(group.rank, state.slots, group.count)
    for slot, (x0, y) in zip(mine, drawn, strict=True):
        random = generator(training.seed, "step", state.step, slot, device=group.device)
        x0 = augment(x0, training, random)
        waiting = slot != mine[-1] and network is not state.network
        with network.no_sync() if waiting else nullcontext():  # type: ignore[operator]
            dropout = generator(training.seed, "dropout", state.step, slot).initial_seed()
            with global_seed(dropout, group.device), state.autocast, recomputing(state.network, training.recompute):
                loss = objective(network, schedule, x0, y, random)
            state.scaler.scale(loss.value / len(mine)).backward()
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


def _report(state: TrainingState, repeated: bool = False) -> TrainStep:
    images, lr = state.step * state.training.batch_size, state.training.lr_at(state.step - 1)
    network = state.network if state.ema is None else state.ema.module
    return TrainStep(state.step, images, state.loss, state.statistics, lr, state.seconds, network, repeated)
