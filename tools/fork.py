"""Point every link, set-up cell and citation at a fork: `python -m tools.fork https://github.com/you/rgd`.

The address stands in `pyproject.toml`; wherever else it occurs, it is that one. A fork's own tag, `v` and the version,
must exist for its set-up cells to install from it.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Annotated

import tyro

ROOT = Path(__file__).resolve().parent.parent


def address() -> str:
    """The repository's address as it stands now."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def repoint(text: str, old: str, new: str) -> str:
    """A text with one repository's address in place of another's.

    Raises:
        ValueError: if the new address is not one of GitHub's, which is what Colab opens notebooks from.
    """
    form = r"https://github\.com/([\w-]+)/([\w.-]+)"
    known, wanted = re.fullmatch(form, old), re.fullmatch(form, new.removesuffix("/").removesuffix(".git"))
    if known is None or wanted is None:
        raise ValueError(f"an address looks like https://github.com/OWNER/NAME, not {new!r}")
    text = text.replace(f"{known[0]} && cd {known[2]}", f"{wanted[0]} && cd {wanted[2]}")
    return re.sub(rf"(?<=[/:])(github(?:\.com)?)/{re.escape(known[1])}/{re.escape(known[2])}(?![\w-])",
                  rf"\g<1>/{wanted[1]}/{wanted[2]}", text)  # fmt: skip


def main(to: Annotated[str, tyro.conf.Positional]) -> None:
    """Rewrite every tracked file that names the repository.

    Args:
        to: the fork's address, https://github.com/OWNER/NAME.
    """
    old = address()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if (new := repoint(text, old, to)) != text:
            path.write_text(new)
            print(f"rewritten: {name}")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    print(f"Now commit this, and: git tag v{version} && git push origin main v{version}")
    print("Colab's set-up cells install that tag. Do not move it later, for pip keeps a version that it has: raise it.")


if __name__ == "__main__":
    tyro.cli(main)
