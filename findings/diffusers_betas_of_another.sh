#!/usr/bin/env bash
# diffusers 0.42.1: `HeunDiscreteScheduler.from_config(DDPMScheduler().config)` samples with betas nobody trained with.
#
# `from_config` is the way to swap the sampler of a trained model, and the config it is given says beta_start 0.0001
# and beta_end 0.02. But a config also notes which of its values were left at their defaults, and those are not handed
# on: the new class uses its own defaults. These differ between classes, 0.00085 to 0.012 in Heun's, KDPM2's, LCM's and
# TCD's, which is Stable Diffusion's schedule. So the model is asked at the wrong noise level all along, and the images
# are only somewhat worse. Written out, `DDPMScheduler(beta_start=0.0001, beta_end=0.02)`, the same values are kept.
# Seen with torch 2.14.1 on Python 3.11, the last beta of DDIM, DPM-Solver++, Heun, KDPM2, LCM and TCD: "left at the
# defaults: 0.02 0.02 0.012 0.012 0.012 0.012; written out: 0.02 0.02 0.02 0.02 0.02 0.02".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    diffusers==0.42.1 torch==2.14.1 numpy==2.1.3 scipy==1.17.1
cat > "$folder/swap.py" <<'PYTHON'
import sys

import diffusers

names = ["DDIM", "DPMSolverMultistep", "HeunDiscrete", "KDPM2Discrete", "LCM", "TCD"]


def last_betas(trained):
    """The last beta of each scheduler made from the config of the one a model was trained with."""
    made = [getattr(diffusers, f"{name}Scheduler").from_config(trained.config) for name in names]
    return [round(scheduler.betas[-1].item(), 6) for scheduler in made]


left = diffusers.DDPMScheduler()
written = diffusers.DDPMScheduler(beta_start=0.0001, beta_end=0.02)
assert left.betas.equal(written.betas) and left.config.beta_end == written.config.beta_end
found = {"left at the defaults": last_betas(left), "written out": last_betas(written)}
print("; ".join(f"{name}: " + " ".join(map(str, betas)) for name, betas in found.items()))
sys.exit(list(found.values()) != [[0.02] * 2 + [0.012] * 4, [0.02] * 6])
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES=""
"$folder/venv/bin/python" "$folder/swap.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
