"""Run one lesson from top to bottom: `python tools/run_lesson.py nbs/04_flow.ipynb [--package]`.

Without `--package` every cell runs, exported ones included, as `nbdev_test` does it. With it, the
lesson's other cells run on the exported module: a function that leans on a global of the notebook
passes the first way and fails the second. A cell marked `#| once` runs with it only: it starts
commands or processes, which run the exported package either way, or it is a long one.
"""

import os
import sys
from pathlib import Path

from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.process import NBProcessor

SKIPPED = {"notest", "slow", "cuda"}


def directives(cell) -> dict:
    """Return the `#|` lines of a cell by name; none for a cell of prose."""
    return getattr(cell, "directives_", None) or {}


def is_skipped(cell, on_package: bool) -> bool:
    """Tell whether a cell does not run: prose, `eval: false`, flagged ones, exported ones."""
    found = directives(cell)
    exported = on_package and any(name.startswith("export") for name in found)
    marked = found.get("eval:", [""])[0] == "false" or bool(SKIPPED & set(found))
    second_time = "once" in found and not on_package
    return cell.cell_type != "code" or exported or marked or second_time


def run_lesson(path: Path, on_package: bool) -> None:
    """Execute a lesson in this process; an error ends it as in a notebook."""
    package = get_config().lib_path.name
    os.chdir(path.parent)
    sys.path.insert(0, "")  # as in a kernel: a lesson finds what is next to it
    notebook = NBProcessor(path.name).nb
    shell = CaptureShell(path.name)
    modules = [d["default_exp"][0] for d in map(directives, notebook.cells) if "default_exp" in d]
    if on_package and modules:
        shell.run_cell(
            f"import {package}.{modules[0]} as _module\n"
            "globals().update({k: v for k, v in vars(_module).items() if not k.startswith('__')})"
        )
    try:
        shell.run_all(notebook, exc_stop=True, preproc=lambda cell: is_skipped(cell, on_package))
    except Exception:
        sys.exit(shell.prettytb(fname=path.name)[-4000:])


if __name__ == "__main__":
    os.environ["IN_TEST"] = "1"
    lesson = next(a for a in sys.argv[1:] if a.endswith(".ipynb"))
    run_lesson(Path(lesson).resolve(), "--package" in sys.argv)
