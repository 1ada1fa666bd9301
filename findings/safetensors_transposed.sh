#!/usr/bin/env bash
# safetensors 0.8.0: a transposed NumPy array is saved without an error, and comes back as other numbers.
#
# `safetensors.numpy.save_file` writes the memory of the array from its beginning and its shape beside it, and asks
# nobody how the one lies in the other: the transpose of [[0, 1, 2], [3, 4, 5]] is read back as [[0, 1], [2, 3], [4, 5]].
# The same array is right after `np.ascontiguousarray`. `safetensors.torch.save_file` refuses such a tensor, by name.
# A convolution's weights in another memory format, or a state dict of transposed matrices, are lost so without a word.
# Seen with NumPy 2.1.3 on Python 3.11: "as it is: wrong numbers, made contiguous: right".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.1.3
cat > "$folder/round_trip.py" <<'PYTHON'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

path, x = sys.argv[1], np.arange(6, dtype=np.float32).reshape(2, 3).T
said = {}
for name, array in (("as it is", x), ("made contiguous", np.ascontiguousarray(x))):
    save_file({"x": array}, path)
    said[name] = "right" if np.array_equal(load_file(path)["x"], x) else "wrong numbers"
print(", ".join(f"{name}: {what}" for name, what in said.items()))
sys.exit(said != {"as it is": "wrong numbers", "made contiguous": "right"})
PYTHON
"$folder/venv/bin/python" "$folder/round_trip.py" "$folder/x.safetensors" || { echo "this has changed"; exit 1; }
