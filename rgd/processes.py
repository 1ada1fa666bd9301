"""The processes of a run: one, or as many as `accelerate launch` started, for which accelerate is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rgd.errors import RgdError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among `count`, with the device it works on."""

    device: torch.device
    rank: int = 0
    count: int = 1
    accelerator: Any = None
    watch: Any = None

    def together(self) -> AbstractContextManager[None]:
        """Around what needs every process: `rgd.scale.watch.Watch.together`."""
        return nullcontext() if self.watch is None else self.watch.together()

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network on the device, its gradients averaged over the processes."""
        network = network.to(self.device)
        return network if self.accelerator is None else self.accelerator.prepare_model(network)

    def gather(self, part: Tensor, total: int) -> Tensor:
        """The parts of all processes, in order, along the first axis, on the CPU; `total` rows in all, of which process
        r must hold those from total * r // count to total * (r + 1) // count."""
        if self.accelerator is None:
            return part
        rows = -(-total // self.count)
        padded = torch.zeros(rows, *part.shape[1:], dtype=part.dtype, device=self.device)
        padded[: len(part)] = part.to(self.device)
        with self.together():
            parts = self.accelerator.gather(padded).cpu().reshape(self.count, rows, *part.shape[1:])
        sizes = [total * (r + 1) // self.count - total * r // self.count for r in range(self.count)]
        return torch.cat([rows_of[:size] for rows_of, size in zip(parts, sizes, strict=True)])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """All cores for this process, while the others wait for it; they were launched with a share of them each."""
        threads = torch.get_num_threads()
        torch.set_num_threads(threads if self.accelerator is None else max(threads, os.cpu_count() or 1))
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def first(self, find: Callable[[], T]) -> T:
        """What the first process finds, told to all: machines have a disk each, and only its own is asked. An error of
        its is raised by all. Every process must call this, in the same order."""
        if self.accelerator is None:
            return find()
        from accelerate.utils import broadcast_object_list

        told: list[Any] = [None, None]
        if self.rank == 0:
            try:
                told[0] = find()
            except Exception as error:
                told[1] = error
        with self.together():
            found, failed = broadcast_object_list(told)
        if failed is not None:
            raise failed
        return found

    def wait(self) -> None:
        """Until every process is here."""
        if self.accelerator is not None:
            with self.together():
                self.accelerator.wait_for_everyone()


def best_device() -> torch.device:
    """A CUDA device if there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@cache
def processes() -> Processes:
    """The processes of this run; RgdError if `accelerate launch` started one where several were asked for, ImportError
    if there are several and accelerate is not installed, WorkerLost if one of them does not come."""
    # Without --multi_gpu the launcher starts one process, which it gives an address but no number of processes.
    if {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= os.environ.keys() and "WORLD_SIZE" not in os.environ:
        raise RgdError(
            "`accelerate launch` started one process where several were asked for, as it does without --multi_gpu: "
            "launch with `accelerate launch --multi_gpu --num_processes N`, on CPUs too. If one is meant, launch with "
            "--num_processes 1 and without MASTER_ADDR in the environment"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(best_device())
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError as error:
        raise ImportError("several processes need accelerate: pip install accelerate") from error
    from rgd.scale.watch import Watch

    group = torch.distributed  # of which accelerate's debug_launcher makes one before, and says no rank
    rank = group.get_rank() if group.is_initialized() else int(os.environ["RANK"])
    watch, patience = Watch(rank, int(os.environ["WORLD_SIZE"])), InitProcessGroupKwargs(timeout=timedelta(days=1))
    # Without the hint, each of several processes on CPUs would take itself for the only one.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patience])
    return Processes(accelerator.device, accelerator.process_index, accelerator.num_processes, accelerator, watch)


if hasattr(os, "register_at_fork"):  # what notebook_launcher forks is one of several, whatever the notebook is
    os.register_at_fork(after_in_child=processes.cache_clear)
