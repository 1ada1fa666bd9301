"""What a network sees in images: a judge trained on clean images that did not guide the sampling, or Inception.

Images are rounded to 8 bits first, as files would be, so that samples and reference are the same kind of thing.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rgd.data import Dataset
from rgd.measure.estimates import check_labels
from rgd.memory import in_batches
from rgd.modes import evaluating


@dataclass(frozen=True, eq=False)
class Features:
    """What a network sees in N images, on the CPU in float64: `features` (N, F) and `logits` (N, K).

    `source` names the network, `shape` is an image's (C, H, W), `labels` (N,) the classes asked for, if known;
    `spatial` (N, S) are features that still know where in the image they were seen, where the network offers them.
    ValueError for fewer than two images, values that are not finite, and labels that do not fit.
    """

    features: Tensor
    logits: Tensor
    source: str
    shape: tuple[int, ...]
    labels: Tensor | None = None
    spatial: Tensor | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.logits.ndim != 2:
            raise ValueError(f"{self.source} must give features (N, F) and logits (N, K): flatten them")
        if len(self) < 2:
            raise ValueError(f"{len(self)} image is no distribution: give at least 2")
        if not (self.features.isfinite().all() and self.logits.isfinite().all()):
            raise ValueError(f"{self.source} gives NaN or infinite features: check its weights and precision")
        if self.labels is not None:
            check_labels(self.labels, len(self), self.logits.shape[1])

    def __len__(self) -> int:
        return len(self.features)

    @property
    def right(self) -> Tensor | None:
        """Whether each image is taken for the class asked for, bool (N,), if that is known."""
        return None if self.labels is None else self.logits.argmax(dim=1) == self.labels

    def __getitem__(self, index: Tensor) -> Features:
        """Those of the images with these indices."""
        chosen: Any = {name: value[index] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **chosen)


def extract(
    images: Tensor | Dataset, network: nn.Module, *, labels: Tensor | None = None, batch_size: int = 256
) -> Features:
    """What a judge or `load_inception()` sees in `images`: float (N, C, H, W) in [-1, 1], uint8, or a Dataset.

    Runs in evaluation mode on the network's own device. For Inception grey images are repeated to three channels;
    it resizes to 299x299 itself, as TensorFlow 1 did, so do not resize before. Float64, because distances are small
    differences of large sums. ValueError as in `quantise` and `Features`, TypeError if `network` has no features.
    """
    theirs = getattr(sys.modules.get("torch_fidelity"), "FeatureExtractorBase", ())  # none yet, if not imported
    pixels, inception = quantise(images), isinstance(network, theirs)
    if not inception and not hasattr(network, "features"):
        raise TypeError(f"{type(network).__name__} is no judge: it needs features(x0) -> (B, F) besides logits")
    rgb = pixels.expand(-1, 3, -1, -1) if inception and pixels.shape[1] == 1 else pixels
    look, device, each = network if inception else partial(see, network), device_of(network, pixels), range(len(rgb))
    with torch.inference_mode(), evaluating(network):
        rows = in_batches(lambda a, b: [x.cpu() for x in look(rgb[a:b].to(device))], each, batch_size, "scoring")
        features, logits, *spatial = (torch.cat(column).double() for column in zip(*rows))
    source = f"{'inception' if inception else 'judge'} {short_digest(network)}"  # features of two are never compared
    labels = None if labels is None else labels.cpu()
    return Features(features, logits, source, tuple(pixels.shape[1:]), labels, *spatial)


def short_digest(network: nn.Module) -> str:
    """Of the weights, short; not `rgd.identity.weights_digest`, because published results name judges by this one."""
    values = (tensor.cpu().reshape(-1).view(torch.uint8).numpy() for tensor in network.state_dict().values())
    return hashlib.sha256(b"".join(values)).hexdigest()[:8]


def quantise(images: Tensor | Dataset) -> Tensor:
    """Images as uint8 (N, C, H, W), as files hold them: [-1, 1] is rounded to 0..255, beyond is clamped. ValueError if
    there are none, if they are not NCHW, hold NaN or infinities, or are plainly not in [-1, 1]."""
    pixels = images.images if isinstance(images, Dataset) else images
    if pixels.ndim != 4 or len(pixels) == 0:
        raise ValueError(f"images are {tuple(pixels.shape)}: need (N, C, H, W) with N > 0")
    if pixels.dtype == torch.uint8:
        return pixels
    if bad := int((~pixels.isfinite()).flatten(1).any(dim=1).sum()):
        raise ValueError(f"{bad} of {len(pixels)} images hold NaN or infinite pixels: look at what made them")
    if pixels.abs().mean() > 1.5:  # the mean, because an unclamped sampler may overshoot in a few pixels
        raise ValueError("float images must lie in [-1, 1]: divide 0..255 by 127.5 and subtract 1")
    return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def see(judge: Any, images: Tensor) -> list[Tensor]:
    """Features, logits and, where the judge offers them, spatial features."""
    x0 = images / 127.5 - 1
    return [judge.features(x0), judge(x0), *([judge.spatial(x0)] if hasattr(judge, "spatial") else [])]


def device_of(network: object, images: Tensor) -> torch.device:
    """Where a network's weights lie, or the images, if it has none."""
    return (next(network.parameters(), images) if isinstance(network, nn.Module) else images).device
