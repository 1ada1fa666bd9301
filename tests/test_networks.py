"""Networks: any size and option, attention against PyTorch's own, and the published models' numbers of parameters."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rgd import layers, networks
from rgd.lab import judge
from rgd.lab.judge import Judge, JudgeConfig
from rgd.networks import EncoderConfig, EncoderUNet, UNet, UNetConfig, build

GOLDEN = Path(__file__).parent / "golden"
POOLS = ("adaptive", "attention", "spatial", "spatial_v2")
SIZES = (7, 8, 9, 13, 28, 33)
# A width of 12 gives groups of three channels: with one channel a group, what is added before a norm has no effect.
TINY: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=12, num_res_blocks=1, attention_resolutions=(2,), channel_mult=(1, 2)
)


def tiny(**options: Any) -> UNetConfig:
    return UNetConfig(**{**TINY, "out_channels": options.get("in_channels", 1), **options})


def tiny_encoder(**options: Any) -> EncoderConfig:
    return EncoderConfig(**{**TINY, "out_channels": 5, **options})


def awake(config: Any, seed: int = 0) -> Any:
    """A network without the zeros that its residual branches start from, in float64."""
    network = build(config, seed).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    return network


def inputs(config: Any, n: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    size = config.image_size
    xt = torch.randn(n, config.in_channels, size, size, generator=random, dtype=torch.float64)
    return xt, torch.randint(1000, (n,), generator=random)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Shapes -------------------------------------------------------------------------------------------------------------


def sees_every_pixel(output: Tensor, xt: Tensor) -> bool:
    """No pixel is padded away or cut off: each has a say in the output."""
    (gradient,) = torch.autograd.grad(output.square().sum(), xt, retain_graph=True)
    return bool((gradient != 0).all())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", [1, 2])
def test_unet_takes_any_size(size: int, patch: int) -> None:
    config = tiny(
        image_size=size, in_channels=1 + size % 4, patch=patch, resblock_updown=size % 3 == 0, channel_mult=(1, 1, 2),
        attention_resolutions=(4,),
    )  # fmt: skip
    xt, t = inputs(config, 1)
    xt.requires_grad_()
    output = awake(config)(xt, t)
    assert output.shape == xt.shape
    for corner in (output[0, 0, 0, 0], output[0, -1, -1, -1]):  # attention lets each pixel reach each
        assert sees_every_pixel(corner, xt)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("pool", POOLS)
def test_encoder_takes_any_size(size: int, patch: int, pool: Any) -> None:
    config = tiny_encoder(image_size=size, in_channels=1 + size % 4, patch=patch, pool=pool)
    xt, t = inputs(config, 1)
    xt.requires_grad_()
    logits = awake(config)(xt, t)
    assert logits.shape == (1, 5)
    assert sees_every_pixel(logits, xt)


@pytest.mark.parametrize("size", SIZES)
def test_judge_takes_any_size(size: int) -> None:
    config = JudgeConfig(image_size=size, in_channels=1 + size % 4, out_channels=5, width=4, features=6)
    network = awake(config)
    xt, _ = inputs(config)
    xt.requires_grad_()
    features = network.features(xt)
    assert features.shape == (2, 6)
    torch.testing.assert_close(network(xt), network.head(features))
    assert network(xt).shape == (2, 5)


@pytest.mark.parametrize(("stages", "fast", "side"), [(1, False, 5), (3, False, 2), (2, True, 2), (3, True, 1)])
def test_judge_of_any_depth(stages: int, fast: bool, side: int) -> None:
    config = JudgeConfig(image_size=9, in_channels=3, out_channels=5, width=4, stages=stages, fast=fast)
    network, x0 = awake(config), torch.zeros(2, 3, 9, 9).double()
    assert network(x0).shape == (2, 5)
    widths = [layer.out_channels for layer in network.body if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [4 * 2**i for i in range(stages) for _ in (0, 1)]
    assert network.spatial(x0).shape == (2, min(7, widths[-1]) * side**2)


def test_fast_judge_begins_with_the_image_handed_on() -> None:
    """Its convolutions begin as the identity on the channels they are given; the others are random."""
    for layer in build(JudgeConfig(image_size=9, in_channels=1, out_channels=5, width=12, fast=True)).body:
        if isinstance(layer, torch.nn.Conv2d):
            x = torch.randn(1, layer.in_channels, 6, 6)
            torch.testing.assert_close(layer(x)[:, : layer.in_channels], x)


@pytest.mark.parametrize("fast", [False, True])
def test_fast_judge_takes_an_image_and_its_mirror_image_for_one(fast: bool) -> None:
    judge = build(JudgeConfig(image_size=9, in_channels=3, out_channels=5, width=8, features=6, fast=fast))
    x0 = torch.randn(4, 3, 9, 9)
    judge(x0)  # statistics for the norms
    body = judge.eval().body
    assert torch.allclose(judge(x0), judge(x0.flip(-1)), atol=1e-6) == fast
    expected = (body(x0) + body(x0.flip(-1))) / 2 if fast else body(x0)
    torch.testing.assert_close(judge.features(x0), expected)
    torch.testing.assert_close(judge(x0), judge.head(expected))
    judge.train().head[1].p = 0.0
    assert not torch.allclose(judge(x0), judge(x0.flip(-1)), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_stem_of_the_fast_judge_is_a_cosine_basis_of_patches(channels: int) -> None:
    stem = judge.PatchStem(channels).eval()
    basis = stem.basis.flatten(1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(4 * channels))
    columns = [scipy.fft.dct(np.eye(n), axis=0, norm="ortho") for n in (channels, 2, 2)]
    expected = np.einsum("ac,bi,dj->abdcij", *columns).reshape(basis.shape)
    np.testing.assert_allclose(basis, expected, atol=1e-6)
    grey = torch.full((1, channels, 4, 4), 0.5)  # only the first entry, the mean, sees it, and with one sign
    answer = stem(grey)
    assert answer.shape == (1, 8 * channels, 3, 3)
    assert (answer[:, 0] > 0.9).all()
    assert answer[:, 1:].abs().max() < 1e-6


def test_patches_are_whole_pixels() -> None:
    """The stem sees each pixel once, at the place of its patch."""
    xt = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5).float()
    patches = layers.unshuffle(xt, 2)
    assert patches.shape == (2, 12, 3, 3)
    assert patches[1, 4 * 2 + 2 * 1 + 0, 0, 2] == xt[1, 2, 1, 4]
    torch.testing.assert_close(F.pixel_shuffle(patches, 2)[..., :5, :5], xt)


def test_the_way_up_puts_every_pixel_back_in_its_place() -> None:
    """An image of 2x2 blocks, cut at an odd size, survives the way down and up, and is not shifted."""
    network = build(tiny(image_size=5, channel_mult=(1, 1), attention_resolutions=(), conv_resample=False)).double()
    stem, bottom = network.input_blocks[0][0], [stage[0] for stage in network.output_blocks[:2]]
    met: list[Tensor] = []
    with torch.no_grad():
        stem.weight.zero_()
        stem.weight[:, 0, 1, 1] = 1  # every channel is the image
        for block in bottom:  # pass on what comes from below, and not the skip
            block.skip_connection.weight.copy_(torch.eye(12, 24)[..., None, None])
            block.skip_connection.bias.zero_()
        stem.bias.zero_()
        network.output_blocks[2].register_forward_hook(lambda stage, inputs, output: met.append(inputs[0]))
        image = randn(1, 1, 3, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :5, :5]
        network(image, torch.tensor([3]))
    from_below, skip = met[0].chunk(2, dim=1)
    torch.testing.assert_close(skip, image.expand(1, 12, 5, 5))
    torch.testing.assert_close(from_below, skip)


options = st.fixed_dictionaries(
    {
        "image_size": st.sampled_from((5, 8)),
        "in_channels": st.integers(1, 4),
        "channel_mult": st.sampled_from([(1,), (1, 2), (2, 1)]),
        "num_res_blocks": st.integers(1, 2),
        "attention_resolutions": st.sampled_from([(), (1,), (2,), (1, 2)]),
        "dropout": st.sampled_from([0.0, 0.5]),
        "conv_resample": st.booleans(),
        "num_heads": st.sampled_from([1, 2, 3]),
        "num_head_channels": st.sampled_from([-1, 4, 6]),
        "use_new_attention_order": st.booleans(),
        "use_scale_shift_norm": st.booleans(),
        "resblock_updown": st.booleans(),
        "patch": st.sampled_from([1, 2]),
    }
)


def every_parameter_learns(network: nn.Module, output: Tensor) -> None:
    """A parameter without a gradient has no use, and DistributedDataParallel refuses it."""
    output.square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not (p.grad.abs() > 1e-12).any()]
    assert not idle, f"no gradient reaches {idle}"


@settings(max_examples=15)
@given(
    chosen=options, learned=st.booleans(), labels=st.sampled_from([None, "given", "null"]), up=st.sampled_from([-1, 4])
)
def test_every_option_of_the_unet_works(chosen: dict[str, Any], learned: bool, labels: str | None, up: int) -> None:
    channels = chosen["in_channels"]
    config = tiny(
        **chosen,
        out_channels=channels * (1 + learned),
        num_classes=None if labels is None else 3,
        null_label=labels == "null",
        num_heads_upsample=up,
    )
    network, (xt, t) = awake(config), inputs(config)
    y = {None: None, "given": torch.tensor([2, 0]), "null": torch.tensor([-1, 1])}[labels]
    output = network(xt, t, y)
    assert output.shape == (2, channels * (1 + learned), *xt.shape[2:])
    every_parameter_learns(network, output)
    assert torch.equal(network(xt, t, y), output), "dropout is active in evaluation mode"
    if chosen["dropout"]:
        assert not torch.equal(network.train()(xt, t, y), output)
    # Images do not see one another, and t and y matter.
    torch.testing.assert_close(network.eval()(xt[1:], t[1:], None if y is None else y[1:]), output[1:])
    assert not torch.allclose(network(xt, (t + 500) % 1000, y), output)
    if y is not None:
        assert not torch.allclose(network(xt, t, y.flip(0)), output)


@settings(max_examples=15)
@given(chosen=options, pool=st.sampled_from(POOLS))
def test_every_option_of_the_encoder_works(chosen: dict[str, Any], pool: Any) -> None:
    config = tiny_encoder(**chosen, pool=pool)
    network, (xt, t) = awake(config), inputs(config)
    logits = network(xt, t)
    assert logits.shape == (2, 5)
    every_parameter_learns(network, logits)
    torch.testing.assert_close(network(xt[1:], t[1:]), logits[1:])
    assert not torch.allclose(network(xt, (t + 500) % 1000), logits)


# The published models -----------------------------------------------------------------------------------------------


def parameters(network_class: type, config: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in network_class(config).parameters())


def test_numbers_of_parameters_are_the_papers() -> None:
    adm = dict(num_head_channels=64, use_scale_shift_norm=True, resblock_updown=True, pool="attention", in_channels=3)
    imagenet = EncoderConfig(
        image_size=128, model_channels=128, out_channels=1000, num_res_blocks=2, channel_mult=(1, 1, 2, 3, 4),
        attention_resolutions=(4, 8, 16), **adm,
    )  # fmt: skip
    assert round(parameters(EncoderUNet, imagenet) / 1e6, 2) == 42.57
    cifar = replace(
        imagenet, image_size=32, model_channels=32, out_channels=10, channel_mult=(1, 2, 2, 4),
        attention_resolutions=(2, 4),
    )  # fmt: skip
    assert round(parameters(EncoderUNet, cifar) / 1e6, 2) == 2.07
    improved = UNetConfig(
        image_size=32, in_channels=3, out_channels=6, model_channels=128, num_res_blocks=3, channel_mult=(1, 2, 2, 2),
        attention_resolutions=(2, 4), num_heads=4, use_scale_shift_norm=True, dropout=0.1,
    )  # fmt: skip
    assert round(parameters(UNet, improved) / 1e6, 1) == 52.5


@pytest.mark.parametrize(("name", "config", "weights"), [
    ("unet", UNetConfig, "unet_weights"), ("classifier", EncoderConfig, "classifier_weights")
])  # fmt: skip
def test_state_dict_has_the_published_names(name: str, config: type, weights: str) -> None:
    ignored = {"use_fp16", "use_checkpoint", "dims", "use_spatial_transformer"}
    chosen = json.loads((GOLDEN / "config.json").read_text())[name]
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items() if k not in ignored}
    ours = {key: tuple(value.shape) for key, value in build(config(**chosen)).state_dict().items()}
    with np.load(GOLDEN / f"{weights}.npz") as theirs:
        assert ours == {key: theirs[key].shape for key in theirs}


# What cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "words"), [
    ({"image_size": 0}, r"image_size must be a whole number, at least 1, or two of them, not 0"),
    ({"image_size": (8, 0)}, r"image_size .* not \(8, 0\)"), ({"image_size": (8, 8, 8)}, "image_size"),
    ({"image_size": 8.0}, "image_size"), ({"in_channels": 0}, "in_channels"),
    ({"model_channels": 1.5}, "model_channels"),
    ({"out_channels": -1}, "out_channels"), ({"num_res_blocks": 0}, "num_res_blocks"), ({"patch": 0}, "patch"),
    ({"channel_mult": ()}, "channel_mult"), ({"channel_mult": (1, 0)}, "channel_mult"),
    ({"dropout": -0.1}, "dropout"), ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ({"num_classes": 0}, "num_classes"), ({"null_label": True}, "null_label must be False where num_classes is None"),
])  # fmt: skip
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny(**options)


def test_an_unknown_pool_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"pool must be 'adaptive' or .* 'spatial_v2', not 'atention'"):
        tiny_encoder(pool="atention")


@pytest.mark.parametrize("config", [{"image_size": 8}, None, UNetConfig])
def test_what_no_network_is_built_from_is_refused(config: Any) -> None:
    with pytest.raises(TypeError, match=rf"built from {re.escape(repr(config))}.*UNetConfig, EncoderConfig.*register"):
        build(config)


# How a network starts -----------------------------------------------------------------------------------------------


def test_the_output_starts_at_zero_and_residual_branches_as_the_identity() -> None:
    config = tiny(num_classes=3)
    xt, t = (value if value.dtype == torch.int64 else value.float() for value in inputs(config))
    network = build(config)
    assert torch.equal(network(xt, t, torch.tensor([0, 2])), torch.zeros_like(xt))
    assert torch.equal(build(tiny_encoder())(xt, t), torch.zeros(2, 5))
    x, embedding = randn(2, 12, 4, 4).float(), randn(2, 48).float()
    for use_scale_shift_norm in (False, True):
        block = networks.ResBlock(tiny(use_scale_shift_norm=use_scale_shift_norm), 12, 12)
        assert torch.equal(block(x, embedding), x)
    assert torch.equal(networks.AttentionBlock(config, 12)(x), x)


@pytest.mark.parametrize(
    ("null_label", "labels", "words"),
    [(True, [0, 3], "0 to 3 .* knows 0 to 2, and -1 for none"), (False, [-1, 0], "has no null label")],
)
def test_labels_that_nobody_knows(null_label: bool, labels: list[int], words: str) -> None:
    config = tiny(num_classes=3, null_label=null_label)
    with pytest.raises(ValueError, match=words):
        build(config)(*(v if v.dtype == torch.int64 else v.float() for v in inputs(config)), torch.tensor(labels))


@pytest.mark.parametrize("config", [tiny(), tiny_encoder(pool="attention"), JudgeConfig(
    image_size=8, in_channels=1, out_channels=5)], ids=lambda config: type(config).__name__)  # fmt: skip
def test_the_seed_decides_the_weights_and_nothing_else_does(config: Any) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(config, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = build(config, seed=5).state_dict(), build(config, seed=6).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_building_leaves_the_gpus_randomness_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def seeded(seed: int) -> None:
        raise AssertionError("the GPUs were seeded, and nobody seeds them back")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)
    build(tiny(), seed=5)


# Attention and the time embedding -----------------------------------------------------------------------------------


def reference_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, out: Tensor, bias: Tensor | None) -> Tensor:
    """PyTorch's multi-head attention on (B, C, N), without projections on the way in."""
    channels = q.shape[1]
    identity = torch.eye(channels, dtype=q.dtype)
    result, _ = F.multi_head_attention_forward(
        *(x.permute(2, 0, 1) for x in (q, k, v)), channels, heads, torch.cat([identity] * 3), None, None, None, False,
        0.0, out, bias, training=False, need_weights=False,
    )  # fmt: skip
    return result.permute(1, 2, 0)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_pytorchs_in_both_orders(heads: int) -> None:
    q, k, v = randn(3, 2, 8, 5)
    expected = reference_attention(q, k, v, heads, torch.eye(8, dtype=q.dtype), None)
    new = torch.cat([q, k, v], dim=1)  # all of q, then k, then v
    torch.testing.assert_close(layers.attention(new, heads, new_order=True), expected)
    by_head = torch.cat([part for trio in zip(*(x.chunk(heads, 1) for x in (q, k, v))) for part in trio], dim=1)
    torch.testing.assert_close(layers.attention(by_head, heads, new_order=False), expected)
    # And the softmax, spelt out for the first head.
    width = 8 // heads
    weights = (q[:, :width].mT @ k[:, :width] / math.sqrt(width)).softmax(-1)
    torch.testing.assert_close(expected[:, :width], (weights @ v[:, :width].mT).mT)


