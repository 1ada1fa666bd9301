#!/usr/bin/env bash
# nbgrader 0.9.6 with NumPy 2: a test that ends in a score of zero as NumPy's number gives full points; so does NaN.
#
# Partial credit is the last value of a test cell. nbgrader does not look at the value: it reads the text that the
# notebook shows of it, and what `float` cannot read counts as full points. NumPy 2 shows its zero as `np.float64(0.0)`,
# NumPy 1 as `0.0`: with the one `np.mean(right)` of a student who has nothing right is worth all points, with the other
# none. NaN, which is what the mean of no checks is, can be read but is not at least zero, and is worth all points with
# both. A Python `float(...)` around the score is read by either; NaN has to be caught by the test.
# Seen on Python 3.11: "numpy 1.26.4: float 0.0, NumPy's zero 0.0, NaN 4.0", "numpy 2.1.3: float 0.0, NumPy's zero 4.0,
# NaN 4.0", of 4 points.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip nbgrader==0.9.6 ipykernel==6.29.5
cat > "$folder/grade.py" <<'PYTHON'
import sys

import nbformat
import numpy as np
from nbclient import NotebookClient
from nbgrader.utils import determine_grade

scores = {"float": "float(0)", "NumPy's zero": "np.mean([0.0, 0.0])", "NaN": "float('nan')"}
mark = {"schema_version": 3, "grade": True, "solution": False, "locked": True, "task": False, "points": 4}
cells = [nbformat.v4.new_code_cell("import numpy as np")]
for k, (name, score) in enumerate(scores.items()):
    cells.append(nbformat.v4.new_code_cell(score, metadata={"nbgrader": {**mark, "grade_id": f"test-{k}"}}))
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, kernel_name="python3").execute()
found = {name: determine_grade(cell)[0] for name, cell in zip(scores, notebook.cells[1:])}
print(f"numpy {np.__version__}: " + ", ".join(f"{name} {points}" for name, points in found.items()))
full = 4.0 if np.__version__ >= "2" else 0.0
sys.exit(found != {"float": 0.0, "NumPy's zero": full, "NaN": 4.0})
PYTHON
for version in 1.26.4 2.1.3; do
    pip numpy==$version
    "$folder/venv/bin/python" "$folder/grade.py" 2>/dev/null || { echo "this has changed"; exit 1; }
done
