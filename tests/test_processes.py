"""Several processes do together what one does alone. `accelerate launch` runs this file's `main` in two of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rgd import checkpoints, objectives, samplers, schedule
from rgd.attacks import L2, PGD, Linf
from rgd.data import Dataset
from rgd.denoiser import NetworkDenoiser
from rgd.experiments import cells
from rgd.experiments.comparison import Comparison, Entry
from rgd.lab import bench
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.processes import Processes, best_device, processes
from rgd.samplers import ddpm, sample
from rgd.training import Training, fit, loop
from rgd.training.checkpoints import Model

TINY: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,),
    use_scale_shift_norm=True, dropout=0.1,
)  # fmt: skip
CLASSIFIER = EncoderConfig(**TINY, out_channels=4, pool="attention")
UNET = UNetConfig(**TINY, out_channels=2, num_classes=4, null_label=True)
NOISE = schedule.linear(20)
SETTINGS = Training(steps=4, batch_size=8, lr=1e-3, ema=0.5, clip=1.0, flip=True, save_every=2, precision="fp32")
COUNTS = (1, 2, 5)


class Counted:
    """An attack that counts how often it asks the classifier; with early stop that is chance."""

    def __init__(self, attack: PGD) -> None:
        self.attack = attack
        self.calls: list[int] = []

    def identity(self) -> Any:
        return self.attack

    def __call__(self, classifier: Any, xt: Tensor, t: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        self.calls.append(0)

        def counted(xt: Tensor, t: Tensor) -> Tensor:
            self.calls[-1] += 1
            return classifier(xt, t)

        return self.attack(counted, xt, t, y, generator)


OBJECTIVES = {
    "l2": (CLASSIFIER, objectives.RobustCrossEntropy(Counted(PGD(L2(1.0), steps=6)))),
    "linf": (CLASSIFIER, objectives.RobustCrossEntropy(Counted(PGD(Linf(0.2), steps=3, random_start=True)))),
    "unet": (UNET, objectives.Denoising(conditional=True, label_dropout=0.3)),
}


def images() -> Dataset:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (30, 1, 8, 8), generator=random, dtype=torch.uint8)
    return Dataset(pixels, torch.arange(30) % 4, tuple("abcd"), "noise")


def trained(name: str, accumulate: int, folder: Path | None = None, stop: int | None = None) -> dict[str, Tensor]:
    """The weights of a training run, and of their average."""
    config, objective = OBJECTIVES[name]
    network = build(config)
    for step in fit(network, objective, images(), NOISE, replace(SETTINGS, accumulate=accumulate), folder):
        if step.step == stop:
            break
    averaged = {f"{name}.average.{key}": value for key, value in step.network.state_dict().items()}
    return {f"{name}.{key}": value for key, value in network.state_dict().items()} | averaged


def sampled() -> dict[str, Tensor]:
    """Images of every count, from a network whose output is not zero."""
    network = build(replace(UNET, dropout=0.0)).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    denoise = NetworkDenoiser(network, NOISE, variance="learned", conditional=True)
    options: dict[str, Any] = dict(sampler=ddpm, steps=3, seed=7, progress=f"sampled by {processes().rank}")
    return {
        f"{n}.{batch_size}": sample(denoise, (n, 1, 8, 8), torch.arange(n) % 4, batch_size=batch_size, **options)
        for n in COUNTS
        for batch_size in (2, 256)
    }


COMPARED = Comparison(
    data="digits",
    judge="t/judge",
    entries=(Entry("plain", "t/ddpm"), Entry("guided", "t/ddpm", "classifier", "t/guide", (1.0, 20.0))),
    pairs=(("guided", "plain"),),
    samples=21,
    headline_samples=31,
    headline_seeds=(1, 2),
    steps=2,
    reference=50,
)


def put_models(runs: Path) -> None:
    """Three small networks with random weights, where the comparison looks for them."""
    shape: dict[str, Any] = dict(
        image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
    )
    configs: dict[str, Any] = {
        "t/ddpm": UNetConfig(**shape, out_channels=1),
        "t/guide": EncoderConfig(**shape, out_channels=10),
        "t/judge": JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4),
    }
    for name, config in configs.items():
        network = build(config).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        noise = None if name == "t/judge" else NOISE
        denoising = {"predicts": "eps", "variance": "large"} if name == "t/ddpm" else {}
        Model(network, noise, denoising, tuple("0123456789")).save(runs / name / "model.safetensors")


def main(out: Path) -> None:
    """What each of the processes does: its results are written here, and in `fits` only what `fit` writes."""
    group = processes()
    fits = out / "fits" / str(group.rank)
    tensors = sampled()
    for name, (_, objective) in OBJECTIVES.items():
        tensors |= trained(name, accumulate=1, folder=fits / name)
        if isinstance(objective, objectives.RobustCrossEntropy):
            tensors[f"{name} calls"] = torch.tensor(objective.attack.calls)  # type: ignore[attr-defined]
    trained("linf", 1, out / "fits" / "shared", stop=3)
    tensors |= {f"resumed.{key}": value for key, value in trained("linf", 1, out / "fits" / "shared").items()}
    bench.run(COMPARED, out / "compared.json", store=out / "cells", runs=out / "runs")
    rows = torch.arange(7) + 10
    tensors["gathered"] = group.gather(rows[7 * group.rank // 2 : 7 * (group.rank + 1) // 2], 7)
    checkpoints.write(out / f"{group.rank}.safetensors", tensors, {"count": group.count})
    group.wait()


# One launch serves all tests ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where two processes left their results, and what they said.

    The launcher calls several processes on one machine --multi_gpu, with GPUs or without.
    """
    pytest.importorskip("accelerate")
    out = tmp_path_factory.mktemp("launched")
    put_models(out / "runs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_ip", "127.0.0.1", "--main_process_port", str(port), __file__, str(out),
    ]  # fmt: skip
    root = str(Path(__file__).parent.parent)
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(out / "home"),
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }  # fmt: skip
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"the processes hang: {process.communicate()[0]}")
    assert process.returncode == 0, said
    return out, said


