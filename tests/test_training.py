"""Training: whatever stops it, what goes on afterwards is the same run, to the last bit."""

from __future__ import annotations

import errno
import math
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd import checkpoints, data, objectives, schedule
from rgd.attacks import L2, PGD
from rgd.data import Dataset, batch_indices
from rgd.errors import CheckpointError, DataError, SaveError, TrainingDiverged
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.processes import Processes
from rgd.randomness import generator
from rgd.training import Training, TrainStep, fit, loop
from rgd.training.checkpoints import Model
from rgd.training.loop import augment
from rgd.training.objectives import Loss

CONFIG = EncoderConfig(
    image_size=8, in_channels=1, out_channels=10, model_channels=8, num_res_blocks=1, attention_resolutions=(),
    channel_mult=(1,), dropout=0.2, use_scale_shift_norm=True,
)  # fmt: skip
# Everything that has state or draws random numbers is on.
SETTINGS = Training(
    steps=12, batch_size=8, lr=1e-2, ema=0.9, accumulate=2, clip=1.0, flip=True, warmup=2, seed=3, save_every=4
)
ROBUST = objectives.RobustCrossEntropy(PGD(L2(0.5), steps=1, random_start=True))
NOISE = schedule.linear(50)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where equal runs give equal bits."""
    monkeypatch.setattr(loop, "processes", lambda: Processes(torch.device("cpu")))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits").take(100)


def bits(network: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in network.state_dict().values())


def last(steps: Iterator[TrainStep]) -> TrainStep:
    *_, step = steps
    return step


@dataclass
class Result:
    trained: bytes
    averaged: bytes


def run(digits: Dataset, folder: Path | None = None, settings: Training = SETTINGS, objective: Any = ROBUST) -> Result:
    """Train to the end: the bits of the trained network and of its average."""
    network = build(CONFIG)
    step = last(fit(network, objective, digits, NOISE, settings, folder))
    assert step.step == settings.steps
    return Result(bits(network), bits(step.network))


@pytest.fixture(scope="module")
def undisturbed(digits: Dataset) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "processes", lambda: Processes(torch.device("cpu")))
        return run(digits)


def saved_step(folder: Path) -> int:
    return checkpoints.read_metadata(folder / "state.safetensors")["step"]


@dataclass(frozen=True)
class Own:
    """An objective of one's own, that does something else at one micro-batch. It is the same run whatever it does."""

    at: int = field(default=-1, compare=False)
    otherwise: Callable[[Loss, nn.Module], Loss] = field(default=lambda loss, network: loss, compare=False)
    calls: list[int] = field(default_factory=lambda: [0], compare=False)

    def __call__(self, network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, generator: torch.Generator) -> Loss:
        self.calls[0] += 1
        loss = ROBUST(network, schedule, x0, y, generator)
        return self.otherwise(loss, network) if self.calls[0] == self.at else loss


# Killed, stopped, damaged -------------------------------------------------------------------------------------------

KILLED = """
    import hashlib, os, random, signal, sys, time
    from pathlib import Path

    import torch

    sys.path[:0] = sys.argv[2:]
    torch.set_num_threads(1)
    import test_training as t

    digits = t.data.load("digits").take(100)
    settings = t.replace(t.SETTINGS, steps=60, save_every=2)
    root = Path(sys.argv[1])

    def start(name):
        pid = os.fork()
        if pid == 0:
            result = t.run(digits, root / name, settings)
            (root / f"{name}.txt").write_text(hashlib.sha256(result.trained + result.averaged).hexdigest())
            os._exit(0)
        return pid

    def saved():
        try:
            return t.saved_step(root / "killed")
        except (t.CheckpointError, RuntimeError):  # not yet, or just now being put in its place
            return 0

    assert os.waitpid(start("whole"), 0)[1] == 0
    kills, status, chance = 0, None, random.SystemRandom()
    while status is None:
        # A few steps further each time, however fast the machine is just now, and a moment more; at last to the end.
        goal = saved() + chance.randint(0, 15) if kills < 10 else settings.steps + 1
        pid = start("killed")
        while status is None and saved() < goal:
            done, code = os.waitpid(pid, os.WNOHANG)
            status = code if done else None
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            kills += 1
    print(kills, status)
"""


