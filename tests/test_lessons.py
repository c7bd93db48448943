"""Every lesson runs from top to bottom, and its own cells run on the exported package.

Both with shorter trainings; `LESSON_SHORT= pytest tests/test_lessons.py` runs them in full.
"""

import ast
import json
import multiprocessing
import os
import re
import runpy
import sys
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "nbs").glob("*.ipynb"))
NUMBERED = [path for path in LESSONS if path.stem[0].isdigit()]
MAX_BYTES = 2_500_000  # of a stored lesson
MAX_LINES = 30  # of an exported function
MAX_CELLS = 25  # exported in a lesson
LONG_LESSONS = {"16_video", "18_colorize"}
# What most lessons import, which takes seconds: it is loaded once, and each lesson runs in a fork.
LIBRARIES = "torch torchvision timm kornia accelerate cv2 av skimage.data skimage.metrics".split()
LIBRARIES += ["matplotlib.pyplot", "ipywidgets", "anywidget", "nbdev.process", "execnb.shell"]
os.environ.setdefault("MPLBACKEND", "agg")  # before matplotlib is loaded
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(LIBRARIES)

every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
every_numbered_lesson = pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)


def cells_of(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def exported_cells(path: Path) -> list[str]:
    sources = [c["source"] for c in cells_of(path) if c["cell_type"] == "code"]
    return [s for s in sources if s.startswith("#| export")]


def run_in_child(path: Path, flags: tuple, environment: dict, measure: bool, log: Path) -> None:
    """Run a lesson in this process, a fresh fork; what it prints goes to the file `log`."""
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # a lesson's own processes start as usual
    sys.path.insert(0, str(ROOT))
    measured = coverage.Coverage(config_file=str(ROOT / ".coveragerc")) if measure else None
    if measured:
        measured.start()
    sys.argv = ["run_lesson.py", str(path), *flags]
    try:
        runpy.run_path(str(ROOT / "tools" / "run_lesson.py"), run_name="__main__")
    finally:
        sys.stdout.flush()
        if measured:
            measured.stop()
            measured.save()


def run_lesson(path: Path, log: Path, *flags: str, **environment: str) -> None:
    """Run a lesson in a process of its own; only the run on the package measures coverage."""
    environment |= {"PYTHONPATH": str(ROOT), "LESSON_SHORT": os.environ.get("LESSON_SHORT", "1")}
    measure = bool(flags) and coverage.Coverage.current() is not None
    child = FORKS.Process(target=run_in_child, args=(path, flags, environment, measure, log))
    child.start()  # the first one starts the process that the others are forks of
    child.join()
    assert child.exitcode == 0, log.read_text(errors="replace")[-6000:]


@every_lesson
def test_lesson(path, tmp_path):
    run_lesson(path, tmp_path / "log")


@every_lesson
def test_lesson_on_package(path, tmp_path):
    """With other seeds: nothing leans on how one training happens to end."""
    shift = os.environ.get("LESSON_SEED_SHIFT", "1")
    run_lesson(path, tmp_path / "log", "--package", LESSON_SEED_SHIFT=shift)


@every_lesson
def test_stored_outputs(path):
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs, "no outputs are stored: execute the lesson"
    assert not [o["ename"] for o in outputs if o["output_type"] == "error"]
    assert path.stat().st_size <= MAX_BYTES


@every_numbered_lesson
def test_exercises(path):
    """Three exercises or more, each with a stub and a folded solution that runs."""
    cells = cells_of(path)
    sources = [cell["source"] for cell in cells]
    first = next(i for i, s in enumerate(sources) if s.startswith("## Exercises"))
    rest = (i for i in range(first + 1, len(cells)) if sources[i].startswith("## "))
    last = next(rest, len(cells))
    tasks = [i for i in range(first, last) if re.match(r"\*\*\d+\.", sources[i])]
    solved = 0
    for begin, end in zip(tasks, [*tasks[1:], last], strict=True):
        code = [cells[i] for i in range(begin, end) if cells[i]["cell_type"] == "code"]
        assert code and code[0]["source"].startswith("#| eval: false"), sources[begin][:60]
        folded = [c["metadata"].get("jupyter", {}).get("source_hidden") for c in code[1:]]
        assert all(folded), f"a solution is not folded: {sources[begin][:60]}"
        solved += bool(folded)
    assert solved >= 3


@every_numbered_lesson
def test_exported_cells_are_short(path):
    exported = exported_cells(path)
    if path.stem not in LONG_LESSONS:
        assert len(exported) <= MAX_CELLS
    assert not [s for s in exported if re.search(r"^from \S+ import \*", s, re.M)]
    assert not [s for s in exported if "@patch" in s]


@every_numbered_lesson
def test_something_to_see(path):
    """At most two exported cells in a row, imports aside, without a demonstration."""
    in_a_row = 0
    for cell in cells_of(path):
        if cell["cell_type"] == "code":
            exported = cell["source"].startswith("#| export")
            defines = re.search(r"^(def|class|@)", cell["source"], re.M)
            in_a_row = in_a_row + bool(defines) if exported else 0
            assert in_a_row <= 2, cell["source"][:100]


@every_lesson
def test_imports_stand_alone(path):
    """A cell that imports does nothing else: the documentation step runs such cells by themselves."""
    for cell in cells_of(path):
        if cell["cell_type"] == "code" and "eval: false" not in cell["source"]:
            body = ast.parse(cell["source"]).body
            imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
            assert len(imports) in (0, len(body)), cell["source"][:200]
