"""The published models as ONNX graphs, for the page: a denoiser, and the gradients of classifiers.

`python -m tools.export FOLDER` writes them, and `models.json`, which says of each what it takes and gives, its SHA-256,
and that of the weights it was made from.

A gradient is a graph like any other: it is traced (`make_fx` of `torch.func.grad`), backward operators are written as
forward ones, and what comes out is exported as a network is. Published weights are numbers of half precision, and
are stored as such; the runtime computes in single precision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import torch
import tyro
from onnx import numpy_helper
from onnx_ir.passes import common as passes
from onnxscript import optimizer
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgd.attacks import log_prob
from rgd.lab import registry
from rgd.networks import EncoderConfig, UNet, UNetConfig, build
from rgd.training.checkpoints import write_atomic

MODELS = ("mnist/ddpm", "mnist/clean", "mnist/vanilla", "mnist/robust", "mnist/robust_2")
aten = torch.ops.aten


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """With respect to the input alone: a transposed convolution, padded to where the stride left a rest."""
    assert (mask, transposed) == ([True, False, False], False)
    rest = [
        size - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, out, k, s, p, d in zip(x.shape[2:], grad.shape[2:], weight.shape[2:], stride, padding, dilation)
    ]
    return aten.convolution(grad, weight, None, stride, padding, dilation, True, rest, groups), None, None


def _avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    """Each mean's gradient, shared among its pixels; windows at the edge hold fewer."""
    assert (list(stride) or list(kernel), list(padding)) == (list(kernel), [0, 0])
    height, width = x.shape[-2:]

    def counts(size: int, k: int, n: int) -> Tensor:
        return torch.tensor([min(k, size - i * k) for i in range(n)], dtype=x.dtype)

    rows, columns = counts(height, kernel[0], grad.shape[-2]), counts(width, kernel[1], grad.shape[-1])
    shared = grad / (rows[:, None] * columns)
    return shared.repeat_interleave(kernel[0], -2).repeat_interleave(kernel[1], -1)[..., :height, :width]


def _empty_permuted(size: list[int], order: list[int], **options: Any) -> Tensor:
    return torch.zeros(size, dtype=options.get("dtype"))


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    **core_aten_decompositions(),
    aten.convolution_backward.default: _convolution_backward,
    aten.avg_pool2d_backward.default: _avg_pool2d_backward,
    aten.empty_permuted.default: _empty_permuted,
}


def gradient(classifier: nn.Module, example: Sequence[Tensor]) -> torch.fx.GraphModule:
    """(xt, t, y) -> (grad_xt log p(y | xt, t), logits) as a graph of forward operators, traced on an example."""

    def both(xt: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        def log_p(xt: Tensor) -> tuple[Tensor, Tensor]:
            logits = classifier(xt, t)
            return log_prob(logits, y).sum(), logits

        return torch.func.grad(log_p, has_aux=True)(xt)

    with sdpa_kernel(SDPBackend.MATH):  # of the fused kernels there is no backward in forward operators
        return make_fx(both, decomposition_table=DECOMPOSITIONS)(*example)


@cache
def traced(config: EncoderConfig | UNetConfig, batch: int) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The graph of all networks of a configuration, and which weight each of its constants is. Tracing takes half a
    minute, and the published classifiers differ in their weights alone.

    Only what no weight enters is computed here. The rest, such as the transpose of a weight, is cheap enough for each
    run, and computed here would have to be sent.
    """
    network: nn.Module = build(config).eval().requires_grad_(False)
    size = (batch, config.in_channels, config.image_size, config.image_size)
    example: tuple[Tensor, ...] = torch.randn(size), torch.full((batch,), 500), torch.zeros(batch, dtype=torch.int64)
    weights, graph = dict(network.named_parameters()), network
    if isinstance(network, UNet):
        example, outputs = example[:2], ["output"]
        names = {name: name for name in weights}
    else:
        graph, outputs = gradient(network, example).eval(), ["gradient", "logits"]
        names = {inside: name for inside, p in graph.named_parameters() for name, own in weights.items() if own is p}
    with sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            graph, example, dynamo=True, optimize=False, verbose=False,
            input_names=["xt", "t", "y"][: len(example)], output_names=outputs,
        )  # fmt: skip
    assert program is not None

    def without_weights(node: onnx_ir.Node) -> bool | None:
        return None if not any(value and value.name in names for value in node.inputs) else False

    optimizer.fold_constants(program.model, output_size_limit=1024, should_fold=without_weights)
    passes.LiftConstantsToInitializersPass(size_limit=1)(program.model)
    passes.CommonSubexpressionEliminationPass()(program.model)
    passes.RemoveUnusedNodesPass()(program.model)
    return program.model_proto, names


def export(name: str, batch: int = 10) -> onnx.ModelProto:
    """A published model as a graph, for batches of one size: of a denoiser (xt, t) -> its output, of a classifier
    (xt, t, y) -> (gradient, logits)."""
    network = registry.model(name, "cpu").network
    graph, names = traced(network.config, batch)
    model, weights = onnx.ModelProto(), dict(network.named_parameters())
    model.CopyFrom(graph)
    for constant in model.graph.initializer:
        if constant.name in names:
            values = weights.pop(names[constant.name]).detach().numpy()
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    assert not weights, f"the graph has no place for {', '.join(weights)}"
    return halved(model)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, its constants stored in half precision where that loses nothing, and cast where they are used."""
    casts, kept = [], []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        exact = values.dtype == np.float32 and values.size > 16 and (values.astype(np.float16) == values).all()
        if not exact:
            kept.append(constant)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), f"{constant.name}_half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{constant.name}_half"], [constant.name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    for part in (model, model.graph, *model.graph.node):
        part.ClearField("metadata_props")  # where each node comes from, line by line
    model.graph.ClearField("value_info")
    return model


def main(folder: tyro.conf.Positional[Path], models: tuple[str, ...] = MODELS, batch: int = 10) -> None:
    """Write models as ONNX graphs.

    Args:
        folder: where to.
        models: names of published ones.
        batch: images at a time.
    """
    records = {}
    for name in models:
        content = export(name, batch).SerializeToString(deterministic=True)
        write_atomic(folder / f"{name.replace('/', '-')}.onnx", content)
        records[name] = {
            "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "batch": batch,
            "weights": hashlib.sha256(registry.path(name).read_bytes()).hexdigest(),
        }  # fmt: skip
        print(f"{name}: {len(content) / 1e6:.1f} MB")
    write_atomic(folder / "models.json", json.dumps(records, indent=1).encode())


if __name__ == "__main__":
    tyro.cli(main)