@pytest.fixture(scope="module")
def ranks(launched: tuple[Path, str]) -> list[dict[str, Tensor]]:
    read = [checkpoints.read(launched[0] / f"{rank}.safetensors") for rank in (0, 1)]
    assert [metadata["count"] for _, metadata in read] == [2, 2]
    return [tensors for tensors, _ in read]


@pytest.fixture
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as the reference: on the CPU, with the same number of threads."""
    for module in (loop, samplers):
        monkeypatch.setattr(module, "processes", lambda: Processes(torch.device("cpu")))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.check
@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_train_as_one_with_twice_the_micro_batches(name: str, ranks: list[dict[str, Tensor]]) -> None:
    alone = trained(name, accumulate=2)
    untrained = build(OBJECTIVES[name][0]).state_dict()
    for key, value in alone.items():
        assert torch.equal(ranks[0][key], ranks[1][key]), f"{key} differs between the processes"
        torch.testing.assert_close(ranks[0][key], value, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(untrained[key], alone[f"{name}.{key}"]) for key in untrained)


@pytest.mark.check
def test_attacks_of_different_length_do_not_wait_for_each_other(ranks: list[dict[str, Tensor]]) -> None:
    """An attack that woke the gradient exchange would hang as soon as one process stops early."""
    for name in ("l2", "linf"):
        assert len(ranks[0][f"{name} calls"]) == SETTINGS.steps
    assert not torch.equal(ranks[0]["l2 calls"], ranks[1]["l2 calls"]), "equally long by chance: this shows nothing"


@pytest.mark.check
def test_two_processes_resume_together(ranks: list[dict[str, Tensor]]) -> None:
    for tensors in ranks:
        for key, value in tensors.items():
            if key.startswith("linf."):
                assert torch.equal(tensors[f"resumed.{key}"], value)


@pytest.mark.check
@pytest.mark.usefixtures("_alone")
def test_two_processes_sample_what_one_does(ranks: list[dict[str, Tensor]]) -> None:
    """For a number of images that does not divide, too, and for fewer images than processes."""
    alone = sampled()
    for key, value in alone.items():
        assert len(value) == int(key.split(".")[0])
        for tensors in ranks:
            torch.testing.assert_close(tensors[key], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone["2.256"], alone["5.256"][:2], rtol=1e-4, atol=1e-5)


@pytest.mark.check
def test_parts_of_unequal_length_are_gathered(ranks: list[dict[str, Tensor]]) -> None:
    for tensors in ranks:
        assert tensors["gathered"].tolist() == [10, 11, 12, 13, 14, 15, 16]


@pytest.mark.check
def test_only_the_first_process_writes(launched: tuple[Path, str], ranks: list[dict[str, Tensor]]) -> None:
    out, said = launched
    fits = out / "fits"
    assert {path.name for path in fits.iterdir()} == {"0", "shared"}
    assert {path.name for path in (fits / "0").iterdir()} == set(OBJECTIVES)
    for folder in (*(fits / "0").iterdir(), fits / "shared"):
        assert {path.name for path in folder.iterdir()} == {"state.safetensors", "state.previous.safetensors"}
    assert "sampled by 0" in said
    assert "sampled by 1" not in said


# Without a launch ---------------------------------------------------------------------------------------------------


class Others:
    """An accelerator that knows what the other processes hold."""

    def __init__(self, parts: list[Tensor]) -> None:
        self.parts = parts

    def gather(self, padded: Tensor) -> Tensor:
        rows = [torch.zeros_like(padded) for _ in self.parts]
        for row, part in zip(rows, self.parts):
            row[: len(part)] = part
        return torch.cat(rows)


@given(total=st.integers(0, 12), count=st.integers(2, 5), rank=st.integers(0, 4))
def test_what_is_split_is_gathered(total: int, count: int, rank: int) -> None:
    whole = torch.arange(3 * total).reshape(total, 3)
    parts = [whole[total * r // count : total * (r + 1) // count] for r in range(count)]
    group = Processes(torch.device("cpu"), rank % count, count, Others(parts))
    assert torch.equal(group.gather(parts[rank % count], total), whole)


SAYS = "from rgd.processes import processes; print('I am one of', processes().count)"


@pytest.mark.check
@pytest.mark.parametrize(("options", "starts"), [
    (["--cpu", "--num_processes", "2"], False), (["--num_processes", "2"], False),
    (["--cpu", "--num_processes", "1"], True),
])  # fmt: skip
def test_a_launcher_that_starts_one_process_for_two_is_found_out(
    options: list[str], starts: bool, tmp_path: Path
) -> None:
    """The real one: without --multi_gpu it takes the number of processes for no more than a wish."""
    pytest.importorskip("accelerate")
    (tmp_path / "says.py").write_text(SAYS)
    command = [
        sys.executable, "-m", "accelerate.commands.launch", *options, "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", str(tmp_path / "says.py"),
    ]  # fmt: skip
    ours = {"CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
    inherited = {name: value for name, value in os.environ.items() if name not in ("MASTER_ADDR", "WORLD_SIZE")}
    done = subprocess.run(command, env=inherited | ours, capture_output=True, text=True, timeout=120)
    if starts:
        assert "I am one of 1" in done.stdout, done.stderr
    else:
        assert "I am one of" not in done.stdout
        assert "RgdError" in done.stderr
        assert "accelerate launch --multi_gpu --num_processes N" in done.stderr


def test_alone_there_is_nothing_to_wait_for_or_wrap() -> None:
    group, network = Processes(torch.device("cpu")), torch.nn.Linear(2, 2)
    assert group.wrap(network) is network
    assert group.gather(network.weight, 2) is network.weight
    group.wait()


def test_several_processes_need_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="pip install accelerate"):
        processes.__wrapped__()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert processes.__wrapped__() == Processes(best_device())


@pytest.mark.parametrize(("cuda", "mps", "best"), [
    (True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu"),
])  # fmt: skip
def test_the_best_device_is_the_fastest(cuda: bool, mps: bool, best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == torch.device(best)


if __name__ == "__main__":
    main(Path(sys.argv[1]))


@pytest.mark.check
def test_two_processes_compare_as_one_does(launched: tuple[Path, str], tmp_path: Path) -> None:
    together = json.loads((launched[0] / "compared.json").read_text())
    alone = bench.run(COMPARED, tmp_path / "out.json", store=tmp_path, runs=launched[0] / "runs", progress=False)
    for key in ("sweep", "headline", "differences"):
        for mine, theirs in zip(alone[key], together[key], strict=True):
            for name in cells.SWEEP:
                assert mine[name]["value"] == pytest.approx(theirs[name]["value"], rel=1e-3, abs=1e-6)
    assert [cell["scale"] for cell in alone["headline"]] == [cell["scale"] for cell in together["headline"]]
    assert launched[1].count("ways to guide") == 1  # one process tells what is to come
