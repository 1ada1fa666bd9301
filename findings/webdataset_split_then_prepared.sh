#!/usr/bin/env bash
# webdataset 1.0.2 with accelerate 1.15.0: on two processes, `split_by_node` with `prepare` loses half of the images.
#
# webdataset wants a `nodesplitter` for more than one process, and `split_by_node` is its own: each process reads every
# other shard. accelerate does not see that. `prepare` either lets the first process read for all, and hands out what it
# read, or lets each read alone and keep every other batch of it; both divide by two what was divided already. Nothing
# is said, and the losses look right. Divide once: keep `split_by_node` and do not prepare that loader, or let `prepare`
# have a stream whose nodesplitter passes every shard on.
# Seen with torch 2.14.1 on Python 3.11, images seen of 16: "split and prepared: 8; split and prepared, each process
# for itself: 8; split alone: 16; prepared alone: 16".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    webdataset==1.0.2 accelerate==1.15.0 torch==2.14.1
cat > "$folder/read.py" <<'PYTHON'
import sys

import webdataset as wds
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader

shards, split, prepared, alone = sys.argv[1], "split" in sys.argv, "prepared" in sys.argv, "alone" in sys.argv
dispatch = {"dispatch_batches": False} if alone else {}
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**dispatch))
split = wds.split_by_node if split else (lambda urls: urls)
stream = wds.WebDataset([f"{shards}/{k}.tar" for k in range(4)], shardshuffle=False, nodesplitter=split)
loader = DataLoader(stream.decode().map(lambda sample: int(sample["cls"])), batch_size=2)
loader = accelerator.prepare(loader) if prepared else loader
print("\n".join(str(image) for batch in loader for image in batch.tolist()), flush=True)
PYTHON
mkdir "$folder/shards" "$folder/samples"
for shard in 0 1 2 3; do
    for k in 0 1 2 3; do echo $((4 * shard + k)) > "$folder/samples/$shard$k.cls"; done
    (cd "$folder/samples" && tar -cf "$folder/shards/$shard.tar" "$shard"?.cls)
done
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
count() {
    "$folder/venv/bin/accelerate" launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no \
        --dynamo_backend no "$folder/read.py" "$folder/shards" "$@" 2>"$folder/said" | sort -u | wc -l
}
seen="split and prepared: $(count split prepared);"
seen+=" split and prepared, each process for itself: $(count split prepared alone);"
seen+=" split alone: $(count split); prepared alone: $(count prepared)"
echo "$seen"
numbers=$(grep -o '[0-9]*' <<<"$seen" | paste -sd' ')
[ "$numbers" = "8 8 16 16" ] ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
