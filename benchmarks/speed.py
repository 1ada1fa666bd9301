"""How fast are training, attacks and guided sampling, beside two other libraries and beside what the machine can do?

`python -m benchmarks.speed` measures everything in one run, repetitions of the compared networks interleaved, so that
whatever else the machine does falls on all alike; prints medians; and writes every repetition to a file in
`results/`. Sizes are matched by parameters, and the counts are printed. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tyro
from denoising_diffusion_pytorch import Unet
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

import rgd
from rgd.lab.origin import provenance
from rgd.processes import best_device
from rgd.training import autocast

SIZE, CHANNELS = 32, 3


def networks() -> dict[str, nn.Module]:
    """U-Nets of about 1.8 M parameters for 32 x 32 colour images, with attention at half and quarter size."""
    common: dict[str, Any] = dict(
        image_size=SIZE, in_channels=CHANNELS, out_channels=CHANNELS, model_channels=32, channel_mult=(1, 2, 2),
        num_res_blocks=2, attention_resolutions=(2, 4), num_head_channels=32,
    )  # fmt: skip
    down, up = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    return {
        "rgd": rgd.build(rgd.UNetConfig(**common)),
        "rgd, unshuffle stem": rgd.build(rgd.UNetConfig(**common, patch=2)),
        "diffusers": UNet2DModel(
            sample_size=SIZE, in_channels=CHANNELS, out_channels=CHANNELS, layers_per_block=2,
            block_out_channels=(32, 64, 64), down_block_types=down, up_block_types=up, attention_head_dim=32,
        ),
        "denoising-diffusion-pytorch": Unet(dim=36, dim_mults=(1, 2, 2), channels=CHANNELS),
    }  # fmt: skip


def classifier() -> nn.Module:
    """The paper's CIFAR-10 classifier, 2.07 M parameters."""
    return rgd.build(
        rgd.EncoderConfig(
            image_size=SIZE, in_channels=CHANNELS, out_channels=10, model_channels=32, channel_mult=(1, 2, 2, 4),
            num_res_blocks=2, attention_resolutions=(2, 4), num_head_channels=32, use_scale_shift_norm=True,
            resblock_updown=True, pool="attention",
        )
    )  # fmt: skip


def call(network: nn.Module, x: Tensor, t: Tensor) -> Tensor:
    """A network's output; diffusers wraps its own."""
    output = network(x, t)
    return output if isinstance(output, Tensor) else output.sample


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The time of one call, the GPU's queue emptied before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def interleaved(
    works: dict[str, Callable[[], object]], repetitions: int, device: torch.device, what: str
) -> dict[str, list[float]]:
    """Times of each piece of work, taken in turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in tqdm(range(repetitions + 1), what, unit="round"):
        for name, work in works.items():
            took = seconds(work, device)
            if round_:
                times[name].append(took)
    return times


def peak(precision: str, device: torch.device, repetitions: int) -> float:
    """FLOP/s of a large matrix product: what "100 %" means below."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device) for _ in range(2))

    def multiply() -> None:
        with autocast(device, precision):  # type: ignore[arg-type]
            a @ b

    return 2 * n**3 / min(interleaved({"matmul": multiply}, repetitions, device, "peak")["matmul"])


