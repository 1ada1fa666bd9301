"""Models of others: diffusers' U-Nets against its own loops, EDM's D(x, sigma) against its algorithm and against a
mixture's exact one, timm's and torchvision's classifiers against their libraries' own transforms."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv

import rgd
from rgd.adapters import CleanClassifier, from_diffusers, from_edm, from_timm, from_torchvision
from rgd.adapters.classifiers import Sees
from rgd.adapters.denoisers import NO_SIGNAL
from rgd.errors import CheckpointError
from rgd.identity import key
from rgd.lab import datasets
from rgd.training import checkpoints
from rgd.training.checkpoints import Model

diffusers = pytest.importorskip("diffusers")
timm = pytest.importorskip("timm")
SHAPE = (3, 3, 16, 16)


def unet(**more: Any) -> Any:
    """A small U-Net of random weights, of their class."""
    torch.manual_seed(0)
    settings: dict[str, Any] = dict(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return diffusers.UNet2DModel(**settings | more).eval().requires_grad_(False)


def last(steps: Any) -> Tensor:
    for step in steps:
        x = step.x
    return x


@torch.no_grad()
def their_ddim(network: Any, scheduler: Any, x: Tensor, steps: int, y: Tensor | None = None) -> Tensor:
    """The loop of DDIMPipeline, from x; eps follows x0 where that is cut, as it does here."""
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        output = network(x, t, y).sample
        x = scheduler.step(output, t, x, use_clipped_model_output=True).prev_sample
    return x


SCHEDULERS = {
    "defaults": {},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "v": {"prediction_type": "v_prediction", "clip_sample": False},
    "x0 of latents": {"prediction_type": "sample", "beta_schedule": "scaled_linear", "clip_sample": False},
    "betas of one's own": {"trained_betas": (torch.linspace(0.01, 0.14, 1000) ** 2).tolist()},
}


@pytest.mark.parametrize("settings", SCHEDULERS.values(), ids=SCHEDULERS)
def test_a_diffusers_model_samples_as_in_its_own_loop(settings: dict[str, Any]) -> None:
    network, scheduler, x = unet(), diffusers.DDIMScheduler(**settings), rgd.noise(SHAPE, seed=1)
    ours = last(rgd.ddim(from_diffusers(network, scheduler), x, steps="ddim25"))
    torch.testing.assert_close(ours, their_ddim(network, scheduler, x, 25), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pipeline", ["DDPMPipeline", "DDIMPipeline"])
def test_a_pipeline_brings_its_own_scheduler(pipeline: str) -> None:
    scheduler = diffusers.DDPMScheduler(beta_end=0.03, clip_sample=False)
    whole = getattr(diffusers, pipeline)(unet(), scheduler)
    denoise = from_diffusers(whole)
    assert torch.equal(denoise.schedule.alpha_bar, whole.scheduler.alphas_cumprod.double())
    assert (denoise.variance, denoise.clip, denoise.conditional) == ("small", False, False)


def test_a_schedule_that_ends_in_pure_noise() -> None:
    settings: dict[str, Any] = dict(num_train_timesteps=20, rescale_betas_zero_snr=True, clip_sample=False)
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", **settings)
    network, x = unet(), rgd.noise(SHAPE, seed=1)
    denoise = from_diffusers(network, scheduler)
    assert denoise.schedule.alpha_bar[-1] == NO_SIGNAL
    ours = last(rgd.ddim(denoise, x, steps=None))
    torch.testing.assert_close(ours, their_ddim(network, scheduler, x, 20), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="pure noise"):
        from_diffusers(network, diffusers.DDIMScheduler(**settings))


@pytest.mark.parametrize(
    ("kind", "channels", "variance", "fraction"),
    [("fixed_small_log", 3, "small", 0), ("fixed_large", 3, "large", 1), ("learned_range", 6, "learned", None),
     ("fixed_small", 6, "learned", None)],
)  # fmt: skip
def test_the_variance_is_what_the_scheduler_says(kind: str, channels: int, variance: str, fraction: Any) -> None:
    scheduler = diffusers.DDPMScheduler(variance_type=kind)
    denoise = from_diffusers(unet(out_channels=channels), scheduler)
    assert denoise.variance == variance
    x, t = rgd.noise(SHAPE, seed=1), torch.tensor([500, 500, 500])
    found = denoise(x, t).fraction
    if fraction is not None:
        assert torch.equal(found, torch.tensor(float(fraction)))
    elif kind == "learned_range":
        output = denoise.network(x, t)[:, 3:]
        theirs = scheduler._get_variance(500, predicted_variance=output)  # a logarithm, for this kind
        torch.testing.assert_close(denoise.schedule.log_variance(t, found), theirs, atol=1e-4, rtol=1e-4)


def test_labels_and_no_label_of_a_diffusers_model() -> None:
    network, scheduler, x = unet(num_class_embeds=11), diffusers.DDIMScheduler(clip_sample=False), rgd.noise(SHAPE, 1)
    denoise, y = from_diffusers(network, scheduler, null_label=10), torch.tensor([1, 2, 3])
    t = torch.full_like(y, 400)
    strong, weak = (network(x, t, labels).sample for labels in (y, torch.full_like(y, 10)))
    free = rgd.classifier_free(denoise, 3.0)(x, t, y).eps
    torch.testing.assert_close(free, weak + 3 * (strong - weak), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(denoise(x, t, torch.tensor([1, -1, 3])).eps[1], weak[1], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="null_label"):
        from_diffusers(network, scheduler)(x, t)


def test_a_network_in_half_precision_is_asked_in_it() -> None:
    denoise = from_diffusers(unet().to(torch.bfloat16), diffusers.DDIMScheduler())
    x, t = rgd.noise(SHAPE, seed=1), torch.tensor([0, 500, 999])
    assert denoise(x, t).x0.dtype == torch.float32


REFUSED = {
    "flow": (lambda: (unet(), diffusers.FlowMatchEulerDiscreteScheduler()), "alphas_cumprod"),
    "none": (lambda: (unet(), None), "alphas_cumprod"),
    "text": (lambda: (SimpleNamespace(config={"cross_attention_dim": 8}), diffusers.DDIMScheduler()), "wrap it"),
    "thresholding": (lambda: (unet(), diffusers.DDIMScheduler(thresholding=True)), "thresholding"),
    "range": (lambda: (unet(), diffusers.DDIMScheduler(clip_sample_range=3.0)), "clip=False"),
    "variance": (lambda: (unet(), diffusers.DDPMScheduler(variance_type="learned")), "variance_type"),
    "prediction": (lambda: (unet(), diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction")),
                   "prediction_type"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_has_another_meaning_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_diffusers(*make())


def test_the_identity_of_a_diffusers_model_is_all_that_decides() -> None:
    scheduler = diffusers.DDIMScheduler()
    same = {key(from_diffusers(unet(), scheduler)) for _ in range(2)}
    other = unet()
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    keys = {
        key(from_diffusers(other, scheduler)),
        key(from_diffusers(unet(freq_shift=1), scheduler)),
        key(from_diffusers(unet(), diffusers.DDIMScheduler(beta_end=0.03))),
        key(from_diffusers(unet(), scheduler, clip=False)),
    }
    assert len(same) == 1
    assert len(keys | same) == 5


# --- D(x, sigma) -------------------------------------------------------------------------------------------------

MEANS = torch.tensor([[-2.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
MIX = rgd.mixture(MEANS, torch.tensor([0.1, 0.25]), rgd.schedule.karras(18))


class Exact(nn.Module):
    """The mixture's own D(x, sigma), from its denoiser at the noise level nearest to sigma, which is it."""

    label_dim = 0

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        q = MIX.schedule
        t = (q.sigma / q.signal - sigma[:1].double()).abs().argmin().expand(len(x))
        return rgd.unconditional(MIX)(x * q.at("signal", t, x), t).x0