@pytest.mark.check
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs kill -9")
def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path), *map(str, Path(__file__).parents[:2])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    kills, status = map(int, done.stdout.split())
    assert status == 0, done.stderr
    assert kills >= 2
    assert (tmp_path / "killed.txt").read_text() == (tmp_path / "whole.txt").read_text()
    (killed, steps), (whole, _) = (
        checkpoints.read(tmp_path / name / "state.safetensors") for name in ("killed", "whole")
    )
    assert steps["step"] == 60
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def stop_by(how: str) -> None:
    if how == "sigint":
        signal.raise_signal(signal.SIGINT)
    raise {"ctrl-c": KeyboardInterrupt, "error": ZeroDivisionError}[how]


@pytest.mark.parametrize("how", ["break", "error", "ctrl-c", "sigint", "close"])
@pytest.mark.parametrize("at", [1, 4, 7])
def test_stopped_by_the_caller_the_last_step_is_kept(
    how: str, at: int, digits: Dataset, undisturbed: Result, tmp_path: Path
) -> None:
    steps = fit(build(CONFIG), ROBUST, digits, NOISE, SETTINGS, tmp_path)
    try:
        for step in steps:
            if step.step == at:
                if how == "break":
                    break
                if how == "close":
                    steps.close()
                    break
                stop_by(how)
    except (KeyboardInterrupt, ZeroDivisionError):
        pass
    del steps
    assert saved_step(tmp_path) == at
    resumed = fit(build(CONFIG), ROBUST, digits, NOISE, SETTINGS, tmp_path)
    assert next(resumed).step == at + 1
    resumed.close()
    assert run(digits, tmp_path) == undisturbed


@pytest.mark.parametrize("how", ["ctrl-c", "sigint", "error"])
def test_stopped_within_a_step_the_one_before_is_kept(how: str, digits: Dataset, tmp_path: Path) -> None:
    def stop(loss: Loss, network: nn.Module) -> Loss:
        stop_by(how)
        return loss

    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        run(digits, tmp_path, objective=Own(at=2 * 6 + 1, otherwise=stop))
    assert saved_step(tmp_path) == 6
    assert run(digits, tmp_path, objective=Own()) == run(digits, objective=Own())


