#!/usr/bin/env bash
# datasets 5.2.0: a class that is called "train" makes `imagefolder` forget all other classes, and the labels too.
#
# Splits are guessed from the paths: a folder or a file with train, test, validation, dev or eval as a word of its name
# is taken for a split, wherever it lies, and what matches no split is left out. "train" is one of CIFAR-100's hundred
# classes. One file is enough: with `cat/test-1.png` among thousands, the data set is that image, in a split "test".
# torchvision's ImageFolder reads the same folders as they are. Nothing is said in either case; compare the number of
# images with what is on the disk, or state them: `data_files={"train": "folder/**"}`, which keeps them all.
# Seen on Python 3.11 with 3 images a class: "bus, tank, tram: 9 in train, labels; bus, tank, train: 3 in train, no
# labels; with data_files: 9 in train, labels; bus, tank, tram with one test-1.png: 1 in test, no labels".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    datasets==5.2.0 pillow==13.0.0 numpy==2.1.3
cat > "$folder/read.py" <<'PYTHON'
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets
from PIL import Image

datasets.disable_progress_bars()


def read(classes, odd="", stated=False):
    """How many images `imagefolder` finds in which split, and whether they have labels."""
    with TemporaryDirectory() as folder:
        for name in classes:
            (Path(folder) / "images" / name).mkdir(parents=True)
            for k in range(3):
                file = odd if odd and (name, k) == (classes[0], 1) else f"{k}.png"
                Image.new("L", (8, 8)).save(Path(folder) / "images" / name / file)
        where = {"data_files": {"train": f"{folder}/images/**"}} if stated else {"data_dir": f"{folder}/images"}
        found = datasets.load_dataset("imagefolder", cache_dir=f"{folder}/cache", **where)
        labels = {name: "labels" if "label" in part.features else "no labels" for name, part in found.items()}
        return "; ".join(f"{len(part)} in {name}, {labels[name]}" for name, part in found.items())


plain, named = ["bus", "tank", "tram"], ["bus", "tank", "train"]
found = [read(plain), read(named), read(named, stated=True), read(plain, odd="test-1.png")]
print(f"bus, tank, tram: {found[0]}; bus, tank, train: {found[1]}; with data_files: {found[2]}; ", end="")
print(f"bus, tank, tram with one test-1.png: {found[3]}")
sys.exit(found != ["9 in train, labels", "3 in train, no labels", "9 in train, labels", "1 in test, no labels"])
PYTHON
export HF_HOME="$folder/settings" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/read.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
