#!/usr/bin/env bash
# diffusers 0.42.1: `add_noise` on bfloat16 images adds no noise at all at the smallest time steps.
#
# It casts the table of cumulative alphas to the images' type before it takes the root of one minus them. Just below
# one, bfloat16 has steps of 1/256: at t = 0 the cumulative alpha is one, and the noise level that the scheduler's own
# `step` keeps in float32 is rounded to nothing or to one of few values. A model trained so is asked to tell the
# noise in an image that has none, and at t = 10 there is suddenly 0.06 of it. float16 has the same at fewer times.
# Add the noise in float32 and cast the result: a thousand levels stay a thousand, to rounding.
# Seen with torch 2.14.1 on Python 3.11: "float32: no noise at 0 times, 50 levels at the first 50", "float16: no noise
# at 2 times, 43 levels at the first 50", "bfloat16: no noise at 10 times, 8 levels at the first 50".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    diffusers==0.42.1 torch==2.14.1
cat > "$folder/noise.py" <<'PYTHON'
import sys

import torch
from diffusers import DDPMScheduler

scheduler, times = DDPMScheduler(), torch.arange(1000)
found = []
for name in ("float32", "float16", "bfloat16"):
    zero, one = (value((1000, 1), dtype=getattr(torch, name)) for value in (torch.zeros, torch.ones))
    level = scheduler.add_noise(zero, one, times).flatten()  # of an image of zeros and noise of ones: the noise level
    found.append((int((level == 0).sum()), len(level[:50].unique())))
    print(f"{name}: no noise at {found[-1][0]} times, {found[-1][1]} levels at the first 50", flush=True)
sys.exit(found != [(0, 50), (2, 43), (10, 8)])
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES=""
"$folder/venv/bin/python" "$folder/noise.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