def test_stopped_in_the_middle_of_an_update_the_last_saved_state_is_kept(
    digits: Dataset, undisturbed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = torch.optim.AdamW.step, [0]

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        result = step(self, *args, **kwargs)
        if calls[0] == 7:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(digits, tmp_path)
    assert saved_step(tmp_path) == 4
    assert run(digits, tmp_path) == undisturbed


def stop_at(at: int, digits: Dataset, folder: Path) -> None:
    for step in fit(build(CONFIG), ROBUST, digits, NOISE, SETTINGS, folder):
        if step.step == at:
            break


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_damaged_state_falls_back_to_the_one_before(digits: Dataset, undisturbed: Result, tmp_path: Path) -> None:
    stop_at(10, digits, tmp_path)
    damage(tmp_path / "state.safetensors")
    resumed = fit(build(CONFIG), ROBUST, digits, NOISE, SETTINGS, tmp_path)
    assert next(resumed).step == 9
    resumed.close()
    assert run(digits, tmp_path) == undisturbed


def test_killed_between_two_renames_it_goes_on_from_the_older_state(
    digits: Dataset, undisturbed: Result, tmp_path: Path
) -> None:
    stop_at(10, digits, tmp_path)
    (tmp_path / "state.safetensors").replace(tmp_path / "state.new.safetensors")
    assert run(digits, tmp_path) == undisturbed


def test_no_readable_state_is_an_error_and_not_a_fresh_start(digits: Dataset, tmp_path: Path) -> None:
    stop_at(10, digits, tmp_path)
    for name in ("state.safetensors", "state.previous.safetensors"):
        damage(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"state.safetensors.*state.previous.safetensors"):
        run(digits, tmp_path)


def test_a_full_disk_is_an_error_that_leaves_the_last_state(
    digits: Dataset, undisturbed: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(5, digits, tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SaveError, match=re.escape(str(tmp_path))):
            run(digits, tmp_path)
    assert saved_step(tmp_path) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"state.safetensors", "state.previous.safetensors"}
    assert run(digits, tmp_path) == undisturbed


def test_without_a_folder_nothing_is_written(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(digits)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_yields_its_last_step_again(digits: Dataset, undisturbed: Result, tmp_path: Path) -> None:
    run(digits, tmp_path)
    told = last(fit(build(CONFIG), ROBUST, digits, NOISE, SETTINGS))
    network = build(CONFIG)
    (step,) = fit(network, ROBUST, digits, NOISE, SETTINGS, tmp_path)
    assert (step.step, step.images, step.lr) == (12, 96, told.lr)
    assert step.loss == told.loss
    assert step.statistics.keys() == told.statistics.keys() == {"robust_accuracy"}
    assert step.statistics == told.statistics
    assert step.seconds > 0
    assert step.repeated
    assert not told.repeated
    assert Result(bits(network), bits(step.network)) == undisturbed


# Another run in the same folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "change"), [
    ("training.lr", {"settings": replace(SETTINGS, lr=2e-2)}),
    ("training.seed", {"settings": replace(SETTINGS, seed=4)}),
    ("training.steps", {"settings": replace(SETTINGS, steps=13)}),
    ("training.ema", {"settings": replace(SETTINGS, ema=None)}),
    ("network.config.model_channels", {"config": replace(CONFIG, model_channels=16)}),
    ("network.config.dropout", {"config": replace(CONFIG, dropout=0.1)}),
    ("objective.attack.threat.radius", {"objective": replace(ROBUST, attack=replace(ROBUST.attack, threat=L2(0.6)))}),
    ("schedule.alpha_bar.tensor", {"noise": schedule.cosine(50)}),
    ("data.identity", {"fewer": 99}),
])  # fmt: skip
def test_changed_settings_are_named(name: str, change: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    stop_at(2, digits, tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()
    network = build(change.get("config", CONFIG))
    others = change.get("objective", ROBUST), digits.take(change.get("fewer", 100)), change.get("noise", NOISE)
    with pytest.raises(CheckpointError, match=rf"other settings: {name} was") as error:
        next(fit(network, *others, change.get("settings", SETTINGS), tmp_path))
    assert str(error.value).count(" was ") == 1
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_how_often_to_save_may_change(digits: Dataset, undisturbed: Result, tmp_path: Path) -> None:
    stop_at(2, digits, tmp_path)
    assert run(digits, tmp_path, replace(SETTINGS, save_every=1)) == undisturbed


# A loss that is no number -------------------------------------------------------------------------------------------


def test_a_loss_of_nan_is_an_error_that_says_where_the_good_state_is(digits: Dataset, tmp_path: Path) -> None:
    poison = Own(at=2 * 6 + 2, otherwise=lambda loss, network: Loss(loss.value * math.nan))
    state = re.escape(str(tmp_path / "state.safetensors"))
    with pytest.raises(TrainingDiverged, match=rf"nan\] at step 7 .*{state}, of step 4"):
        run(digits, tmp_path, objective=poison)
    tensors, metadata = checkpoints.read(tmp_path / "state.safetensors")
    assert metadata["step"] == 4
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert run(digits, tmp_path, objective=Own()) == run(digits, objective=Own())
    with pytest.raises(TrainingDiverged, match=r"inf.* at step 1 .*none was saved"):
        run(digits, objective=Own(at=1, otherwise=lambda loss, network: Loss(loss.value + math.inf)))


def test_weights_that_are_no_numbers_never_replace_a_good_state(digits: Dataset, tmp_path: Path) -> None:
    """The loss of a step is finite and its gradient is not: the step after would find out, too late."""

    def poison(loss: Loss, network: nn.Module) -> Loss:
        return Loss(loss.value + sum((0 * p).sum().sqrt() for p in network.parameters()))

    settings = replace(SETTINGS, save_every=1)
    with pytest.raises(TrainingDiverged, match="step 6"):
        run(digits, tmp_path, settings, Own(at=2 * 6 + 1, otherwise=poison))
    tensors, metadata = checkpoints.read(tmp_path / "state.safetensors")
    assert metadata["step"] == 6
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert run(digits, tmp_path, settings, Own()) == run(digits, None, settings, Own())


# The optimiser ------------------------------------------------------------------------------------------------------

PLAIN = Training(steps=5, batch_size=8, lr=1e-2, anneal=False, weight_decay=0.0, precision="fp32")
QUIET = replace(CONFIG, dropout=0.0)


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The gradients that the optimiser is given, step by step, each as one vector."""
    step = torch.optim.AdamW.step
    seen: list[Tensor] = []

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    return seen


def test_micro_batches_add_up_to_the_batch_where_nothing_is_random(digits: Dataset, gradients: list[Tensor]) -> None:
    """And only there: each micro-batch draws its own t and noise."""
    config = replace(QUIET, pool="attention")
    for objective in (objectives.CleanCrossEntropy(), objectives.NoisyCrossEntropy()):
        for accumulate in (1, 4):
            next(fit(build(config), objective, digits, NOISE, replace(PLAIN, accumulate=accumulate)))
    clean, clean_divided, noisy, noisy_divided = gradients
    assert clean.norm() > 0.1
    torch.testing.assert_close(clean_divided, clean, rtol=1e-3, atol=1e-6)
    assert (noisy_divided - noisy).norm() > 0.1 * noisy.norm()


def test_the_average_follows_its_formula(digits: Dataset) -> None:
    """The first average is the first step's weights; then d = min(decay, (1 + n) / (10 + n)) with n averages so far."""
    settings = replace(PLAIN, steps=8, ema=0.35)
    network = build(CONFIG)
    average: list[Tensor] = []
    decays = []
    for n, step in enumerate(fit(network, ROBUST, digits, NOISE, settings)):
        current = [p.detach().clone() for p in network.parameters()]
        if n:
            decays.append(min(0.35, (1 + n) / (10 + n)))
            current = [decays[-1] * a + (1 - decays[-1]) * c for a, c in zip(average, current)]
        average = current
        for ours, expected in zip(step.network.parameters(), average):
            torch.testing.assert_close(ours.detach(), expected, rtol=1e-5, atol=1e-7)
    assert decays[0] < 0.35 == decays[-1], "both branches of the formula are to be seen"
    assert step.network is not network


def test_without_an_average_the_network_itself_is_the_result(digits: Dataset) -> None:
    network = build(CONFIG)
    assert last(fit(network, ROBUST, digits, NOISE, PLAIN)).network is network


def test_learning_rate_rises_and_falls_in_straight_lines(digits: Dataset) -> None:
    settings = Training(steps=10, lr=0.8, warmup=3)
    rates = [settings.lr_at(step) for step in range(10)]
    np.testing.assert_allclose(rates, [0.8 * min(1, (i + 1) / 4) * (1 - i / 10) for i in range(10)])
    np.testing.assert_allclose(replace(settings, anneal=False).lr_at(9), 0.8)
    np.testing.assert_allclose(replace(settings, warmup=0).lr_at(0), 0.8)
    settings = replace(settings, lr=1e-3, batch_size=8, weight_decay=0.0)
    assert [step.lr for step in fit(build(CONFIG), ROBUST, digits, NOISE, settings)] == [
        settings.lr_at(i) for i in range(10)
    ]


def test_the_learning_rate_is_used(digits: Dataset) -> None:
    """Adam's first step moves each weight by the learning rate, where the gradient is not tiny."""
    network = build(QUIET)
    before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    settings = replace(PLAIN, lr=1e-3, warmup=3)
    next(fit(network, objectives.CleanCrossEntropy(), digits, NOISE, settings))
    moves = (nn.utils.parameters_to_vector(network.parameters()).detach() - before).abs()
    assert moves.max() <= 1e-3 / 4 * 1.001
    assert moves.max() >= 1e-3 / 4 * 0.99


def test_weight_decay_shrinks_what_has_no_gradient(digits: Dataset) -> None:
    def nothing(network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, generator: torch.Generator) -> Loss:
        return Loss(sum(p.sum() * 0 for p in network.parameters()))

    network = build(QUIET)
    before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    last(fit(network, nothing, digits, NOISE, replace(PLAIN, lr=0.1, weight_decay=0.5)))
    after = nn.utils.parameters_to_vector(network.parameters()).detach()
    torch.testing.assert_close(after, before * (1 - 0.1 * 0.5) ** 5)


def test_the_gradient_is_clipped(digits: Dataset, gradients: list[Tensor]) -> None:
    next(fit(build(CONFIG), ROBUST, digits, NOISE, PLAIN))
    next(fit(build(CONFIG), ROBUST, digits, NOISE, replace(PLAIN, clip=0.1)))
    whole, clipped = gradients
    assert whole.norm() > 0.2
    torch.testing.assert_close(clipped, whole * 0.1 / whole.norm(), rtol=1e-4, atol=1e-8)


def test_a_frozen_parameter_stays(digits: Dataset) -> None:
    network = build(CONFIG)
    network.time_embed.requires_grad_(False)
    before = bits(network.time_embed)
    step = last(fit(network, ROBUST, digits, NOISE, replace(PLAIN, ema=0.5)))
    assert bits(network.time_embed) == before
    assert bits(network.out) != bits(build(CONFIG).out)
    assert step.network.time_embed[0].weight.equal(network.time_embed[0].weight)


def test_a_loss_falls(digits: Dataset) -> None:
    settings = Training(steps=40, batch_size=50, lr=3e-3)
    network = build(replace(QUIET, model_channels=16, pool="attention"))
    losses = [float(step.loss) for step in fit(network, objectives.CleanCrossEntropy(), digits, NOISE, settings)]
    assert abs(losses[0] - math.log(10)) < 0.5, "about ten equal chances"
    assert np.mean(losses[-5:]) < 1.3
    unet = build(UNetConfig(
        image_size=8, in_channels=1, out_channels=1, model_channels=16, num_res_blocks=1, attention_resolutions=(),
        channel_mult=(1,), use_scale_shift_norm=True,
    ))  # fmt: skip
    losses = [float(step.loss) for step in fit(unet, objectives.Denoising(), digits, NOISE, settings)]
    assert abs(losses[0] - 1) < 0.1, "predicting zero for standard normal noise"
    assert np.mean(losses[-5:]) < 0.5


# Batches and randomness ---------------------------------------------------------------------------------------------


@dataclass
class Recorder:
    """Remembers what each micro-batch was."""

    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, generator: torch.Generator) -> Loss:
        self.seen.append((x0, y))
        return Loss(F.cross_entropy(network(x0, torch.zeros_like(y)), y), {"first": y[0].float()})


def test_an_epoch_shows_every_image_once(digits: Dataset) -> None:
    recorder = Recorder()
    last(fit(build(QUIET), recorder, digits, NOISE, Training(steps=5, batch_size=20, accumulate=2, seed=3)))
    images, labels = (torch.cat(parts) for parts in zip(*recorder.seen))
    order = torch.cat([batch_indices(100, 20, 3, step) for step in range(5)])
    assert torch.equal(order.sort().values, torch.arange(100))
    assert torch.equal(images, digits.x0(order))
    assert torch.equal(labels, digits.labels[order])


def test_about_half_the_images_are_mirrored(digits: Dataset) -> None:
    recorder = Recorder()
    last(fit(build(QUIET), recorder, digits, NOISE, Training(steps=20, batch_size=20, flip=True)))
    images = torch.cat([x0 for x0, _ in recorder.seen])
    original = digits.x0(torch.cat([batch_indices(100, 20, 0, step) for step in range(20)]))
    same = (images == original).flatten(1).all(1)
    mirrored = (images == original.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert abs(mirrored.float().mean() - 0.5) < 5 * 0.5 / math.sqrt(400)
    for batch in (mirrored & ~same).split(20):  # each for itself, and not all together
        assert 0 < batch.sum() < 20
    by_place = (mirrored & ~same).reshape(20, 20)  # nor the same ones at every step
    assert by_place.any(0).all()
    assert not by_place.all(0).any()


def test_images_are_moved_each_by_itself_and_no_further_than_asked(digits: Dataset) -> None:
    x0 = digits.x0(torch.arange(100))
    moved = augment(x0, Training(steps=1, shift=2), generator(0))
    padded = np.pad(x0.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    ways = [(i, j) for i in range(5) for j in range(5)]
    where = [
        [(padded[b, :, i : i + 8, j : j + 8] == moved[b].numpy()).all() for i, j in ways].index(True)
        for b in range(100)
    ]
    assert len(set(where)) > 15
    assert torch.equal(augment(x0, Training(steps=1), generator(0)), x0)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d, nn.AlphaDropout])
def test_every_micro_batch_has_its_own_dropout(kind: Any, digits: Dataset) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.dropout = nn.Parameter(torch.ones(())), kind(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.dropout(x * self.one)

    def masks(seed: int) -> list[tuple[bool, ...]]:
        torch.manual_seed(seed)  # the global state, which must not matter
        seen: list[tuple[bool, ...]] = []

        def look(network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, generator: torch.Generator) -> Loss:
            out = network(torch.ones(1, 64, 1))
            seen.append(tuple((out > out.mean()).flatten().tolist()))
            return Loss(out.mean())

        last(fit(Half(), look, digits, NOISE, Training(steps=3, batch_size=8, accumulate=2)))
        return seen

    first = masks(1)
    assert len(set(first)) == 6
    assert masks(2) == first


def test_a_step_reports_what_it_did(digits: Dataset) -> None:
    recorder = Recorder()
    steps = list(fit(build(QUIET), recorder, digits, NOISE, Training(steps=3, batch_size=8, accumulate=2)))
    assert [step.step for step in steps] == [1, 2, 3]
    assert [step.images for step in steps] == [8, 16, 24]
    assert 0 < steps[0].seconds < steps[1].seconds < steps[2].seconds
    for i, step in enumerate(steps):
        first, second = (float(y[0]) for _, y in recorder.seen[2 * i : 2 * i + 2])
        assert float(step.statistics["first"]) == (first + second) / 2
        assert not step.loss.requires_grad


def test_global_randomness_is_neither_read_nor_written(digits: Dataset, undisturbed: Result) -> None:
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002
    random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert run(digits) == undisturbed
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert run(digits, settings=replace(SETTINGS, seed=4)) != undisturbed


def test_what_the_caller_does_between_steps_changes_nothing(digits: Dataset, undisturbed: Result) -> None:
    """To look at the network it is set to evaluation mode, without dropout; training goes on with it."""
    network = build(CONFIG)
    for step in fit(network, ROBUST, digits, NOISE, SETTINGS):
        network.eval()
        step.network.eval()
        torch.rand(3)
        with torch.no_grad():
            step.network(digits.x0(slice(4)), torch.zeros(4, dtype=torch.int64))
    assert Result(bits(network), bits(step.network)) == undisturbed


def test_a_frozen_norm_stays_frozen(digits: Dataset) -> None:
    """Whatever the caller does between the steps; a network in evaluation mode as a whole is one to be trained."""
    config = JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4, features=8)
    objective = objectives.CleanCrossEntropy(takes_time=False)
    seen = {}
    for freeze in ("nothing", "one", "all"):
        network = build(config)
        if freeze != "nothing":
            (network if freeze == "all" else network.body[1]).eval()
        for _ in fit(network, objective, digits, NOISE, PLAIN):
            network.eval()
        seen[freeze] = [int(network.body[i].num_batches_tracked) for i in (1, 4)]
    assert seen == {"nothing": [5, 5], "one": [0, 5], "all": [5, 5]}


def test_a_free_objective_begins_every_training_anew(digits: Dataset) -> None:
    free = objectives.FreeCrossEntropy(L2(0.5), replays=3)
    assert run(digits, objective=free) == run(digits, objective=free)


def test_the_judge_resumes_with_its_running_statistics(digits: Dataset, tmp_path: Path) -> None:
    config = JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4, features=8)
    objective = objectives.CleanCrossEntropy(takes_time=False)
    settings = Training(steps=6, batch_size=10, save_every=2, ema=0.5)
    results = []
    for stops in ([], [1, 3, 4]):
        for stop in stops:
            for step in fit(build(config), objective, digits, NOISE, settings, tmp_path / str(len(stops))):
                if step.step == stop:
                    break
        network = build(config)
        step = last(fit(network, objective, digits, NOISE, settings, tmp_path / str(len(stops))))
        results.append((bits(network), bits(step.network)))
    assert results[0] == results[1]


