#!/usr/bin/env bash
# timm 1.0.31 beside torchvision 0.29.1: one folder of class folders, and another number for each class.
#
# torchvision sorts the names of class folders as text: 0, 1, 10, 2. timm sorts them as people do: 0, 1, 2, 10. Both
# read the same folder without a word on the order, and neither writes it into a model. A classifier trained with one
# and scored with the other is right on classes 0 and 1 of eleven, and one that guides a sampler makes a class that
# nobody asked for. Pad the names with zeros, or give timm the other's order as its `class_map`.
# Seen with torch 2.14.1 on Python 3.11: "torchvision: 0 1 10 2 3 4 5 6 7 8 9; timm: 0 1 2 3 4 5 6 7 8 9 10; alike: 2 of
# 11; with zeros in front: 11 of 11".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    timm==1.0.31 torchvision==0.29.1 torch==2.14.1
cat > "$folder/number.py" <<'PYTHON'
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder


def numbered(form):
    """The labels of one image per class, by class folder, as torchvision and as timm read them."""
    with TemporaryDirectory() as folder:
        for k in range(11):
            (place := Path(folder) / format(k, form)).mkdir()
            Image.new("L", (8, 8), 20 * k).save(place / "one.png")
        one, other = ImageFolder(folder), create_dataset("", root=folder)
        pairs = ([data[k] for k in range(11)] for data in (one, other))
        return tuple({image.convert("L").getpixel((0, 0)) // 20: label for image, label in read} for read in pairs)


alike = []
for form in ("d", "02d"):
    labels = numbered(form)
    alike.append(sum(labels[0][k] == labels[1][k] for k in range(11)))
    if form == "d":
        order = [" ".join(str(k) for k in sorted(found, key=found.get)) for found in labels]
        print(f"torchvision: {order[0]}; timm: {order[1]}; ", end="")
print(f"alike: {alike[0]} of 11; with zeros in front: {alike[1]} of 11")
sys.exit(alike != [2, 11])
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/number.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
