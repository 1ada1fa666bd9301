"""What a GPU would complain of, on a machine without one: see `tools.pretend_gpu`."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(
        not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
        reason="this PyTorch has no devices written in Python",
    ),
]


def pretend(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: a device cannot be taken back."""
    environment = {"RGD_PROFILE": "ci", "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )


def test_the_pretended_device_finds_what_was_left_on_the_cpu():
    program = """
from tools import pretend_gpu
pretend_gpu.install()
import torch
here, there = torch.ones(3), torch.ones(3).to("pretend")
assert there.device.type == "pretend" and float((there + there).sum()) == 6
assert (there * torch.tensor(2.0)).device.type == "pretend"  # a number may be anywhere
for mixed in (lambda: here + there, lambda: torch.cat([here, there]), lambda: here[there.long()]):
    try:
        mixed()
    except RuntimeError as error:
        print("refused:", error)
"""
    done = pretend("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused:") == 3


def test_models_on_a_gpu_take_images_from_the_cpu():
    """The README's ten lines, and what surrounds them, as a researcher on Colab would write them."""
    program = """
from tools import pretend_gpu
pretend_gpu.install()
import torch, rgd
denoise, robust = rgd.zoo.load("mnist/ddpm"), rgd.zoo.load("mnist/robust")
assert next(robust.parameters()).device.type == "pretend"
logits = robust(xt=torch.zeros(2, 1, 28, 28), t=torch.zeros(2).long())
assert logits.device.type == "cpu"
guided = rgd.guide(denoise, rgd.grad_log_prob(robust), scale=4.0, interval=(0, 600))
for device in ("cpu", "pretend"):
    y = torch.arange(2).to(device)
    for step in rgd.ddim(guided, rgd.noise((2, 1, 28, 28), seed=0, device=device), y, steps=3):
        assert step.x0.device.type == device
    xt, t = step.x, torch.full_like(y, 100)
    attacked = rgd.pgd(robust, xt, t, y, rgd.L2(0.5), steps=2)
    rgd.gradients.cosine(robust, rgd.zoo.load("mnist/vanilla"), attacked, t, y)
rgd.sample(guided, (2, 1, 28, 28), y, steps=2, progress=False)

coder, table = rgd.zoo.load("latents/autoencoder"), rgd.zoo.load("mnist/golden_robust")
space = rgd.adapters.Latents(coder.encode, coder.decode, coder.config.scale)
images = torch.zeros(2, 1, 28, 28)
for device in ("cpu", "pretend"):
    assert table(torch.arange(2).to(device)).device.type == device
    assert space.images(coder.encode(images.to(device))).device.type == device

data, schedule = rgd.data.load("digits").take(64), rgd.schedule.linear(1000)
shape = dict(image_size=8, in_channels=1, model_channels=32, num_res_blocks=1, attention_resolutions=(2,),
             num_head_channels=32, channel_mult=(1, 2))
training = rgd.Training(2, 16, ema=0.9)
for network, objective in (
    (rgd.UNetConfig(out_channels=2, **shape), rgd.objectives.Denoising()),
    (rgd.EncoderConfig(out_channels=10, **shape), rgd.objectives.RobustCrossEntropy()),
    (rgd.JudgeConfig(image_size=8, in_channels=1, out_channels=10), rgd.objectives.CleanCrossEntropy(takes_time=False)),
):
    for step in rgd.fit(rgd.build(network), objective, data, schedule, training):
        assert next(step.network.parameters()).device.type == "pretend"
judge = step.network.eval()
assert judge(data.x0()).device.type == "cpu"
seen = rgd.metrics.extract(data, judge)
rgd.metrics.estimate("fd", seen, seen)
"""
    done = pretend("-c", program)
    assert done.returncode == 0, done.stderr


def test_a_chapter_runs():
    """One here; `python -m tools.pretend_gpu` runs them all."""
    done = pretend("-m", "tools.pretend_gpu", "notebooks/22_fewer_steps_fewer_bits.ipynb")
    assert done.returncode == 0, done.stderr
    assert "22_fewer_steps_fewer_bits.ipynb:" in done.stdout