def test_karras_levels_are_those_of_the_paper() -> None:
    q = rgd.schedule.karras(18)
    i = torch.arange(18, dtype=torch.float64)
    paper = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close((q.sigma / q.signal).flip(0), paper, rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="sigma_min"):
        rgd.schedule.karras(18, 3.0, 2.0)


def test_heun_on_an_edm_network_is_edms_algorithm() -> None:
    x = rgd.noise((64, 2), seed=4).double()
    q, D = MIX.schedule, Exact()
    ours = last(rgd.heun(from_edm(D, q), x, steps=None))
    sigma = [*(q.sigma / q.signal).flip(0).tolist(), 0.0]
    here = x / q.signal[-1]
    for now, then in pairwise(sigma):
        slope = (here - D(here, torch.full((64,), now))) / now
        there = here + (then - now) * slope
        if then > 0:
            there = here + (then - now) * (slope + (there - D(there, torch.full((64,), then))) / then) / 2
        here = there
    torch.testing.assert_close(ours, here, rtol=1e-7, atol=1e-7)


def test_an_edm_network_is_the_denoiser_it_stands_for() -> None:
    x, t = rgd.noise((18, 2), seed=4).double(), torch.arange(18)
    for row in t:
        at, plain = row.expand(3), rgd.unconditional(MIX)
        torch.testing.assert_close(from_edm(Exact(), MIX.schedule)(x[:3], at).eps, plain(x[:3], at).eps)


