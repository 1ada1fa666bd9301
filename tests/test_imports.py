"""`import rgd` costs little more than `import torch`: what else is needed is imported when first asked for."""

from __future__ import annotations

import json
import subprocess
import sys

LATER = {"torchvision", "torch_fidelity", "sklearn", "matplotlib", "pooch", "scipy", "tyro", "jinja2", "accelerate",
         "PIL", "tabulate", "ipywidgets", "torch._dynamo", "torch._inductor"}  # fmt: skip


def modules_after(statement: str) -> set[str]:
    """What a fresh process has imported after a statement."""
    command = [sys.executable, "-c", f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_the_core_imports_nothing_heavy_but_torch() -> None:
    ours = modules_after("import rgd") - modules_after("import torch")
    assert ours & LATER == set()
    assert {name.split(".")[0] for name in ours} <= {"rgd", "safetensors"}


def test_no_command_waits_for_what_few_of_them_need() -> None:
    """`rgd --help` took more than twice as long while Inception's library came along."""
    ours = modules_after("import rgd.cli")
    assert ours & {"torchvision", "torch_fidelity", "sklearn", "scipy.stats", "accelerate", "torch._dynamo"} == set()
