"""Run the chapters as Colab would: Python 3.13, Colab's versions, and a set-up cell that really installs.

`python -m tools.colab` makes an environment in `build/colab` with the versions that Colab had when `COLAB` was last
changed, and runs every chapter there from its first cell. What the set-up cell installs is the last commit of this
clone: git is told to look here for the address that stands in the cell. The published weights come from the clone
too. Afterwards Colab's own packages must be what they were.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Annotated

import tyro

import rgd
from rgd.book.profile import Name
from tools.fork import address

ROOT = Path(__file__).resolve().parent.parent
COLAB = {  # August 2026
    "torch": "2.11.*",
    "torchvision": "0.26.*",
    "numpy": "2.1.*",
    "matplotlib": "3.10.*",
    "ipywidgets": "7.7.*",
}
STUB = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")  # by which a set-up cell knows where it is
"""


def environment(folder: Path, python: str) -> Path:
    """The interpreter of an environment like Colab's, made if it is not there."""
    interpreter = folder / "venv" / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    pins = [f"{name}=={version}" for name, version in COLAB.items()]
    subprocess.run([interpreter, "-m", "pip", "install", "-q", *pins, "nbclient", "ipykernel"], check=True)
    return interpreter


def installed(interpreter: Path) -> dict[str, str]:
    """The versions of Colab's packages in an environment."""
    listed = subprocess.run(
        [interpreter, "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    versions = dict(line.split("==", 1) for line in listed if "==" in line)
    return {name: versions[name] for name in COLAB}


def here_instead(folder: Path) -> dict[str, str]:
    """Settings by which git finds this clone's last commit, under the version's tag, at the repository's address."""
    copy = folder / "repository.git"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", "--bare", ROOT, copy], check=True)
    subprocess.run(["git", "-C", copy, "tag", "--force", f"v{version}", "HEAD"], check=True, capture_output=True)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{copy}.insteadOf",
        "GIT_CONFIG_VALUE_0": address(),
    }


def main(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    profile: Name = "ci",
    python: str = "python3.13",
    folder: Path = ROOT / "build" / "colab",
) -> None:
    """Run chapters in an environment like Colab's; nothing is written into them.

    Args:
        files: notebooks; default all.
        profile: how much they do.
        python: an interpreter of Colab's version.
        folder: where the environment is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    interpreter = environment(folder, python)
    before = installed(interpreter)
    print(" ".join(f"{name} {version}" for name, version in before.items()))
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-colab.py").write_text(STUB)
    settings = {
        **os.environ, **here_instead(folder), "IPYTHONDIR": str(folder / "ipython"), "RGD_PROFILE": profile,
        "RGD_ZOO": str(ROOT / "weights"), "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip
    subprocess.run([interpreter, "-m", "pip", "uninstall", "-q", "-y", rgd.DISTRIBUTION], check=True)
    for path in files or sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(path.name, flush=True)
        execute = interpreter.with_name("jupyter-execute")
        # In a folder of its own, so that no module of the clone is found by accident.
        subprocess.run([execute, path.resolve(), "--timeout=1200"], check=True, env=settings, cwd=folder)
    after = installed(interpreter)
    if after != before:
        raise SystemExit(f"the set-up cell touched Colab's packages: {before} became {after}")
    print("all chapters ran, and Colab's packages are as they were")


if __name__ == "__main__":
    tyro.cli(main)
