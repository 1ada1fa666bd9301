"""How it reaches people: `make` from nothing, the same without make, the wheel, and what the workflows promise."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import rgd

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")

# A Python that makes environments of itself, notes what it is asked for, and fails where $FAIL says.
PRETEND = """#!{python}
import os, shutil, signal, sys, time
from pathlib import Path
option, what, fail, here = sys.argv[1], sys.argv[2], os.environ.get("FAIL"), Path(__file__).parent
if option == "-c":
    if fail == "old":
        sys.version_info = (3, 10)
    if "import ensurepip" in what and fail == "ensurepip" or "import pip" in what and not (here / "pip").exists():
        sys.exit(1)
    exec(what.replace("import pip; ", "").replace("import ensurepip, venv", ""))
    sys.exit()
with open("asked", "a") as asked:
    asked.write(what + "\\n")
if what == "venv":
    Path(".venv/bin").mkdir()
    shutil.copy(__file__, ".venv/bin/python")
    if fail == "venv":
        sys.exit(1)
    Path(".venv/bin/pip").touch()
elif fail == "wait":
    try:
        time.sleep(60)
    except KeyboardInterrupt:  # pip hears it, and says so by an ordinary status
        sys.exit(1)
elif fail in ("network", "killed"):
    sys.exit(1 if fail == "network" else 137)
else:
    Path(".venv/bin/rgd").write_text("#!/bin/sh\\necho the demo ran")
    Path(".venv/bin/rgd").chmod(0o755)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile and a Python that only pretends."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "python").write_text(PRETEND.format(python=sys.executable))
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def command(shell: str = "/bin/sh") -> list[str]:
    return ["make", "demo", "PYTHON=./python", f"SHELL={shell}"]