class Labelled(nn.Module):
    label_dim, sigma_min, sigma_max = 4, 0.0, float("inf")

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        assert labels.shape == (len(x), 4)
        return x * 0 + (labels @ torch.arange(1.0, 5.0)).reshape(-1, 1, 1, 1) * 0.1


def test_labels_of_an_edm_network_are_one_hot_and_none_is_zeros() -> None:
    denoise, x = from_edm(Labelled()), rgd.noise(SHAPE, seed=2)
    t = torch.tensor([3, 500, 999])
    found = denoise(x, t, torch.tensor([0, 3, -1])).x0[:, 0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.1, 0.4, 0.0]))
    assert float(denoise(x, t).x0.abs().max()) == 0
    sigma = denoise.schedule.sigma / denoise.schedule.signal
    torch.testing.assert_close(sigma[[0, -1]], torch.tensor([0.002, 80.0], dtype=torch.float64))


# --- classifiers of clean images ---------------------------------------------------------------------------------


def resnet(**more: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=10, **more)


def test_timm_sees_the_whole_image_at_its_own_size_and_means() -> None:
    network, x0 = resnet(), rgd.noise((2, 3, 20, 20), seed=1).clamp(-1, 1)
    classifier, known = from_timm(network), network.pretrained_cfg
    resized = tv.resize((x0 + 1) / 2, list(known["input_size"][1:]), tv.InterpolationMode.BICUBIC, antialias=True)
    wanted = network.eval()(tv.normalize(resized, known["mean"], known["std"]))
    assert known["interpolation"] == "bicubic"
    torch.testing.assert_close(classifier(x0, torch.zeros(2, dtype=torch.int64)), wanted, atol=1e-5, rtol=1e-5)


def test_torchvision_sees_by_its_weights_own_transforms() -> None:
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    torch.manual_seed(0)
    network, x0 = torchvision.models.resnet18(), rgd.noise((2, 1, 300, 260), seed=1).clamp(-1, 1)
    found = from_torchvision(network, weights.transforms()).sees(x0)
    resized = tv.resize((x0.expand(-1, 3, -1, -1) + 1) / 2, [224, 224], antialias=True)
    wanted = tv.normalize(resized, weights.transforms().mean, weights.transforms().std)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_timm_guide_moves_a_diffusers_model(layout: torch.memory_format) -> None:
    """Against the chain rule by hand, and by finite differences; in any order of the network's memory."""
    denoise = from_diffusers(unet(), diffusers.DDIMScheduler(clip_sample=False))
    classifier = from_timm(resnet(), size=(32, 32)).to(memory_format=layout).double()
    denoise = from_diffusers(unet().double(), diffusers.DDIMScheduler(clip_sample=False))
    gradient = rgd.grad_log_prob_of_x0(classifier, denoise)
    x, t, y = rgd.noise(SHAPE, seed=5).double(), torch.tensor([100, 400, 700]), torch.tensor([1, 2, 3])
    g = gradient(x, t, y)
    push = rgd.noise(SHAPE, seed=6).double()

    def log_prob(x: Tensor) -> Tensor:
        with torch.no_grad():
            return classifier(denoise(x, t).x0).log_softmax(1)[torch.arange(3), y]

    slope = (log_prob(x + 1e-7 * push) - log_prob(x - 1e-7 * push)) / 2e-7
    torch.testing.assert_close((g * push).flatten(1).sum(1), slope, rtol=1e-4, atol=1e-8)
    moved = rgd.guide(denoise, gradient, 2.0)(x, t, y).eps
    sigma = denoise.schedule.at("sigma", t, x)
    torch.testing.assert_close(moved, denoise(x, t).eps - 2 * sigma * g, rtol=1e-7, atol=1e-9)


