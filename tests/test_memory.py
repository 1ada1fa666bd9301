"""Where memory runs out, the same result comes out in smaller pieces. A network that refuses more images at once than a
limit stands for a device without room; on a GPU the error is the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rgd import data, measure, objectives, samplers, schedule
from rgd.attacks import L2, PGD, Linf
from rgd.compute.room import divided
from rgd.denoiser import NetworkDenoiser
from rgd.errors import OutOfMemory
from rgd.lab.judge import JudgeConfig
from rgd.memory import halving, in_batches
from rgd.methods.steering import steer
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.training import Training, fit
from rgd.training.state import TrainingState

LACKS: dict[str, Callable[[], Exception]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "linux": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    "windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    "mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}
SHAPE: dict[str, Any] = dict(image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, channel_mult=(1,),
                             attention_resolutions=())  # fmt: skip
UNET = UNetConfig(**SHAPE, out_channels=2, num_classes=10, null_label=True)
ENCODER = EncoderConfig(**SHAPE, out_channels=10)
NOISE = schedule.linear(20)
TRAINING = Training(steps=3, batch_size=16, lr=1e-3, ema=0.5, clip=1.0, flip=True, precision="fp32")


def shaken(network: nn.Module) -> nn.Module:
    """Weights none of which is zero."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return network


