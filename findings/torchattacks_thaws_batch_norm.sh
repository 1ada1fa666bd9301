#!/usr/bin/env bash
# torchattacks 3.5.1: an attack on a network with frozen batch normalisation thaws it.
#
# An attack puts the network into evaluation mode and afterwards back, by what the network itself said before. Layers in
# another mode than the whole are not asked: one that trains with its BatchNorm layers frozen, as is usual when a
# classifier is made robust from pretrained weights, trains from the first batch on with the statistics of adversarial
# images, and moves the running ones that were to be kept. The loss shows nothing of it. Freeze again after each attack.
# Seen with torch 2.14.1 on Python 3.11: "BatchNorm training before the attack: False, after it: True; running mean
# moved by the next training step: True".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    torchattacks==3.5.1 torch==2.14.1 torchvision==0.29.1 scipy==1.17.1
cat > "$folder/attack.py" <<'PYTHON'
import sys

import torch
import torchattacks
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
network.train()
frozen = network[1].eval()
kept, before = frozen.running_mean.clone(), frozen.training
adversarial = torchattacks.PGDL2(network, eps=0.5, alpha=0.2, steps=3)(images, labels)
untouched = frozen.running_mean.equal(kept)
after = frozen.training
network(adversarial)
moved = not frozen.running_mean.equal(kept)
print(f"BatchNorm training before the attack: {before}, after it: {after}; ", end="")
print(f"running mean moved by the next training step: {moved}")
sys.exit((before, untouched, after, moved) != (False, True, True, True))
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/attack.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