def test_a_judge_of_ours_is_a_clean_classifier_too() -> None:
    judge = rgd.build(rgd.JudgeConfig(image_size=16, in_channels=1, out_channels=10, width=4, features=8)).eval()
    x0 = rgd.noise((4, 1, 16, 16), seed=1)
    torch.testing.assert_close(CleanClassifier(judge)(x0), judge(x0), atol=1e-5, rtol=1e-5)


def test_what_a_network_cannot_see_by_is_refused() -> None:
    with pytest.raises(ValueError, match="interpolation"):
        Sees(interpolation="lanczos")
    with pytest.raises(ValueError, match="std"):
        Sees((0.5, 0.5), (0.5,))


# --- latents -----------------------------------------------------------------------------------------------------


def vae(**more: Any) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = dict(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4, sample_size=16,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, scaling_factor=0.5, shift_factor=0.25,
    )  # fmt: skip
    return diffusers.AutoencoderKL(**settings | more)


def photographs(n: int = 6) -> rgd.data.Dataset:
    pixels = (rgd.noise((n, 3, 16, 16), seed=3) * 40 + 128).clamp(0, 255).to(torch.uint8)
    return rgd.data.Dataset(pixels, torch.arange(n) % 3, ("a", "b", "c"), "photographs")


def test_latents_are_scaled_as_the_autoencoder_says_and_come_back() -> None:
    own, data = vae(), photographs()
    space = rgd.from_vae(own)
    latents = space.of(data, batch_size=4)
    with torch.no_grad():
        wanted = (own.encode(data.x0()).latent_dist.mean - 0.25) * 0.5
        again = own.decode(wanted / 0.5 + 0.25).sample
    assert latents.shape == (4, 8, 8)
    torch.testing.assert_close(latents.x0(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(space.images(latents.x0(), batch_size=5), again, atol=1e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in own.parameters())


def test_a_model_is_trained_and_guided_in_latents_by_who_knows_images_alone() -> None:
    space = rgd.from_vae(vae())
    latents = space.of(photographs())
    network = rgd.build(rgd.UNetConfig(image_size=8, in_channels=4, out_channels=4, model_channels=8,
                                       num_res_blocks=1, channel_mult=(1, 2), attention_resolutions=()))  # fmt: skip
    schedule = rgd.schedule.linear()
    *_, step = rgd.fit(network, rgd.objectives.Denoising(), latents, schedule, rgd.Training(steps=3, batch_size=4))
    denoise = rgd.NetworkDenoiser(step.network, schedule, clip=False)
    judge = rgd.build(rgd.JudgeConfig(image_size=16, in_channels=3, out_channels=3, width=4, features=8)).eval()
    seen = space.seen_by(CleanClassifier(judge))
    z, t, y = rgd.noise((2, 4, 8, 8), seed=1), torch.tensor([50, 100]), torch.tensor([0, 2])
    g = rgd.grad_log_prob_of_x0(seen, denoise)(z, t, y)
    assert g.shape == z.shape
    assert (g.flatten(1).norm(dim=1) > 0).all()
    wanted = judge(space.images(z)).log_softmax(1)
    torch.testing.assert_close(seen(z, t).log_softmax(1), wanted, atol=1e-5, rtol=1e-5)
    guided = rgd.guide(denoise, rgd.grad_log_prob_of_x0(seen, denoise), 2.0)
    drawn = rgd.sample(guided, z.shape, y, steps=3, progress=False)
    assert space.images(drawn).shape == (2, 3, 16, 16)


def test_the_identity_of_a_latent_space_is_its_autoencoders() -> None:
    keys = {key(rgd.from_vae(vae())) for _ in range(2)}
    assert len(keys) == 1
    assert len(keys | {key(rgd.from_vae(vae(scaling_factor=0.6)))}) == 2


# --- weights -----------------------------------------------------------------------------------------------------


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_weights_are_found_by_how_their_names_end(tmp_path: Path, prefix: str, inside: str | None) -> None:
    theirs, ours = small(), small()
    saved: dict[str, Any] = {prefix + name: value for name, value in theirs.state_dict().items()}
    saved["normalizer.mean"] = torch.zeros(3)
    torch.save({inside: saved, "epoch": torch.tensor(3)} if inside else saved, path := tmp_path / "theirs.pt")
    assert rgd.load_from(ours, path) == ("normalizer.mean",)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters()))