def without_room(network: nn.Module, limit: int, kind: str = "cuda", at: str = "forward") -> list[int]:
    """Let the network fail for more images at once, forward or backward; how many it was asked for, each time."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    asked: list[int] = []

    def look(_: nn.Module, *given: Any) -> None:
        asked.append(len(given[-1][0]))
        if asked[-1] > limit:
            raise LACKS[kind]()

    first.register_forward_pre_hook(look) if at == "forward" else first.register_full_backward_hook(look)
    return asked


@pytest.mark.parametrize("kind", LACKS)
def test_work_is_halved_until_there_is_room_and_said(kind: str) -> None:
    tried: list[int] = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 3:
            raise LACKS[kind]()
        return "done"

    with pytest.warns(UserWarning, match="training: no memory for") as said:
        assert halving(work, 11, "training") == ("done", 3)
    assert tried == [11, 6, 3]
    assert "11 images at once, so 6; the result is the same" in str(said[0].message)


def test_where_one_is_too_many_it_is_said() -> None:
    def work(size: int) -> None:
        raise LACKS["cuda"]()

    with pytest.warns(UserWarning, match="so 1"), pytest.raises(OutOfMemory, match="even for one image"):
        halving(work, 2, "sampling")


def test_other_errors_are_no_lack_of_memory() -> None:
    def work(size: int) -> None:
        raise RuntimeError("shapes do not fit")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="shapes"):
            halving(work, 8, "sampling")


def test_a_smaller_size_is_kept_for_what_follows() -> None:
    asked: list[tuple[int, int]] = []

    def work(start: int, stop: int) -> list[int]:
        asked.append((start, stop))
        if stop - start > 4:
            raise LACKS["cuda"]()
        return list(range(start, stop))

    with pytest.warns(UserWarning, match="8 images at once, so 4") as said:
        parts = list(in_batches(work, range(3, 14), 8, "sampling"))
    assert [i for part in parts for i in part] == list(range(3, 14))
    assert asked == [(3, 11), (3, 7), (7, 11), (11, 14)]
    assert len(said) == 1


@pytest.mark.parametrize("sampler", [samplers.ddpm, samplers.dpm_solver])
def test_the_same_images_are_drawn(sampler: samplers.Sampler) -> None:
    network = shaken(build(UNET)).eval()
    denoise = NetworkDenoiser(network, NOISE, variance="learned", conditional=True)
    options: Any = dict(sampler=sampler, steps=3, seed=5, batch_size=7, device="cpu", progress=False)
    wanted = samplers.sample(denoise, (10, 1, 8, 8), torch.arange(10), **options)
    asked = without_room(network, 2)
    with pytest.warns(UserWarning, match="sampling: no memory for 7 images"):
        found = samplers.sample(denoise, (10, 1, 8, 8), torch.arange(10), **options)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert asked[0] == 7
    assert max(asked[2:]) == 2


def test_the_same_walkers_are_steered() -> None:
    network, guide = shaken(build(UNetConfig(**SHAPE, out_channels=1))), shaken(build(ENCODER))
    denoise, y = NetworkDenoiser(network, NOISE), torch.arange(5)
    how: Any = dict(walkers=3, scale=2.0, batch_size=15, seed=1, progress=False)
    whole = steer(denoise, guide, y, (1, 8, 8), **how)
    seen = without_room(guide, 7)
    with pytest.warns(UserWarning, match="steering, each an island: no memory for 5 images at once, so 3"):
        parts = steer(denoise, guide, y, (1, 8, 8), **how)
    assert max(seen[2:]) <= 7
    torch.testing.assert_close(vars(parts), vars(whole), rtol=1e-4, atol=1e-4)


def test_the_same_answers_are_right_under_attack() -> None:
    guide, digits = shaken(build(ENCODER)), data.load("digits").take(30)
    work: Any = partial(measure.accuracy_by_t, guide, digits.x0(), digits.labels, NOISE, (0, 9), batch_size=12)
    attack = PGD(L2(2.0), steps=2, random_start=True)
    wanted = work(attack=attack)
    seen = without_room(guide, 5)
    with pytest.warns(UserWarning, match="accuracy: no memory for 12 images at once, so 6"):
        found = work(attack=attack)
    assert found == wanted
    assert max(seen[3:]) <= 5


def test_the_same_features_are_seen() -> None:
    judge = build(JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4)).eval()
    images = data.load("digits").take(30)
    wanted = measure.extract(images, judge)
    without_room(judge, 4)
    with pytest.warns(UserWarning, match="scoring: no memory for 30 images"):
        found = measure.extract(images, judge)
    for name in ("features", "logits"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-5)


OBJECTIVES: dict[str, tuple[Any, Any]] = {
    "denoising": (UNET, objectives.Denoising(conditional=True, label_dropout=0.3)),
    "robust": (ENCODER, objectives.RobustCrossEntropy(PGD(L2(1.0), steps=3))),
    "free": (ENCODER, objectives.FreeCrossEntropy(Linf(0.2), replays=2)),
}


def trained(network: nn.Module, objective: Any, training: Training) -> tuple[list[Tensor], Tensor]:
    """The gradients of the first step, and all weights at the end, their averages too."""
    steps, first = fit(network, objective, data.load("digits").take(50), NOISE, training), []
    update = TrainingState.update

    def look(state: TrainingState, losses: list[objectives.Loss]) -> None:
        if not first:
            first.extend(p.grad.clone() for p in state.parameters if p.grad is not None)
        update(state, losses)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingState, "update", look)
        *_, step = steps
    weights = (*network.parameters(), *step.network.parameters())
    return first, torch.cat([weight.detach().flatten() for weight in weights])


def assert_same(found: tuple[list[Tensor], Tensor], wanted: tuple[list[Tensor], Tensor]) -> None:
    """To rounding; AdamW makes much of what is next to nothing, so that weights agree but for a few."""
    for ours, theirs in zip(found[0], wanted[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    assert (found[1] - wanted[1]).abs().mean() < 1e-2 * TRAINING.lr
    assert len(found[0]) > 10


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("at", ["forward", "backward"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_same_weights_are_learned(name: str, at: str, accumulate: int) -> None:
    """Noise, labels that are dropped and attacks are those of the whole, however it is divided."""
    config, objective = OBJECTIVES[name]
    training = replace(TRAINING, accumulate=accumulate)
    wanted = trained(shaken(build(config)), objective, training)
    network = shaken(build(config))
    asked = without_room(network, 3, at=at)
    with pytest.warns(UserWarning, match=f"training: no memory for {16 // accumulate} images at once") as said:
        found = trained(network, objective, training)
    assert (
        len([w for w in said if "memory" in str(w.message)]) == {1: 3, 2: 2}[accumulate]
    )  # 16, 8, 4, 2; not each step
    assert max(asked[-20:]) <= 3
    assert "forward" not in vars(network)
    assert_same(found, wanted)


def test_memory_that_runs_out_in_the_midst_of_a_run_is_taken_so_too() -> None:
    wanted = trained(build(ENCODER), objectives.NoisyCrossEntropy(), TRAINING)
    network, limits = build(ENCODER), iter([99, 4])

    def objective(network: nn.Module, *rest: Any) -> objectives.Loss:
        loss = objectives.NoisyCrossEntropy()(network, *rest)
        if next(limits, 0) == 4:  # in the second step, once
            raise LACKS["cuda"]()
        return loss

    with pytest.warns(UserWarning, match="training: no memory for 16 images at once, so 8"):
        found = trained(network, objective, TRAINING)
    assert_same(found, wanted)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.head(self.layers(x))


def test_a_batch_norm_that_trains_is_not_divided() -> None:
    """Its images answer for each other; one that is frozen is divided like any other network."""
    network = Normed()
    without_room(network, 8)
    with pytest.warns(UserWarning, match="so 8"), pytest.raises(OutOfMemory, match="a batch norm must see whole"):
        trained(network, objectives.NoisyCrossEntropy(), TRAINING)
    network.layers.eval()
    with divided(network, 8):
        assert network(torch.zeros(16, 1, 8, 8), torch.zeros(16)).shape == (16, 10)


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


def test_a_divided_network_gives_what_the_whole_gives(rows: Tensor) -> None:
    """Values and gradients, of the weights and of what goes in; with names, and with what is no batch."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x: Tensor, by: Tensor, *, shift: Tensor, power: int) -> Tensor:
            return (self.linear(x) * by[:, None] + shift) ** power

    network, by, shift = Scaled(), torch.arange(7.0), torch.tensor([0.5, 2.0])
    results = []
    for size in (7, 3, 1):
        x = rows.clone().requires_grad_()
        with divided(network, size):
            out = network(x, by, shift=shift, power=2)
        results.append((out, *torch.autograd.grad(out.sum(), [x, *network.parameters()])))
    for other in results[1:]:
        for found, wanted in zip(other, results[0], strict=True):
            torch.testing.assert_close(found, wanted)
