"""Run a lesson's own cells with the exported module in place of its exported cells.

nbdev_test runs exported cells in the notebook, where a function may lean on a notebook's global
without anyone noticing. Here that fails. usage: lesson_on_package.py nbs/00_color.ipynb
"""

import os
import sys
from pathlib import Path

from execnb.shell import CaptureShell
from nbdev.config import get_config
from nbdev.process import NBProcessor

path = Path(sys.argv[1])
config = get_config()
os.environ["IN_TEST"] = "1"
os.chdir(path.parent)
notebook = NBProcessor(path.name).nb
directives = [getattr(c, "directives_", None) or {} for c in notebook.cells]
modules = [d["default_exp"][0] for d in directives if "default_exp" in d]
shell = CaptureShell(path.name)
if modules:
    shell.run_cell(
        f"import {config.lib_path.name}.{modules[0]} as _module\n"
        "globals().update({k: v for k, v in vars(_module).items() if not k.startswith('__')})"
    )


def skip(cell) -> bool:
    "Exported cells, cells marked not to run, and what is not code."
    d = getattr(cell, "directives_", None) or {}
    return (
        cell.cell_type != "code"
        or any(k in d for k in ("export", "exporti", "exports"))
        or d.get("eval:", [""])[0] == "false"
        or bool(set(d) & set(config.tst_flags.split()))
    )


try:
    shell.run_all(notebook, exc_stop=True, preproc=skip)
except Exception:
    print(shell.prettytb(fname=path.name)[-3000:])
    sys.exit(1)