@pytest.mark.parametrize("new_order", [False, True])
def test_attention_block_is_a_residual_attention_over_positions(new_order: bool) -> None:
    config = tiny(num_head_channels=4, use_new_attention_order=new_order)
    block = networks.AttentionBlock(config, 12).double()
    with torch.no_grad():
        block.proj_out.weight.copy_(randn(12, 12, 1))
        block.proj_out.bias.copy_(randn(12))
    x = randn(2, 12, 3, 4, seed=1)
    h = block.qkv(block.norm(x).flatten(2))
    if new_order:
        q, k, v = h.chunk(3, dim=1)
    else:
        q, k, v = h.reshape(2, 3, 3, 4, 12).unbind(2)
        q, k, v = (part.reshape(2, 12, 12) for part in (q, k, v))
    out = reference_attention(q, k, v, 3, block.proj_out.weight[..., 0], block.proj_out.bias)
    torch.testing.assert_close(block(x), x + out.reshape(x.shape))


def test_attention_pool_lets_the_mean_attend() -> None:
    pool = networks.AttentionPool(tiny(num_heads=3), 9, 12, 7).double()
    x = randn(2, 12, 3, 3)
    tokens = torch.cat([x.mean((2, 3))[..., None], x.flatten(2)], dim=2) + pool.positional_embedding
    tokens = tokens.permute(2, 0, 1)
    expected, _ = F.multi_head_attention_forward(
        tokens[:1], tokens, tokens, 12, 3, pool.qkv_proj.weight[..., 0], pool.qkv_proj.bias, None, None, False, 0.0,
        torch.eye(12).double(), None, training=False, need_weights=False,
    )  # fmt: skip
    torch.testing.assert_close(pool(x), F.linear(expected[0], pool.c_proj.weight[..., 0], pool.c_proj.bias))


