"""Networks that look at images for others: Inception's published weights, and a judge lent to torch-fidelity."""

from __future__ import annotations

import copy
import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorBase, FeatureExtractorInceptionV3, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from rgd.errors import CheckpointError
from rgd.measure.features import see, short_digest

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # ends with the start of its SHA-256
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"


class SpatialInception(FeatureExtractorInceptionV3):
    """Inception that says where too: after features and logits, what sFID compares (Nash et al. 2021), the first seven
    channels of the graph's `mixed_6/conv` at 17 x 17 places, (B, 2023), in the order of ADM's moments: row, column,
    channel."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        seen: list[Tensor] = []
        hook = self.Mixed_6d.branch1x1.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            found = super().forward(images)
        finally:
            hook.remove()
        return *found, seen[0][:, :7].movedim(1, -1).flatten(1)


def fetch_inception() -> Path:
    """The file of Inception's weights: $RGD_INCEPTION's, else downloaded into torch.hub's cache and checked against the
    hash in its name. CheckpointError where it cannot be had."""
    if "RGD_INCEPTION" in os.environ:
        return Path(os.environ["RGD_INCEPTION"])
    file = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not file.exists():
        load_inception()
    return file


def load_inception(path: str | Path | None = None, spatial: bool = False) -> nn.Module:
    """torch-fidelity's `inception-v3-compat` on the CPU, for 2048 features and unbiased logits; where it is to be
    `spatial`, for sFID's features too.

    Weights come from `path`, else from $RGD_INCEPTION, else they are downloaded into torch.hub's cache and checked
    against the hash in their name. CheckpointError says where to get the file when that fails.
    """
    path, file = path or os.environ.get("RGD_INCEPTION"), io.BytesIO()
    name, layers = "inception-v3-compat", ["2048", "logits_unbiased"]
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        load = torch.hub.load_state_dict_from_url
        weights = torch.load(path, **options) if path else load(INCEPTION_URL, check_hash=True, **options)
        torch.save(weights, file)  # torch-fidelity takes only a file, and would unpickle whatever is in the user's
        file.seek(0)
        kind = SpatialInception if spatial else FeatureExtractorInceptionV3
        return kind(name, layers, feature_extractor_weights_path=file)
    except Exception as error:  # no network, no file, a damaged one, another model's: the remedy is the same
        raise CheckpointError(
            f"cannot use Inception's weights {path or INCEPTION_FILE}: {error}. Download {INCEPTION_URL} and pass "
            "its path to load_inception, or set RGD_INCEPTION to it"
        ) from error


def register_judge(name: str, judge: nn.Module) -> str:
    """Let `torch_fidelity.calculate_metrics(feature_extractor=..., ...)` use a copy of `judge`; inputs are then uint8
    images. Returns what to pass: `name` and a digest of the weights, because torch-fidelity keeps features on disk by
    the extractor's name alone, and would take another judge's of that name for this one's."""
    name = f"{name}-{short_digest(judge)}"
    if name in FEATURE_EXTRACTORS_REGISTRY:  # the very same judge
        return name
    frozen = copy.deepcopy(judge)  # torch-fidelity freezes and moves what it is given

    class JudgeExtractor(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.judge = frozen

        get_provided_features_list = staticmethod(lambda: ("features", "logits"))
        get_default_feature_layer_for_metric = staticmethod(lambda name: "logits" if name == "isc" else "features")
        can_be_compiled = staticmethod(lambda: False)

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            seen = dict(zip(self.get_provided_features_list(), see(self.judge, images)))
            return tuple(seen[layer].double() for layer in self.features_list)

    register_feature_extractor(name, JudgeExtractor)
    return name
