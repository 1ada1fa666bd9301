#!/usr/bin/env bash
# webdataset 1.0.2: `shardshuffle` gives the shards in one and the same order in every epoch.
#
# A number for `shardshuffle` reads as shuffling, and the order is another one in each program. But the seed is drawn
# once, when the `WebDataset` is made, and each epoch begins anew with it; nothing that is seeded with `seed` moves on
# either. A denoiser or classifier so sees its classes in the same succession every time, if the shards hold them apart,
# and a `.shuffle` of samples after it reaches no further than its buffer. `detshuffle=True`, whose name promises less,
# counts epochs and gives each its own order, with and without a seed.
# Seen on Python 3.11, orders of 8 shards in 4 epochs: "unseeded: 1, with a seed: 1, detshuffle: 4, detshuffle with a
# seed: 4".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    webdataset==1.0.2 numpy==2.1.3
cat > "$folder/shuffle.py" <<'PYTHON'
import io
import sys
import tarfile
import warnings
from pathlib import Path

import webdataset

warnings.simplefilter("ignore")
shards = [str(Path(__file__).with_name(f"{k}.tar")) for k in range(8)]
for k, shard in enumerate(shards):
    with tarfile.open(shard, "w") as tar:
        entry = tarfile.TarInfo(f"{k}.cls")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(str(k).encode()))
ways = {
    "unseeded": {},
    "with a seed": {"seed": 1},
    "detshuffle": {"detshuffle": True},
    "detshuffle with a seed": {"detshuffle": True, "seed": 1},
}
found = {}
for name, way in ways.items():
    stream = webdataset.WebDataset(shards, shardshuffle=8, **way).decode()
    found[name] = len({tuple(sample["cls"] for sample in stream) for _ in range(4)})
print(", ".join(f"{name}: {orders}" for name, orders in found.items()))
sys.exit(list(found.values()) != [1, 1, 4, 4])
PYTHON
"$folder/venv/bin/python" "$folder/shuffle.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
