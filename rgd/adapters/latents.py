"""A latent space: train, guide and sample in it, and decode what is looked at or measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rgd.adapters.denoisers import own_config
from rgd.attacks import Classifier
from rgd.data import Dataset
from rgd.errors import require
from rgd.layers import wherever_asked


@dataclass(frozen=True)
class Latents:
    """A space of latents z (B, c, h, w) of images x0 (B, C, H, W) in [-1, 1].

    Attributes:
        encode: x0 -> z, as the autoencoder gives it; without chance, so that a data set is the same in every run.
        decode: z -> x0.
        scale: latents here are (encode(x0) - shift) * scale, so that they vary about as much as noise, which is what a
            schedule is made for.
        shift: see `scale`.
    """

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        require(self.scale > 0, "scale", self.scale, "above 0")

    @torch.no_grad()
    def of(self, data: Dataset, batch_size: int = 64) -> Dataset:
        """The latents of a data set, as one, float32: for `rgd.fit`, and what a denoiser with clip=False makes."""
        parts = [self.encode(data.x0(slice(i, i + batch_size))) for i in range(0, len(data), batch_size)]
        latents = ((torch.cat(parts).float() - self.shift) * self.scale).contiguous()
        return replace(data, images=latents, name=f"latents of {data.name}", source=None)

    @torch.no_grad()
    def images(self, z: Tensor, batch_size: int = 64) -> Tensor:
        """What latents look like: x0 (B, C, H, W), about [-1, 1], on the device of z."""
        return torch.cat([self.decode(part / self.scale + self.shift) for part in z.split(batch_size)])

    def seen_by(self, classifier: Classifier) -> Classifier:
        """A classifier of images, (x0, t) -> logits, as one of latents: through the decoder, gradient and all."""
        return partial(self._logits, classifier)

    def _logits(self, classifier: Classifier, z: Tensor, t: Tensor) -> Tensor:
        return classifier(self.decode(z / self.scale + self.shift), t)


class DiffusersVAE(nn.Module):
    """A diffusers autoencoder, frozen and in the mode of use: `encode` gives the mean of a distribution of latents."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae.eval().requires_grad_(False)

    @property
    def config(self) -> dict[str, Any]:
        """The autoencoder's own."""
        return own_config(self.vae)

    @wherever_asked
    def encode(self, x0: Tensor) -> Tensor:
        """x0 (B, C, H, W) -> (B, c, h, w)."""
        found = self.vae.encode(x0)
        return found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents

    @wherever_asked
    def decode(self, z: Tensor) -> Tensor:
        """z (B, c, h, w) -> (B, C, H, W)."""
        return self.vae.decode(z).sample


def from_vae(vae: Any) -> Latents:
    """The latents of a diffusers autoencoder (AutoencoderKL, or VQModel), by the scale of its own configuration."""
    own, known = DiffusersVAE(vae), {"scaling_factor": 1.0, "shift_factor": 0.0}
    scale, shift = (default if vae.config.get(name) is None else vae.config[name] for name, default in known.items())
    return Latents(own.encode, own.decode, scale, shift)
