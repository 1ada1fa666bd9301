#!/usr/bin/env bash
# denoising-diffusion-pytorch 2.3.4: a classifier given as `cond_fn` is never asked once `sampling_timesteps` is set.
#
# `GaussianDiffusion.sample` takes `cond_fn` and hands it to the sampler that it chooses. With fewer sampling steps than
# training steps that is DDIM, whose loop accepts the function and has no line that calls it: the images are those of no
# guidance, to the last bit. The full sampler does not call it either unless `guidance_kwargs` is given too, were it an
# empty dict. So classifier guidance that "does not help at 50 steps" may not have been there; count the calls.
# Seen with torch 2.14.1 on Python 3.11: "20 of 20 steps with guidance_kwargs: 20 calls, images not as without
# guidance", and 0 calls and the images of no guidance for "20 of 20 steps without" and for 10 of 20 steps with them.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    denoising-diffusion-pytorch==2.3.4 torch==2.14.1 torchvision==0.29.1
cat > "$folder/sample.py" <<'PYTHON'
import contextlib
import io
import sys

import torch
from denoising_diffusion_pytorch.guided_diffusion import GaussianDiffusion, Unet

torch.manual_seed(0)
network, calls = Unet(dim=8, dim_mults=(1, 2), channels=1), []


def gradient(xt, t):
    """A strong pull towards white images."""
    calls.append(int(t[0]))
    return torch.full_like(xt, 50.0)


def sample(steps, **guidance):
    """Two images from one seed, and how often the classifier was asked for them."""
    calls.clear()
    diffusion = GaussianDiffusion(network, image_size=8, timesteps=20, sampling_timesteps=steps)
    torch.manual_seed(1)
    with contextlib.redirect_stdout(io.StringIO()):
        return diffusion.sample(2, **guidance), len(calls)


found = []
for steps, given in ((20, {"guidance_kwargs": {}}), (20, {}), (10, {"guidance_kwargs": {}})):
    (images, asked), (free, _) = sample(steps, cond_fn=gradient, **given), sample(steps)
    found.append((asked, images.equal(free)))
    words = "with guidance_kwargs" if given else "without", "as" if images.equal(free) else "not as"
    print(f"{steps} of 20 steps {words[0]}: {asked} calls, images {words[1]} without guidance")
sys.exit(found != [(20, False), (0, True), (0, True)])
PYTHON
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
"$folder/venv/bin/python" "$folder/sample.py" 2>"$folder/said" ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