# What does not fit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "values", "allowed"), [
    ("steps", [0, -1, 2.5, 1e3], "a whole number, at least 1"),
    ("batch_size", [0, 2.5], "a whole number, at least 1"),
    ("accumulate", [0, -1, 2.0], "a whole number, at least 1"),
    ("save_every", [0, math.inf], "a whole number, at least 1"),
    ("warmup", [-1, 0.5], "a whole number, at least 0"),
    ("shift", [-1, 1.5], "a whole number, at least 0"),
    ("lr", [0.0, -1e-3, math.nan, math.inf], "positive"),
    ("weight_decay", [-0.1, math.nan, math.inf], "zero or more"),
    ("ema", [1.0, -0.1, math.nan], "None for no average"),
    ("clip", [0.0, 0, -1.0, math.nan, math.inf], "None for no clipping"),
    ("precision", ["fp8", "BF16", None], "'auto' or 'fp32' or 'bf16' or 'fp16'"),
])  # fmt: skip
def test_bad_settings_are_refused_by_name(name: str, values: list[Any], allowed: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name} must be .*{allowed}.*, not {re.escape(repr(value))}$"):
            Training(**{"steps": 5, name: value})


def test_images_cannot_be_moved_by_more_than_their_side(digits: Dataset) -> None:
    next(fit(build(QUIET), ROBUST, digits, NOISE, replace(PLAIN, shift=7)))
    with pytest.raises(DataError, match=r"shift must be less than .* 8 pixels, not 8"):
        next(fit(build(QUIET), ROBUST, digits, NOISE, replace(PLAIN, shift=8)))


