#!/usr/bin/env bash
# accelerate 1.15.0 with torch 2.14.1: after `kill -9` of the whole process group of `accelerate launch`, one process
# is gone, and two processes train on.
#
# With `--num_processes 1` what is launched is in the launcher's group, and dies with it. With 2 the launcher is torch's
# elastic agent, which gives each worker a session, and so a group, of its own. A job that is killed by its group, as
# schedulers, CI and `timeout -s KILL` do, leaves the workers with init for a parent, at work in the folder in which the
# same command may be started again; nothing of theirs depends on the agent once they have met. A program of several
# processes should look whether its parent is still the one it had.
# Seen on Python 3.11, three seconds after the kill: "1 process: 0 alive; 2 processes: 2 alive".
set -euo pipefail
folder=$(mktemp -d)
trap 'for file in "$folder"/[12]/*; do kill -9 "$(basename "$file")" 2>/dev/null || true; done; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check accelerate==1.15.0 torch==2.14.1
cat > "$folder/work.py" <<'PYTHON'
import os
import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True)
Path(sys.argv[1], str(os.getpid())).touch()
for _ in range(120):
    accelerator.reduce(torch.ones(1))
    time.sleep(0.5)
PYTHON
# An empty settings folder, so that no `accelerate config` of this machine has a say; no GPU, if there is one.
export HF_HOME="$folder/settings" CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
alive() {  # of a folder of process numbers; a zombie is dead
    local n=0 file
    for file in "$folder/$1"/*; do
        case $(ps -o stat= -p "$(basename "$file")" || true) in ""|Z*) ;; *) n=$((n + 1)) ;; esac
    done
    echo "$n"
}
left() {
    mkdir "$folder/$1"
    setsid "$folder/venv/bin/accelerate" launch "${@:2}" --num_processes "$1" --num_machines 1 --mixed_precision no \
        --dynamo_backend no --main_process_port 0 "$folder/work.py" "$folder/$1" >"$folder/said" 2>&1 &
    local launcher=$!
    for _ in $(seq 120); do [ "$(find "$folder/$1" -type f | wc -l)" = "$1" ] && break; sleep 0.5; done
    sleep 2
    kill -9 -- "-$launcher"
    wait "$launcher" 2>/dev/null || true
    sleep 3
    echo "$(alive "$1") alive"
}
one=$(left 1 --cpu); two=$(left 2 --multi_gpu)
echo "1 process: $one; 2 processes: $two"
[ "$one" = "0 alive" ] && [ "$two" = "2 alive" ] || { cat "$folder/said"; echo "this has changed"; exit 1; }
