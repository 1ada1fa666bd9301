#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same two entries of metadata are written as different bytes.
#
# The header keeps metadata in the order of a hash map whose seed differs from process to process. One entry is always
# written alike; with two, sixteen processes were seen to write two different files of equal content, in turn at random.
# So a hash of a model file says more than what is in it, and a build is not reproducible. Put all metadata into one
# entry, for example as JSON. Seen with NumPy 2.1.3 on Python 3.11: "one entry: 1 file(s), two entries: 2 file(s)".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.1.3
cat > "$folder/write.py" <<'PYTHON'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

metadata = dict.fromkeys(["format", "date"][: int(sys.argv[1])], "1")
print(hashlib.sha256(save({"x": np.zeros(2, np.float32)}, metadata=metadata)).hexdigest())
PYTHON
count() { for _ in $(seq 16); do "$folder/venv/bin/python" "$folder/write.py" "$1"; done | sort -u | wc -l; }
one=$(count 1); two=$(count 2)
echo "one entry: $one file(s), two entries: $two file(s)"
[ "$one" = 1 ] && [ "$two" = 2 ] || { echo "this has changed"; exit 1; }