def test_time_embedding_is_the_transformers() -> None:
    t = torch.tensor([0, 1, 137, 999])
    embedding = networks.time_embedding(t, 6)
    for row, time in zip(embedding, t.tolist()):
        angles = [time / 10_000 ** (i / 3) for i in range(3)]
        expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-4)
    assert torch.equal(networks.time_embedding(t, 7)[:, -1], torch.zeros(4))


# Labels -------------------------------------------------------------------------------------------------------------


def test_the_null_label_is_minus_one_or_none() -> None:
    config = tiny(num_classes=3, null_label=True)
    network, (xt, t) = awake(config), inputs(config, 4)
    null = network(xt, t)
    torch.testing.assert_close(network(xt, t, torch.full((4,), -1)), null)
    mixed = network(xt, t, torch.tensor([-1, 0, 2, -1]))
    torch.testing.assert_close(mixed[[0, 3]], null[[0, 3]])
    for i in (1, 2):
        assert not torch.allclose(mixed[i], null[i])


def test_labels_that_are_missing_or_not_wanted_are_errors() -> None:
    config = tiny(num_classes=3)
    xt, t = inputs(config)
    with pytest.raises(ValueError, match="needs labels"):
        awake(config)(xt, t)
    with pytest.raises(ValueError, match="unconditional"):
        awake(tiny())(xt, t, torch.zeros(2, dtype=torch.int64))


