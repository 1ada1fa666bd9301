"""Two machines with a disk each, on one: two launchers, each in a folder of its own. Only the first one's holds the
run; both go on from it, and end where an undisturbed run ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgd.training import checkpoints

pytestmark = pytest.mark.check
ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import os
import sys
import rgd
from rgd.processes import processes
from rgd.training import checkpoints

config = rgd.UNetConfig(
    image_size=8, in_channels=1, out_channels=1, model_channels=8, num_res_blocks=1, channel_mult=(1,),
    attention_resolutions=(),
)
network, stop = rgd.build(config), int(sys.argv[1])
training = rgd.Training(steps=6, batch_size=8, ema=0.9, save_every=2)
steps = rgd.fit(network, rgd.objectives.Denoising(), rgd.data.load("digits"), rgd.schedule.linear(), training, "run")
for step in steps:
    if step.step == -stop and processes().rank == 1:
        os.kill(os.getpid(), 9)
    if step.step == stop:
        break
steps.close()
checkpoints.write("end.safetensors", step.network.state_dict(), {"step": step.step, "repeated": step.repeated})
assert processes().count == 2
"""
RECIPE = """
from rgd.recipes import *
from rgd.networks import EncoderConfig
from rgd.training import Training
from rgd.training.objectives import NoisyCrossEntropy

network = EncoderConfig(
    image_size=8, in_channels=1, out_channels=10, model_channels=8, num_res_blocks=1, channel_mult=(1,),
    attention_resolutions=(),
)
recipe = Recipe("mine/one", "digits", network, NoisyCrossEntropy(), Training(4, batch_size=8))
"""


def launch(folders: list[Path], *command: str, status: int = 0) -> list[str]:
    """The same command on both machines at once; each must end within two minutes, with this status. What they said."""
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "2", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher += ["--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    running = []
    for rank, folder in enumerate(folders):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HOME": str(folder / "home"),
        }
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        running.append(
            subprocess.Popen(
                [*launcher, "--machine_rank", str(rank), *command], cwd=folder, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )
        )  # fmt: skip
    try:
        said = [process.communicate(timeout=120)[0] for process in running]
    except subprocess.TimeoutExpired:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"the machines hang: {[process.communicate()[0] for process in running]}")
    assert [process.returncode for process in running] == [status] * 2, said
    return said


def machines(place: Path) -> list[Path]:
    folders = [place / "first", place / "second"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(SCRIPT)
        (folder / "mine.py").write_text(RECIPE)
    return folders


def end(folder: Path) -> tuple[dict[str, Tensor], tuple[int, bool]]:
    tensors, about = checkpoints.read(folder / "end.safetensors")
    return tensors, (about["step"], about["repeated"])


def test_a_run_is_gone_on_with_from_the_first_machines_disk(tmp_path: Path) -> None:
    undisturbed, stopped = machines(tmp_path / "undisturbed"), machines(tmp_path / "stopped")
    launch(undisturbed, "train.py", "0")
    launch(stopped, "train.py", "3")
    assert [end(folder)[1] for folder in stopped] == [(3, False)] * 2
    launch(stopped, "train.py", "0")
    wanted, _ = end(undisturbed[0])
    for folder in stopped:
        found, about = end(folder)
        assert about == (6, False)
        assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert not (stopped[1] / "run").exists()
    launch(stopped, "train.py", "0")  # it is finished, and tells its last step again
    assert [end(folder)[1] for folder in stopped] == [(6, True)] * 2


def test_a_finished_recipe_is_known_on_both(tmp_path: Path) -> None:
    folders = machines(tmp_path)
    for _ in range(2):
        launch(folders, "-m", "rgd.cli", "train", "mine.py")
    assert (folders[0] / "runs" / "mine" / "one" / "model.safetensors").exists()
    assert not (folders[1] / "runs" / "mine" / "one" / "model.safetensors").exists()


def test_a_dead_worker_of_another_machine_is_named(tmp_path: Path) -> None:
    """Its own launcher knows; the other machine's has no way to, and would wait for half an hour."""
    folders = machines(tmp_path)
    said = launch(folders, "train.py", "-3", status=1)
    assert "process 1 of 2 (pid" in said[0]
    assert f"on {socket.gethostname()}) died without a word" in said[0]
    assert "SIGKILL" in said[1]
    launch(folders, "train.py", "0")  # the same command goes on, from what the first machine saved
    assert [end(folder)[1] for folder in folders] == [(6, False)] * 2


def test_a_killed_launcher_leaves_nobody_at_work(tmp_path: Path) -> None:
    """Its workers have sessions of their own, and would go on beside whoever is started anew in the same folder."""
    pytest.importorskip("accelerate")
    psutil = pytest.importorskip("psutil")
    script = "import os, pathlib, time, rgd.processes as p\np.processes()\npathlib.Path(str(os.getpid())).touch()\n"
    (tmp_path / "wait.py").write_text(f"{script}time.sleep(120)\n")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(tmp_path / "home")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    launched = subprocess.Popen([*launcher, "wait.py"], cwd=tmp_path, env=environment, start_new_session=True)

    def lives(pid: int) -> bool:
        with suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
        return False

    def until(n: int) -> bool:
        begun = time.monotonic()
        while (found := sum(lives(int(file.name)) for file in tmp_path.glob("[0-9]*"))) != n:
            if time.monotonic() - begun > 60:
                return False
            time.sleep(0.1)
        return found == n

    assert until(2)
    launched.kill()
    launched.wait()
    assert until(0)
