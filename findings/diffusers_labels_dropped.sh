#!/usr/bin/env bash
# diffusers 0.42.1: `UNet2DConditionModel` takes class labels without a word and has no class embedding to use them.
#
# Unless it is made with `num_class_embeds` or `class_embed_type`, the labels passed as `class_labels` are dropped, even
# those of classes that no data set has. Its plain sibling `UNet2DModel` raises an error in the very same case. Put in
# the other's place, the network trains and samples as one without classes: the loss falls, and classifier-free guidance
# subtracts a prediction from itself, so that every scale gives the same images. Ask a new network for two labels and
# compare. Seen with torch 2.14.1 on Python 3.11: "UNet2DConditionModel: labels 0, 1 and 7, 900 give the same;
# UNet2DModel: class_embedding needs to be initialized in order to use class conditioning".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    diffusers==0.42.1 torch==2.14.1
cat > "$folder/label.py" <<'PYTHON'
import sys

import torch
from diffusers import UNet2DConditionModel, UNet2DModel

torch.manual_seed(0)
size = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "norm_num_groups": 4}
conditioned = UNet2DConditionModel(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    cross_attention_dim=8,
    attention_head_dim=4,
    **size,
).eval()
plain = UNet2DModel(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, **size)
xt, t, prompt = torch.randn(2, 1, 8, 8), torch.tensor(5), torch.randn(2, 1, 8)
with torch.no_grad():
    one, other = (
        conditioned(xt, t, prompt, class_labels=torch.tensor(labels)).sample for labels in ([0, 1], [7, 900])
    )
try:
    plain(xt, t, class_labels=torch.tensor([0, 1]))
    said = "no error"
except ValueError as error:
    said = str(error)
words = "the same" if one.equal(other) else "other predictions"
print(f"UNet2DConditionModel: labels 0, 1 and 7, 900 give {words}; UNet2DModel: {said}")
sys.exit(not one.equal(other) or "class_embedding" not in said)
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/label.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