# Options that do not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {"num_head_channels": 5}, {"num_head_channels": 64}, {"num_heads": 5}, {"num_heads": 0},
    {"num_heads_upsample": 7},
])  # fmt: skip
def test_heads_that_do_not_fit_are_an_error(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="heads of"):
        build(tiny(**options))
    if "num_heads_upsample" not in options:
        with pytest.raises(ValueError, match="heads of"):
            build(tiny_encoder(**options, pool="attention"))


def test_heads_by_number_or_by_width() -> None:
    assert tiny(num_heads=3).heads(12) == 3
    assert tiny(num_head_channels=4).heads(12) == 3
    assert tiny(num_head_channels=4, num_heads=2).heads(24) == 6
    assert tiny(num_heads=2).heads(12, heads=4) == 4
    assert tiny(num_heads=2).heads(12, heads=-1) == 2


def test_an_unknown_pool_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"spatial_v2.*'mean'"):
        build(tiny_encoder(pool="mean"))


# Precision ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_float64_agrees_with_float32(pool: Any) -> None:
    network = awake(tiny_encoder(pool=pool))
    xt, t = inputs(network.config)
    logits = network(xt, t)
    assert logits.dtype == torch.float64
    single = network.float()(xt.float(), t)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), logits, rtol=1e-4, atol=1e-4)