def test_weights_that_do_not_fit_or_stand_twice_are_refused(tmp_path: Path) -> None:
    saved = small().state_dict()
    torch.save({k: v for k, v in saved.items() if k != "2.bias"}, path := tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"2\.bias"):
        rgd.load_from(small(), path)
    torch.save({f"{p}.{k}": v for k, v in saved.items() for p in ("model", "attacker")}, path)
    with pytest.raises(CheckpointError, match="2 times"):
        rgd.load_from(small(), path)
    torch.save({k: v.T if v.ndim == 2 else v for k, v in saved.items()}, path)
    with pytest.raises(CheckpointError, match="another architecture"):
        rgd.load_from(small(), path)


# --- files and commands ------------------------------------------------------------------------------------------


def test_a_diffusers_model_is_kept_in_a_file_and_loaded_again(tmp_path: Path) -> None:
    scheduler = diffusers.DDPMScheduler(beta_end=0.03, clip_sample=False, prediction_type="v_prediction")
    denoise = from_diffusers(unet(num_class_embeds=4), scheduler, null_label=3)
    Model.of(denoise, ("a", "b", "c")).save(path := tmp_path / "theirs.safetensors")
    again = checkpoints.load(path)
    x, t, y = rgd.noise(SHAPE, seed=1), torch.tensor([0, 500, 999]), torch.tensor([0, 2, -1])
    assert key(again.use()) == key(denoise)
    assert torch.equal(again.use()(x, t, y).x0, denoise(x, t, y).x0)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "rgd.cli", *shlex.split(command)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