def test_images_and_labels_must_be_the_networks(digits: Dataset) -> None:
    def start(config: Any, dataset: Dataset = digits, settings: Training = SETTINGS) -> None:
        next(fit(build(config), ROBUST, dataset, NOISE, settings))

    with pytest.raises(DataError, match=r"digits.*\(1, 8, 8\).*\(1, 9, 9\)"):
        start(replace(CONFIG, image_size=9))
    with pytest.raises(DataError, match=r"\(3, 8, 8\)"):
        start(replace(CONFIG, in_channels=3))
    with pytest.raises(DataError, match=r"10 classes.* 9"):
        start(replace(CONFIG, out_channels=9))
    unet = UNetConfig(
        image_size=8, in_channels=1, out_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(),
        channel_mult=(1,), num_classes=4,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"10 classes.* 4"):
        start(unet)
    with pytest.raises(ValueError, match="batch of 9 does not split over 1 processes x 2"):
        start(CONFIG, settings=replace(SETTINGS, batch_size=9))


AVERAGED = replace(PLAIN, ema=0.5, batch_size=10)


@pytest.mark.parametrize("config", [None, {"sample_size": 8}])
def test_a_network_of_ones_own_is_trained_saved_and_resumed(config: Any, digits: Dataset, tmp_path: Path) -> None:
    """Whatever it calls its configuration, and however it drops and normalises."""

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(64), nn.Linear(64, 10)
            nn.init.eye_(self.head.weight)
            self.head.bias = self.shared = nn.Parameter(torch.zeros(10))
            if config is not None:
                self.config = config

        def forward(self, xt: Tensor, t: Tensor) -> Tensor:
            return self.head(F.dropout(self.norm(xt.flatten(1)), 0.3, self.training))

    results = []
    for stops in ([], [1, 2, 4]):
        folder = tmp_path / str(len(stops))
        torch.manual_seed(len(stops))  # the global state, which must not matter
        for stop in stops:
            for step in fit(Pixels(), objectives.NoisyCrossEntropy(), digits, NOISE, AVERAGED, folder):
                if step.step == stop:
                    break
        network = Pixels()
        step = last(fit(network, objectives.NoisyCrossEntropy(), digits, NOISE, AVERAGED, folder))
        results.append(Result(bits(network), bits(step.network)))
    assert results[0] == results[1]
    with pytest.raises(CheckpointError, match=r"Pixels could not be built again .*register"):
        Model(network).save(tmp_path / "model.safetensors")