def flops(network: nn.Module, x: Tensor, t: Tensor, train: bool) -> int:
    """Floating-point operations of a forward pass, or of a forward and a backward pass, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(train):
        output = call(network, x, t)
        if train:
            output.sum().backward()
    network.zero_grad()
    return counter.get_total_flops()


def compare_networks(batch: int, repetitions: int, device: torch.device, precision: str) -> list[dict[str, Any]]:
    """Training and sampling of each network: a row each."""
    nets = {name: network.to(device) for name, network in networks().items()}
    optimizers = {name: torch.optim.AdamW(n.parameters(), lr=1e-4, fused=True) for name, n in nets.items()}
    x, eps = (torch.randn(batch, CHANNELS, SIZE, SIZE, device=device) for _ in range(2))
    t = torch.randint(1000, (batch,), device=device)

    def train(name: str) -> None:
        with autocast(device, precision):  # type: ignore[arg-type]
            loss = (call(nets[name], x, t).float() - eps).square().mean()
        loss.backward()
        optimizers[name].step()
        optimizers[name].zero_grad()

    def denoise(name: str) -> None:
        with torch.inference_mode(), autocast(device, precision):  # type: ignore[arg-type]
            call(nets[name], x, t)

    rows = []
    top = peak(precision, device, repetitions)
    for what, work in {"training": train, "sampling": denoise}.items():
        works = {name: (lambda name=name, work=work: work(name)) for name in nets}
        times = interleaved(works, repetitions, device, f"{what} {precision}")
        for name, taken in times.items():
            count = flops(nets[name], x, t, train=what == "training")
            rows.append({
                "what": what, "precision": precision, "network": name, "batch": batch, "seconds": taken,
                "parameters": sum(p.numel() for p in nets[name].parameters()),
                "images_per_second": batch / statistics.median(taken), "flops": count,
                "utilisation": count / statistics.median(taken) / top,
            })  # fmt: skip
    return rows


def attack_cost(batch: int, repetitions: int, device: torch.device, precision: str) -> list[dict[str, Any]]:
    """A PGD-K training step against a plain one; the ideal is (3 + 2K) / 3."""
    network, schedule = classifier().to(device), rgd.schedule.linear()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x0 = torch.rand(batch, CHANNELS, SIZE, SIZE, device=device) * 2 - 1
    y = torch.randint(10, (batch,), device=device)
    random = rgd.generator(0, device=device)

    def step(objective: rgd.objectives.Objective) -> None:
        with autocast(device, precision):  # type: ignore[arg-type]
            loss = objective(network, schedule, x0, y, random)
        loss.value.backward()
        optimizer.step()
        optimizer.zero_grad()

    plain = rgd.objectives.NoisyCrossEntropy()
    works: dict[str, Callable[[], object]] = {"plain": lambda: step(plain)}
    for K in (1, 3, 7):
        attack = rgd.PGD(rgd.L2(0.5), steps=K, early_stop=False)  # every image is attacked at every step
        works[f"PGD-{K}"] = lambda attack=attack: step(rgd.objectives.RobustCrossEntropy(attack))
    times = interleaved(works, repetitions, device, f"attacks {precision}")
    base = statistics.median(times["plain"])
    return [
        {"what": name, "precision": precision, "batch": batch, "seconds": taken,
         "cost": statistics.median(taken) / base, "ideal": (3 + 2 * int(name[4:] or 0)) / 3 if name != "plain" else 1.0}
        for name, taken in times.items()
    ]  # fmt: skip


def guided_cost(batch: int, repetitions: int, device: torch.device, precision: str) -> list[dict[str, Any]]:
    """A guided sampling step against its parts: the U-Net, and the classifier's gradient."""
    schedule = rgd.schedule.linear()
    denoise = rgd.NetworkDenoiser(networks()["rgd"].to(device).eval(), schedule)
    gradient = rgd.grad_log_prob(classifier().to(device).eval())
    guided = rgd.guide(denoise, gradient, 1.0)
    x = torch.randn(batch, CHANNELS, SIZE, SIZE, device=device)
    t, y = torch.full((batch,), 500, device=device), torch.randint(10, (batch,), device=device)

    def inside(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad(), autocast(device, precision):  # type: ignore[arg-type]
                work()

        return run

    works = {
        "U-Net": inside(lambda: denoise(x, t)),
        "classifier's gradient": inside(lambda: gradient(x, t, y)),
        "guided step": inside(lambda: guided(x, t, y)),
    }
    times = interleaved(works, repetitions, device, f"guidance {precision}")
    parts = sum(statistics.median(times[part]) for part in ("U-Net", "classifier's gradient"))
    return [
        {"what": name, "precision": precision, "batch": batch, "seconds": taken,
         "share_of_parts": statistics.median(taken) / parts}
        for name, taken in times.items()
    ]  # fmt: skip


def main(batch: int = 32, repetitions: int = 7, quick: bool = False, out: Path | None = None) -> None:
    """Measure, print and write.

    Args:
        batch: images a step.
        repetitions: of each measurement; medians are printed.
        quick: two repetitions of small batches, to see that it works.
        out: the JSON file; default results/speed-DEVICE.json.
    """
    batch, repetitions = (4, 2) if quick else (batch, repetitions)
    device = best_device()
    record: dict[str, Any] = {"networks": [], "attacks": [], "guidance": [], "provenance": provenance()}
    for precision in ("fp32", "bf16"):
        record["networks"] += compare_networks(batch, repetitions, device, precision)
        record["attacks"] += attack_cost(batch, repetitions, device, precision)
        record["guidance"] += guided_cost(batch, repetitions, device, precision)
    print(f"\n{'':9} {'':5} {'network':28} {'parameters':>10} {'images/s':>9} {'of peak':>8}")
    for row in record["networks"]:
        print(f"{row['what']:9} {row['precision']:5} {row['network']:28} {row['parameters']:10,} "
              f"{row['images_per_second']:9.1f} {row['utilisation']:8.1%}")  # fmt: skip
    print(f"\n{'attack':9} {'':5} {'cost':>6} {'ideal':>6} {'ratio':>6}")
    for row in record["attacks"]:
        ratio = row["cost"] / row["ideal"]
        print(f"{row['what']:9} {row['precision']:5} {row['cost']:6.2f} {row['ideal']:6.2f} {ratio:6.2f}")
    print()
    for row in record["guidance"]:
        print(f"{row['what']:22} {row['precision']:5} {statistics.median(row['seconds']) * 1e3:8.1f} ms, "
              f"{row['share_of_parts']:.2f} of the parts")  # fmt: skip
    path = out or Path("results") / f"speed-{device.type}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1))
    print(f"\nEvery repetition is in {path}")


if __name__ == "__main__":
    tyro.cli(main)
