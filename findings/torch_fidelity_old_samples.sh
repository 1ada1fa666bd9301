#!/usr/bin/env bash
# torch-fidelity 0.4.0: samples registered under a name that was used before get the score of the earlier ones.
#
# An input registered by name has its features and its statistics kept in a folder of the home directory, with no end,
# under that name and the feature extractor's. What is in the data set is not part of it: the next process to register
# new samples as "samples" is given the features of the old ones. Only `verbose` has a line on it; a folder of images is
# always read anew. So a table over guidance scales, each run in a process of its own, has the same number in each row.
# Pass `cache=False`, or put what made the samples into the name.
# Seen with torch 2.14.1 on Python 3.11, the Fréchet distance to data that the first samples are equal to: "first 0.0,
# then samples brighter by 100: 0.0; without the cache: 30000.0".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    torch-fidelity==0.4.0 torch==2.14.1 torchvision==0.29.1
cat > "$folder/score.py" <<'PYTHON'
import sys

import torch
from torch_fidelity import FeatureExtractorBase, calculate_metrics, register_dataset, register_feature_extractor


class Means(FeatureExtractorBase):
    """The mean of each channel of an image, in the place of Inception's features."""

    def __init__(self, name, features_list, **unused):
        super().__init__(name, features_list)

    @staticmethod
    def get_provided_features_list():
        return ("means",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "means"

    @staticmethod
    def can_be_compiled():
        return False

    def forward(self, images):
        return (images.float().mean((2, 3)),)


class Images(torch.utils.data.Dataset):
    def __init__(self, brighter):
        images = torch.randint(0, 100, (32, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        self.images = images + brighter

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        return self.images[k]


brighter, folder, cache = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "cache"
register_feature_extractor("means", Means)
register_dataset("samples", lambda root, download: Images(brighter))
found = calculate_metrics(
    input1="samples", input2=Images(0), fid=True, feature_extractor="means", cuda=False, cache=cache,
    cache_root=folder, verbose=False, batch_size=16,
)
print(round(found["frechet_inception_distance"], 1) + 0.0)
PYTHON
export TORCH_HOME="$folder/torch" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
score() { "$folder/venv/bin/python" "$folder/score.py" "$1" "$folder/cache" "$2" 2>"$folder/said"; }
first=$(score 0 cache); brighter=$(score 100 cache); anew=$(score 100 anew)
echo "first $first, then samples brighter by 100: $brighter; without the cache: $anew"
[ "$first" = 0.0 ] && [ "$brighter" = 0.0 ] && [ "$anew" = 30000.0 ] ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
