"""`rgd course grade`: every submission put back together, run in a sandbox, and scored; each for itself."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import html
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from tqdm.auto import tqdm

from rgd.course.gradebook import record, scores
from rgd.course.rebuild import SubmissionError, read, rebuild
from rgd.course.sandbox import Limits, Sandbox, SandboxError
from rgd.errors import RgdError
from rgd.training.checkpoints import write_atomic

TRIES = 6  # times that one submission is run, each without the cells that ended the runs before


def handed_in(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each student with what is there of them: NAME.ipynb, its copies `NAME (1).ipynb`, or whatever is in NAME/."""
    students: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")):
            continue
        within = sorted(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        name = re.sub(r" ?\(\d+\)$", "", path.stem if path.is_file() else path.name)
        name = re.sub(r"[^\w.@ -]|^[.-]", "_", name)  # it becomes a folder's name, and a cell of a table
        students.setdefault(name, []).extend([path] if path.is_file() else within)
    yield from students.items()


def chapter_of(notebook: Any, releases: dict[str, Any]) -> str:
    """The chapter that a notebook is of, by its metadata, else by its exercises; what it is called does not matter.

    Raises:
        SubmissionError: if it has not been released here.
    """
    told = notebook.metadata.get("rgd")
    told = told.get("chapter") if isinstance(told, dict) else None
    if told is None:
        text = "\n".join(str(cell.source) for cell in notebook.cells)
        has = {name: [f'check("{exercise}"' in text for exercise in exercises(r)] for name, r in releases.items()}
        told = max(has, key=lambda name: sum(has[name])) if any(map(any, has.values())) else None
    if not isinstance(told, str) or told not in releases:
        what = "no chapter of this book" if told is None else f"{str(told)[:60]}, which is not released here"
        raise SubmissionError(f"it is of {what}")
    return told


def exercises(source: Any) -> dict[str, float]:
    """The points of each exercise of a release."""
    marks = [cell.metadata["nbgrader"] for cell in source.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    return {mark["grade_id"].removesuffix("-test"): float(mark["points"]) for mark in marks}


def execute(notebook: Any, run: list[str], sandbox: Sandbox, limits: Limits) -> None:
    """Run cells of a notebook, and put their outputs in. A cell that ends the process is left out, and all others run
    again, so that it costs what it must and no more."""
    marks = {cell.id: cell.metadata.get("nbgrader") for cell in notebook.cells}
    graded = {name: bool(mark and mark["grade"]) for name, mark in marks.items()}
    cells = [
        {"id": c.id, "source": c.source, "graded": graded[c.id], "page": marks[c.id] is None}
        for c in notebook.cells
        if c.id in run
    ]
    found, ended = dict[str, list[Any]](), dict[str, list[Any]]()
    until = time.monotonic() + limits.seconds
    for _ in range(TRIES):
        at, why = "", None
        left = replace(limits, seconds=max(1.0, until - time.monotonic()))
        for said in sandbox.run([cell for cell in cells if cell["id"] not in ended], left):
            at, why = said.get("begins", at), said.get("killed")
            if said.get("ends") == at:
                found[at] = _outputs(said)
        if why is None:
            break
        over = time.monotonic() > until
        if at not in graded and not over:
            raise SandboxError(f"no cell was begun ({why}): grade it again when this machine has less to do")
        for name in {cell["id"] for cell in cells} - found.keys() if over else {at}:
            ended[name] = _outputs({"error": ["Stopped", why, f"Stopped: {why}"]})
        if over:
            break
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = ended.get(cell.id) or found.get(cell.id, []), None


def _outputs(said: dict[str, Any]) -> list[Any]:
    """What the runner says of a cell, as notebooks keep it: text and no more, whatever the student's process sent."""
    new, outputs = nbformat.v4.new_output, []
    if said.get("printed"):
        outputs.append(new("stream", name="stdout", text=str(said["printed"])))
    if said.get("error"):
        name, value, *lines = map(str, said["error"])
        outputs.append(new("error", ename=name, evalue=value, traceback=lines))
    if said.get("result"):
        outputs.append(new("execute_result", data={"text/plain": str(said["result"])}))
    return outputs


def settle(notebook: Any) -> list[str]:
    """Make sure that every test cell says what its exercise is worth, which nbgrader takes for all points where it is
    not said. Returns what went wrong, by exercise: what its answer raised, else what its test did."""
    remarks: dict[str, str] = {}
    for cell in notebook.cells:
        said = [f"{o.ename}: {o.evalue}" for o in cell.get("outputs", []) if o.output_type == "error"]
        mark = cell.metadata.get("nbgrader")
        if mark is None:
            remarks |= {f"the cell {cell.id}, which answers build on": what[:120] for what in said}
            continue
        results = [o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result"]
        if mark["grade"] and not said:
            with contextlib.suppress(IndexError, ValueError):
                if 0 <= float(results[0]) <= mark["points"]:
                    continue
            said = ["its test gave no points"]
            cell.outputs = _outputs({"error": ["NoPoints", *said, *said]})
        if said:
            shown = "".join(c if c.isprintable() else " " for c in said[0])[:120]
            remarks.setdefault(mark["grade_id"].removesuffix("-test"), shown)
    return [f"{name}: {said}" for name, said in remarks.items()]


def one(given: Any, source: Any, before: list[str], sandbox: Sandbox, limits: Limits) -> tuple[Any, list[str]]:
    """One submission, run: its notebook for the gradebook, and the remarks."""
    rebuilt = rebuild(given, source)
    execute(rebuilt.notebook, rebuilt.run, sandbox, limits)
    remarks = [*before, *rebuilt.remarks, *settle(rebuilt.notebook)]
    text = "\n".join(f"- {html.escape(remark)}" for remark in remarks)
    rebuilt.notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"**Remarks**\n\n{text or 'None.'}"))
    return rebuilt.notebook, remarks


def grade(
    submissions: Path, course: Path, sandbox: Sandbox, limits: Limits, again: bool, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Grade what has been handed in; what was graded before and is the same is not run again.

    Returns:
        a row for each student and chapter, as in `grades.csv`, which it writes.

    Raises:
        RgdError: if nothing has been released in `course`.
    """
    releases = {path.stem: nbformat.read(path, as_version=4) for path in sorted(course.glob("source/*/*.ipynb"))}
    if not releases:
        raise RgdError(f"{course} holds no release: make one with `rgd course release`, or name its folder: --course")
    kept_in = course / "grades.json"
    rows: dict[str, Any] = json.loads(kept_in.read_text()) if kept_in.exists() else {}
    jobs, seen = [], []
    for student, paths in handed_in(submissions):
        latest: dict[str, tuple[Path, Any, list[str]]] = {}
        lost = [] if paths else ["there is no notebook in the folder"]
        for path in sorted(paths, key=lambda path: path.stat().st_mtime):
            try:
                given = read(path)
                chapter = chapter_of(given, releases)
                twice = [f"handed in twice: {path.name}, the later, is graded"] if chapter in latest else []
                latest[chapter] = path, given, twice
            except (SubmissionError, OSError) as error:
                lost.append(str(error))
        if lost and not latest:
            rows[f"{student}/"] = {"student": student, "chapter": "", "points": {}, "remarks": ["not graded", *lost]}
            seen.append(f"{student}/")
        elif not lost:
            rows.pop(f"{student}/", None)
        for chapter, (path, given, twice) in latest.items():
            seen.append(f"{student}/{chapter}")
            mark = hashlib.sha256(path.read_bytes() + nbformat.writes(releases[chapter]).encode()).hexdigest()
            if again or rows.get(seen[-1], {}).get("mark") != mark:
                jobs.append((student, chapter, given, [*lost, *twice], mark))
    say(f"{len(jobs)} to grade, {len(seen) - len(jobs)} are settled; students' code runs {sandbox.says}")
    with ThreadPoolExecutor(2) as pool:
        todo = {pool.submit(one, job[2], releases[job[1]], job[3], sandbox, limits): job for job in jobs}
        try:
            for done in tqdm(as_completed(todo), total=len(todo), unit="submission", disable=not todo):
                student, chapter, _, _, mark = todo[done]
                rows[f"{student}/{chapter}"] = _row(done, student, chapter, mark, course)
                write_atomic(kept_in, json.dumps(rows, indent=1).encode())
        except BaseException:
            sandbox.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for row in rows.values():  # the teacher may have changed scores since
        row["points"] = scores(course, row["chapter"], row["student"]) if row["chapter"] else {}
    write_atomic(kept_in, json.dumps(rows, indent=1).encode())
    write_atomic(course / "grades.csv", _csv(rows, releases).encode())
    return [rows[name] for name in seen]


def _row(done: Any, student: str, chapter: str, mark: str, course: Path) -> dict[str, Any]:
    try:
        executed, remarks = done.result()
        record(course, chapter, student, executed)
    except Exception as error:  # of this one: the others are to be graded
        mark, remarks = "", ["not graded", f"{type(error).__name__}: {error}"[:300]]
    return {"student": student, "chapter": chapter, "remarks": remarks, "mark": mark}


def _csv(rows: dict[str, Any], releases: dict[str, Any]) -> str:
    every = [name for release in releases.values() for name in exercises(release)]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["student", "chapter", *every, "total", "of", "remarks"])
    for _, row in sorted(rows.items()):
        points, most = row["points"], exercises(releases[row["chapter"]]) if row["chapter"] in releases else {}
        total = [sum(points.values()), sum(most.values())] if points else ["", ""]
        table.writerow([row["student"], row["chapter"], *(points.get(name, "") for name in every), *total,
                        "; ".join(row["remarks"])])  # fmt: skip
    return text.getvalue()


def summary(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for a terminal."""
    lines = []
    for row in rows:
        points = "  ".join(f"{name} {worth:g}" for name, worth in row["points"].items())
        total = f"{sum(row['points'].values()):5.4g}" if row["points"] else "    -"
        lines.append(f"{row['student'][:24]:24} {row['chapter'][:10]:10} {total}  {points}")
        lines += [f"{'':10}{remark}" for remark in row["remarks"]]
    return "\n".join(lines)
