"""What checks each chapter's exercises, a file for each chapter."""

from importlib import import_module
from pathlib import Path

for _file in sorted(Path(__file__).parent.glob("c[0-9][0-9].py")):
    import_module(f"{__name__}.{_file.stem}")
