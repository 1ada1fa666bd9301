#!/usr/bin/env bash
# diffusers 0.42.1: perturbed-attention guidance at `guidance_scale` 1 is weaker by one than beside any other scale.
#
# `guidance_scale=1` switches classifier-free guidance off, which is how one looks at perturbed attention by itself. The
# guider then no longer adds its own term to the conditional prediction but to the perturbed one: scale 3 is what 2 is
# with `guidance_scale=1.001`, and scale 1 is no guidance at all, at the price of two evaluations. `SkipLayerGuidance`
# does the same. So an ablation of the two terms compares different strengths; for the same one, add 1 to the scale.
# Seen with torch 2.14.1 on Python 3.11, where the conditional prediction is 1, the unconditional 0, the perturbed 0.5:
# "guidance 1: scale 1 gives 1.0, scale 3 gives 2.0; guidance 1.001: scale 1 gives 1.501, scale 3 gives 2.501", by both.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    diffusers==0.42.1 torch==2.14.1
cat > "$folder/guide.py" <<'PYTHON'
import sys

import torch
from diffusers.guiders import PerturbedAttentionGuidance, SkipLayerGuidance

PREDICTIONS = {"pred_cond": 1.0, "pred_uncond": 0.0, "pred_cond_skip": 0.5}


def guided(guider):
    """What the guider makes of the predictions that it asks for, in the middle of 10 steps."""
    guider.set_state(5, 10, torch.tensor(500))
    asked = guider.prepare_inputs({"xt": (torch.zeros(1, 1), torch.zeros(1, 1))})
    for one in asked:
        one.noise_pred = torch.full((1, 1), PREDICTIONS[one.__guidance_identifier__])
    return round(guider(asked).pred.item(), 3)


right = True
for make, prefix in ((PerturbedAttentionGuidance, "perturbed_guidance"), (SkipLayerGuidance, "skip_layer_guidance")):
    found = {}
    for guidance in (1, 1.001):
        for scale in (1, 3):
            own = {"scale": scale, "layers": 0, "start": 0.0, "stop": 1.0}
            own = {f"{prefix}_{name}": value for name, value in own.items()}
            found[guidance, scale] = guided(make(guidance_scale=float(guidance), **own))
    said = (
        f"guidance {guidance}: " + ", ".join(f"scale {scale} gives {found[guidance, scale]}" for scale in (1, 3))
        for guidance in (1, 1.001)
    )
    print(f"{make.__name__}: " + "; ".join(said))
    right = right and list(found.values()) == [1.0, 2.0, 1.501, 2.501]
sys.exit(not right)
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/guide.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