def make_demo(folder: Path, fail: str = "") -> tuple[bool, str, list[str]]:
    """Whether it ran, what it said, and what it asked the Python for."""
    (folder / "asked").write_text("")
    environment = {**os.environ, "FAIL": fail}
    done = subprocess.run(command(), cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == ("the demo ran" in done.stdout)
    return done.returncode == 0, done.stdout + done.stderr, (folder / "asked").read_text().split()


@needs_make
def test_make_sets_itself_up_once(clone: Path) -> None:
    ran, _, asked = make_demo(clone)
    assert ran
    assert asked == ["venv", "pip"]
    ran, _, asked = make_demo(clone)
    assert ran
    assert asked == []


@needs_make
@pytest.mark.parametrize(
    ("fail", "says"),
    {
        "old": "Python 3.11 or newer is needed; choose one with: make PYTHON=",
        "ensurepip": "sudo apt install python{}.{}-venv".format(*sys.version_info),
        "venv": "No environment could be made, for the reason above",
    }.items(),
)
def test_no_environment_is_left_where_none_could_be_made(fail: str, says: str, clone: Path) -> None:
    for _ in range(2):  # the second time says the same
        ran, said, _ = make_demo(clone, fail)
        assert not ran
        assert says in said
        assert not (clone / ".venv").exists()
    ran, _, asked = make_demo(clone)
    assert ran
    assert asked == ["venv", "pip"]


@needs_make
@pytest.mark.parametrize(("fail", "again"), {"network": ["pip"], "killed": ["venv", "pip"]}.items())
def test_an_installation_that_failed_is_done_again(fail: str, again: list[str], clone: Path) -> None:
    """pip that gives up has changed nothing; pip that was killed may have."""
    ran, said, _ = make_demo(clone, fail)
    assert not ran
    assert "pip did not finish" in said
    ran, _, asked = make_demo(clone)
    assert ran
    assert asked == again


@needs_make
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_installation_that_was_cut_off_is_not_trusted(how: signal.Signals, shell: str, clone: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    started = subprocess.Popen(
        command(shell), cwd=clone, env={**os.environ, "FAIL": "wait"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while started.poll() is None and not ((clone / "asked").exists() and "pip" in (clone / "asked").read_text()):
        time.sleep(0.02)
    time.sleep(0.3)  # until pip can hear it
    os.killpg(started.pid, how)
    assert started.wait(timeout=30) != 0
    ran, _, asked = make_demo(clone)
    assert ran
    assert asked == ["venv", "pip"]


@needs_make
def test_an_environment_whose_python_was_replaced_is_made_anew(clone: Path) -> None:
    make_demo(clone)
    (clone / ".venv" / "bin" / "pip").unlink()  # as after the system's Python went from 3.13 to 3.14
    ran, _, asked = make_demo(clone)
    assert ran
    assert asked == ["venv", "pip"]


def test_every_test_is_in_make_test_or_in_make_check_and_ci_runs_both() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r'pytest \$\(SIDE_BY_SIDE\) -m ("not check"|check)(?!\w)', makefile) == ['"not check"', "check"]
    assert re.search(r"-m check \\\n\t\t.* tests notebooks\n", makefile), "every notebook too"
    assert re.findall(r"^make (\w+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE) == ["test", "check"]
    runs = [step.get("run") for job in workflow("test")["jobs"].values() for step in job["steps"]]
    assert {"make test", "make check"} <= set(runs)


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def test_the_pythons_are_the_same_everywhere() -> None:
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    first, last = named[0], named[-1]
    assert PROJECT["requires-python"] == f">={first}"
    assert workflow("test")["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    assert f"Python {first} to {last}" in (ROOT / "README.md").read_text()
    assert f"({first} to {last})" in (ROOT / "Makefile").read_text()
    assert f"python>={first},<3.{int(last[2:]) + 1}\n" in (ROOT / "environment.yml").read_text()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_know_no_secret_and_may_do_little(file: Path) -> None:
    assert "secrets." not in file.read_text()
    content = workflow(file.stem)
    assert content["permissions"] == {"contents": "read"}
    allowed = {"deploy": {"pages": "write", "id-token": "write"}, "wheel": {"contents": "write"}}
    for name, job in content["jobs"].items():
        assert job.get("permissions") == allowed.get(name)


def test_the_distribution_has_one_name() -> None:
    assert PROJECT["name"] == rgd.DISTRIBUTION != "rgd"


# How a test makes one of those commands small: pip only says what it would do, for which it asks PyPI for the builder.
SMALL = {"pip install": ["--dry-run", "--no-deps"], "python -m pytest": ["--collect-only", "--quiet", "--quiet"]}


def without_make() -> list[list[str]]:
    """The README's commands for those who have no make, as words."""
    (block,) = re.findall(r"```bash\n(python -m venv .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def test_without_make_it_is_the_same_two_steps() -> None:
    steps = [" ".join(words) for words in without_make()]
    assert [step for step in steps if not step.startswith(("python -m venv", "source"))] == [
        "pip install -e .", "rgd demo", "pip install -e .[test]", "python -m pytest -m not check",
    ]  # fmt: skip


@pytest.mark.check
@pytest.mark.parametrize("words", [w for w in without_make() if w[0] in ("pip", "python")][1:], ids=" ".join)
def test_without_make_every_command_runs(words: list[str]) -> None:
    """The one that is not here, `rgd demo`, runs from the wheel."""
    small = next(arguments for start, arguments in SMALL.items() if " ".join(words).startswith(start))
    program = [sys.executable, *(["-m", "pip"] if words[0] == "pip" else [])]
    done = subprocess.run([*program, *words[1:], *small], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def files_of(folder: str) -> set[str]:
    """Every file of a folder of the clone that git would keep."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.check
def test_the_wheel_holds_the_module_and_the_recipes_and_so_does_the_source(dist: tuple[Path, Path]) -> None:
    source, wheel = dist
    ((recipes, place),) = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items()
    moved = {place + name.removeprefix(recipes) for name in files_of(recipes)}
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in inside if ".dist-info/" not in name} == files_of("rgd") | moved
    assert {"rgd/lab/zoo.json", "rgd/lab/mnist-few.npz", "rgd/lab/templates/report.html.j2"} <= inside
    with tarfile.open(source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert files_of("rgd") | files_of("recipes") | {"README.md", "LICENSE", "pyproject.toml"} <= packed


@pytest.mark.check
@pytest.mark.timeout(1200)
def test_the_wheel_works_far_from_the_clone(dist: tuple[Path, Path], tmp_path: Path) -> None:
    """In an environment that has what we depend on, but of ours the wheel alone."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    # Such a line adds a folder, but not what is installed there as editable: no clone is found through it.
    (own / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", dist[1]], check=True)
    settings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RGD_ZOO")}

    def run(*words: object, **more: str) -> str:
        done = subprocess.run([*map(str, words)], cwd=tmp_path, env=settings | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    assert Path(run(python, "-c", "import rgd; print(rgd.__file__)").strip()).is_relative_to(own)
    run(python.with_name("rgd"), "demo", "--effort", 0.01, "--samples", 20)
    assert (tmp_path / "runs" / "demo-digits" / "report.html").exists()
    run(python.with_name("rgd"), "train", "digits/judge", "--steps", 2)
    address = run(python, "-c", "import rgd; print(rgd.__version__, rgd.zoo.address())").split()
    version, repository = PROJECT["version"], PROJECT["urls"]["Repository"]
    assert address == [version, f"{repository}/raw/v{version}/weights"]
    load = "import rgd; print(type(rgd.zoo.load('mnist/robust', 'cpu')).__name__)"
    assert run(python, "-c", load, RGD_ZOO=str(ROOT / "weights")).strip() == "EncoderUNet"
