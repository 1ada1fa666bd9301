#!/usr/bin/env bash
# onnxruntime 1.32.0: what a dynamically quantised classifier says of an image depends on the others in the batch.
#
# `quantize_dynamic` makes the weights int8 once, and the activations at run time with one scale for the whole tensor,
# which is the whole batch. An image at a low noise level beside one at a high level, as a classifier of noisy images or
# a sampler over sigma is asked, shares the scale of the loud one and is rounded to a few values. Its accuracy on clean
# batches shows nothing of it, and no layer is in training mode. Ask for one noise level at a time, or quantise with
# `quantize_static`, whose scales are fixed. Seen with onnx 1.23.2 and NumPy 2.1.3 on Python 3.11, how many of 200
# images keep the class that float32 gives them: "alone: 198; beside noise of sigma 1: 197, 10: 179, 80: 72; float32
# beside sigma 80: 200".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.1.3
cat > "$folder/ask.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

folder, random = sys.argv[1], np.random.default_rng(0)
weights = [random.normal(size=shape).astype(np.float32) / shape[0] ** 0.5 for shape in ((64, 128), (128, 10))]
nodes = [
    helper.make_node("MatMul", ["xt", "w0"], ["hidden"]),
    helper.make_node("Relu", ["hidden"], ["active"]),
    helper.make_node("MatMul", ["active", "w1"], ["logits"]),
]
tensors = {"xt": ["n", 64], "logits": ["n", 10]}
ends = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in tensors.items())
constants = [numpy_helper.from_array(w, f"w{k}") for k, w in enumerate(weights)]
graph = helper.make_graph(nodes, "classifier", *ends, constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(model, f"{folder}/float.onnx")
quantize_dynamic(f"{folder}/float.onnx", f"{folder}/int8.onnx")
full, small = (onnxruntime.InferenceSession(f"{folder}/{name}.onnx") for name in ("float", "int8"))
images = random.uniform(-1, 1, (200, 64)).astype(np.float32)
noise = random.normal(size=(1, 64)).astype(np.float32)
truth = full.run(None, {"xt": images})[0].argmax(1)


def kept(session, sigma):
    """How many images keep their class, each in a batch of its own with noise of this sigma, or alone."""
    batches = (image[None] if sigma is None else np.concatenate([image[None], sigma * noise]) for image in images)
    return int(sum(session.run(None, {"xt": xt})[0][0].argmax() == y for xt, y in zip(batches, truth)))


alone, beside, exact = kept(small, None), [kept(small, sigma) for sigma in (1, 10, 80)], kept(full, 80)
print(f"alone: {alone}; beside noise of sigma 1: {beside[0]}, 10: {beside[1]}, 80: {beside[2]}; ", end="")
print(f"float32 beside sigma 80: {exact}")
sys.exit(not (alone >= 190 and beside[2] <= 140 and exact == 200))
PYTHON
export OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/ask.py" "$folder" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