@pytest.mark.parametrize("kind", ["noise", "dropout"])
def test_every_micro_batch_step_and_seed_draws_its_own(kind: str, digits: Dataset) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.dropout = nn.Parameter(torch.ones(())), nn.Dropout(0.5)

        def forward(self) -> Tensor:
            return self.dropout(self.one * torch.ones(64))

    drawn: list[tuple[float, ...]] = []

    def look(network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, generator: torch.Generator) -> Loss:
        out = network()
        drawn.append(tuple((out if kind == "dropout" else torch.rand(4, generator=generator)).tolist()))
        return Loss(0 * out.sum())

    for seed in (0, 1):
        last(
            fit(Half(), look, digits, NOISE, Training(steps=3, batch_size=8, accumulate=2, weight_decay=0.0, seed=seed))
        )
    assert len(set(drawn)) == 12


def test_a_run_that_trains_other_weights_is_another(tmp_path: Path) -> None:
    settings, digits = Training(3, batch_size=4), data.load("digits").take(40)
    *_, step = fit(build(CONFIG, 1), objectives.NoisyCrossEntropy(), digits, NOISE, settings, tmp_path)
    again = [s.repeated for s in fit(step.network, objectives.NoisyCrossEntropy(), digits, NOISE, settings, tmp_path)]
    assert again == [True]  # the run's own network, where it has come to
    with pytest.raises(CheckpointError, match="began with other weights"):
        next(fit(build(CONFIG, 2), objectives.NoisyCrossEntropy(), digits, NOISE, settings, tmp_path))
    frozen = build(CONFIG, 1)
    next(frozen.parameters()).requires_grad_(False)
    with pytest.raises(CheckpointError, match="trained was"):
        next(fit(frozen, objectives.NoisyCrossEntropy(), digits, NOISE, settings, tmp_path))