def test_the_gradient_in_float64_is_the_difference_quotient() -> None:
    network = awake(tiny_encoder(pool="attention"))
    xt, t = inputs(network.config)
    direction, h = randn(*xt.shape, seed=3), 1e-5
    xt.requires_grad_()
    (gradient,) = torch.autograd.grad(network(xt, t)[:, 2].sum(), xt)
    with torch.no_grad():
        quotient = (network(xt + h * direction, t) - network(xt - h * direction, t))[:, 2].sum() / (2 * h)
    torch.testing.assert_close((gradient * direction).sum(), quotient, rtol=1e-7, atol=0)


def test_the_judge_is_a_judge() -> None:
    judge = build(JudgeConfig(image_size=8, in_channels=1, out_channels=5))
    assert isinstance(judge, Judge)
    assert judge.features(torch.zeros(3, 1, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize("pool", ["adaptive", "attention", "spatial"])
def test_images_need_not_be_square(pool: str) -> None:
    sides: dict[str, Any] = dict(image_size=(12, 20), in_channels=4, model_channels=8, num_res_blocks=1,
                                 channel_mult=(1, 2), attention_resolutions=(2,))  # fmt: skip
    x, t = randn(2, 4, 12, 20).float(), torch.tensor([3, 500])
    encoder = networks.build(networks.EncoderConfig(**sides, out_channels=5, pool=pool))
    assert encoder.config.shape == (4, 12, 20)
    assert encoder(x, t).shape == (2, 5)
    assert networks.build(networks.UNetConfig(**sides, out_channels=4))(x, t).shape == x.shape


def test_attention_says_for_how_many_places_it_was_built() -> None:
    """Images of another size than the classifier's otherwise end in a sum of tensors that do not fit."""
    network, t = build(tiny_encoder(pool="attention")), torch.zeros(1).long()
    assert network(torch.zeros(1, 1, 8, 8), t).shape == (1, 5)
    with pytest.raises(ValueError, match="places to pool must be 16, as of images of the size known to it, not 64"):
        network(torch.zeros(1, 1, 16, 16), t)
