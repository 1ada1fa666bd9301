"""What the starters share: `--reference` takes more, and keeps the result with where it comes from."""

import json
import sys
from pathlib import Path
from typing import Any

from rgd.lab.origin import provenance

REFERENCE = "--reference" in sys.argv
RESULTS = Path(__file__).resolve().parents[2] / "results"


def keep(name: str, found: dict[str, Any]) -> None:
    """Print each number, and for a reference write them to `results/capstone_NAME.json`."""
    for what, each in found.items():
        print(f"{what}: {each}")
    if REFERENCE:
        text = json.dumps({"provenance": provenance(), "found": found}, indent=1, default=lambda e: e.to_json())
        (RESULTS / f"capstone_{name}.json").write_text(text + "\n")