OWN = """
from dataclasses import dataclass
from torch import nn
from rgd.networks import register

print("this module runs")


@dataclass(frozen=True)
class TinyConfig:
    in_channels: int = 1
    image_size: int = 8
    out_channels: int = 1


@register(TinyConfig)
class Tiny(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.layer = config, nn.Conv2d(1, config.out_channels, 3, padding=1)

    def forward(self, xt, t, y=None):
        return self.layer(xt)


class Bare(nn.Module):
    pass
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a module of the user's, and a file of a model of its class."""
    (tmp_path / "mine.py").write_text(OWN)
    code = """
        import rgd, mine
        denoise = rgd.NetworkDenoiser(mine.Tiny(mine.TinyConfig()), rgd.schedule.linear())
        rgd.checkpoints.Model.of(denoise, ("a", "b")).save("tiny.safetensors")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, check=True)
    return tmp_path


def test_a_file_alone_imports_no_code_and_a_class_that_is_named_is_imported(own: Path) -> None:
    refused = run("sample tiny.safetensors --n 2 --steps 2", own)
    assert refused.returncode == 1
    assert "this module runs" not in refused.stdout
    assert "--network package.module:Class" in refused.stderr
    done = run("sample tiny.safetensors --n 2 --steps 2 --network mine:Tiny", own)
    assert done.returncode == 0, done.stderr
    assert "this module runs" in done.stdout
    images = checkpoints.read(own / "samples.safetensors")[0]["images"]
    assert images.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("name", "words"), [("mine:Bare", "register"), ("mine:None", "no network mine:None"), ("nowhere:Tiny", "nowhere"),
                        ("mine", "package.module:Class")]
)  # fmt: skip
def test_a_class_that_cannot_be_had_is_named(own: Path, name: str, words: str) -> None:
    refused = run(f"sample tiny.safetensors --n 2 --network {name}", own)
    assert refused.returncode == 1
    assert words in refused.stderr


def test_a_diffusers_model_is_sampled_guided_and_scored_by_commands(tmp_path: Path) -> None:
    """It knows no classes; who guides it does."""
    Model.of(from_diffusers(unet(in_channels=1, out_channels=1), diffusers.DDIMScheduler())).save(
        tmp_path / "theirs.safetensors"
    )
    common: dict[str, Any] = dict(image_size=16, in_channels=1, out_channels=10)
    encoder = rgd.build(rgd.EncoderConfig(**common, model_channels=8, num_res_blocks=1, channel_mult=(1, 2),
                                          attention_resolutions=()))  # fmt: skip
    names = tuple("0123456789")
    Model(encoder, rgd.schedule.linear(), {}, names).save(tmp_path / "guide.safetensors")
    Model(rgd.build(rgd.JudgeConfig(**common, width=4, features=8)), None, {}, names).save(tmp_path / "j.safetensors")
    numbers = torch.arange(40) % 10
    pixels = (rgd.noise((40, 1, 16, 16), seed=3) * 40 + 128).clamp(0, 255).to(torch.uint8)
    datasets.save(rgd.data.Dataset(pixels, numbers, names, "noise"), tmp_path / "noise-train.npz")
    network = "--network rgd.adapters:DiffusersNetwork"
    for command in (
        f"sample theirs.safetensors --n 40 --steps 2 {network}",
        "evaluate samples.safetensors --judge j.safetensors --reference ./noise --metrics fd --halves 2",
        f"sample theirs.safetensors --classifier guide.safetensors --n 40 --steps 2 {network}",
        "evaluate samples.safetensors --judge j.safetensors --reference ./noise --halves 2",
    ):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    tensors, origin = checkpoints.read(tmp_path / "samples.safetensors")
    assert tensors["labels"].equal(numbers)
    assert origin["classes"] == list(names)


COMPARISON = """
import rgd
import rgd.adapters
from rgd.experiments import Comparison, Entry

experiment = Comparison(
    "digits", "mine/judge",
    (
        Entry("none", "mine/theirs", "none", None, (0.0,)),
        Entry("guided", "mine/theirs", "classifier", "mine/guide", (2.0,)),
    ),
    (("guided", "none"),), samples=100, headline_samples=100, headline_seeds=(1,), steps=2, reference=200,
)
"""


@pytest.mark.check
def test_a_diffusers_model_takes_part_in_a_comparison(tmp_path: Path) -> None:
    names = tuple("0123456789")
    common: dict[str, Any] = dict(image_size=8, in_channels=1, out_channels=10)
    encoder = rgd.build(rgd.EncoderConfig(**common, model_channels=8, num_res_blocks=1, channel_mult=(1, 2),
                                          attention_resolutions=()))  # fmt: skip
    judge = rgd.build(rgd.JudgeConfig(**common, width=4, features=8))
    theirs = from_diffusers(unet(in_channels=1, out_channels=1, sample_size=8), diffusers.DDPMScheduler())
    models = {
        "theirs": Model.of(theirs, names), "guide": Model(encoder, theirs.schedule, {}, names),
        "judge": Model(judge, None, {}, names),
    }  # fmt: skip
    for name, model in models.items():
        model.save(tmp_path / "runs" / "mine" / name / "model.safetensors")
    (tmp_path / "mine.py").write_text(COMPARISON)
    done = run("evaluate mine.py --out found.json", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["name"] for row in found["headline"]] == ["none", "guided"]
    (pair,) = found["differences"]
    assert (pair["a"], pair["b"]) == ("guided", "none")
