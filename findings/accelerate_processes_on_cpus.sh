#!/usr/bin/env bash
# accelerate 1.15.0: on a machine without a GPU, `accelerate launch --cpu --num_processes 2` runs one process, and
# `--multi_gpu --num_processes 2` runs two, each of which takes itself for the only one.
#
# Neither says so. The first trains alone for twice the time; in the second each process trains on all of the data and
# writes the same files as the other, where one meant to share a batch. What does give two processes on CPUs is the
# flag for GPUs together with `Accelerator(cpu=True)` in the program; `--cpu --multi_gpu` is refused as a contradiction.
# Seen with torch 2.14.1 on Python 3.11, for these three in turn: "0 of 1", "0 of 1, 0 of 1", "0 of 2, 1 of 2".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check accelerate==1.15.0 torch==2.14.1
cat > "$folder/who.py" <<'PYTHON'
import sys

from accelerate import Accelerator

accelerator = Accelerator(cpu=True) if sys.argv[1] == "told" else Accelerator()
print(f"{accelerator.process_index} of {accelerator.num_processes}", flush=True)
PYTHON
# An empty settings folder, so that no `accelerate config` of this machine has a say; no GPU, if there is one.
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
launch() {
    "$folder/venv/bin/accelerate" launch "$1" --num_processes 2 --num_machines 1 --mixed_precision no \
        --dynamo_backend no "$folder/who.py" "$2" 2>"$folder/said" | sort | paste -sd, | sed 's/,/, /'
}
cpu=$(launch --cpu untold); gpus=$(launch --multi_gpu untold); told=$(launch --multi_gpu told)
echo "--cpu: $cpu; --multi_gpu: $gpus; --multi_gpu and Accelerator(cpu=True): $told"
[ "$cpu" = "0 of 1" ] && [ "$gpus" = "0 of 1, 0 of 1" ] && [ "$told" = "0 of 2, 1 of 2" ] ||
    { cat "$folder/said"; echo "this has changed"; exit 1; }
