#!/usr/bin/env bash
# torchmetrics 1.9.0: with `normalize=True`, a pixel of 1.004 is black by the time that the inception score sees it.
#
# `normalize=True` says that images are in [0, 1], and they are made bytes by a multiplication with 255 and a cast that
# wraps around: 1.004 is 256 and so 0, and images in [-1, 1] have their dark half folded over the bright one. Samples of
# a diffusion model overshoot a little wherever they are white. `update` checks nothing and the score is a number. The
# cast also cuts where torchvision's `save_image` rounds, so the score in memory is not that of the saved files. Clamp
# first, or hand over bytes that you made yourself. FID, KID and MIFID do the same for their own Inception network.
# Seen with torch 2.14.1 on Python 3.11, on x86: "0.5, 1.0, 1.004 and -0.25 are seen as 127, 255, 0 and 193".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    torchmetrics==1.9.0 torch==2.14.1
cat > "$folder/judge.py" <<'PYTHON'
import sys

import torch
from torchmetrics.image.inception import InceptionScore


class Judge(torch.nn.Module):
    """Two logits, and a note of what came in."""

    def forward(self, images):
        self.seen = images[:, 0, 0, 0].tolist()
        return torch.zeros(len(images), 2)


pixels, judge = (0.5, 1.0, 1.004, -0.25), Judge()
images = torch.stack([torch.full((3, 16, 16), pixel) for pixel in pixels])
InceptionScore(feature=judge, normalize=True, splits=1).update(images)
print("{}, {}, {} and {} are seen as ".format(*pixels) + "{}, {}, {} and {}".format(*judge.seen))
sys.exit(judge.seen != [127, 255, 0, 193])
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/judge.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
