"""The project's own rules: style, export, types, order of the modules, shape of the code."""

import ast
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGE = ROOT / "fusion_nb"
MAX_LINES = 30  # of a function
MAX_CLASS_LINES = 130
MAX_MODULE_LINES = 600


def run(*command: object, cwd: Path = ROOT, **environment: object) -> None:
    command = list(map(str, command))
    environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.fixture
def copy(tmp_path) -> Path:
    """The sources alone, without the exported package."""
    target = tmp_path / ROOT.name
    shutil.copytree(ROOT / "nbs", target / "nbs")
    for name in ("settings.ini", "setup.py", "README.md"):
        shutil.copy(ROOT / name, target / name)
    shutil.copytree(PACKAGE / "static", target / "fusion_nb" / "static")
    run("git", "init", "-q", target)
    return target


def test_ruff_check():
    run(BIN / "ruff", "check", ".")


def test_ruff_format():
    run(BIN / "ruff", "format", "--check", ".")


def test_types():
    run(sys.executable, "-m", "mypy", "--cache-dir", "/dev/null")


def test_lesson_map_is_up_to_date():
    run(sys.executable, ROOT / "tools" / "lesson_map.py", "--check")


def test_package_equals_what_the_notebooks_export(copy):
    run(BIN / "nbdev_export", cwd=copy)
    exported = sorted(p.name for p in (copy / "fusion_nb").glob("*.py"))
    assert exported == sorted(p.name for p in PACKAGE.glob("*.py"))
    _, differ, errors = filecmp.cmpfiles(PACKAGE, copy / "fusion_nb", exported, shallow=False)
    assert not differ + errors, "run nbdev_export"


def test_notebooks_are_clean(copy):
    run(BIN / "nbdev_clean", cwd=copy)
    names = [p.name for p in (ROOT / "nbs").glob("*.ipynb")]
    _, dirty, errors = filecmp.cmpfiles(ROOT / "nbs", copy / "nbs", names, shallow=False)
    assert not dirty + errors, "run nbdev_clean"


@pytest.mark.parametrize("path", sorted((ROOT / "nbs").glob("*.ipynb")), ids=lambda path: path.stem)
def test_outputs_name_no_place_of_a_machine(path):
    """Such as the folder of its libraries, in a warning that only this machine gives."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        texts = [
            o.get("text") or o.get("data", {}).get("text/plain") for o in cell.get("outputs", [])
        ]
        places = re.findall(
            r"/(?:usr|opt|root|home)/\S*", "".join(map("".join, filter(None, texts)))
        )
        assert not places, f"{places[0]} in an output of this cell: {''.join(cell['source'])[:60]}"


def test_documentation_step_runs(copy):
    """On one lesson; `test_imports_stand_alone` looks in all of them for what would stop it."""
    run(BIN / "nbdev_export", cwd=copy)
    for path in (copy / "nbs").glob("*.ipynb"):
        if path.stem != "02_synthetic":
            path.unlink()
    run(BIN / "nbdev_proc_nbs", cwd=copy, PYTHONPATH=copy / "nbs")


def modules() -> dict[str, ast.Module]:
    """The exported modules in the order of their lessons."""
    order = {}
    for path in sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        name = re.search(r"default_exp (\w+)", path.read_text(encoding="utf-8"))[1]
        order[name] = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    return order


def own_imports(node: ast.AST) -> set[str]:
    """Names of the modules of this package that are imported somewhere below a node."""
    found = set()
    for child in ast.walk(node):
        if isinstance(child, ast.ImportFrom):
            name = child.module or ""
            if child.level or name.split(".")[0] == "fusion_nb":
                found.add(name.removeprefix("fusion_nb").strip("."))
    return found - {""}


@pytest.mark.parametrize("name", list(modules()))
def test_module_imports_only_from_earlier_lessons(name):
    order = list(modules())
    appendices = {
        "runs",
        "tracks",
        "pictures",
        "projects",
        "controls",
        "cuts",
        "snapshots",
        "parts",
        "probing",
        "folders",
    }
    earlier = {*order[: order.index(name)], *appendices}
    later = own_imports(modules()[name]) - earlier
    assert not later, f"{name} imports from {sorted(later)}, which are not earlier lessons"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_shape_of_the_code(path):
    """Functions of at most 30 lines, classes of about 100, modules of 600."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    long = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            most = MAX_LINES if isinstance(node, ast.FunctionDef) else MAX_CLASS_LINES
            lines = node.end_lineno - node.lineno + 1
            if lines > most:
                long.append(f"{node.name}: {lines} lines")
    assert not long
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


def test_no_class_exists_only_as_a_base():
    """A chain of own classes is at most two long, and a base is of use by itself."""
    bases: dict[str, list[str]] = {}
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [ast.unparse(base) for base in node.bases]

    def depth(name: str) -> int:
        return 1 + max((depth(b) for b in bases[name] if b in bases), default=0)

    assert not [name for name in bases if depth(name) > 2]


def test_import_has_no_side_effects():
    """Importing leaves the log levels, the seeds, the threads and the warnings alone."""
    code = (
        "import logging, random, warnings, numpy, torch\n"
        "state = lambda: (logging.root.level, len(logging.root.handlers), random.getstate(),\n"
        "    str(numpy.random.get_state()), torch.initial_seed(), torch.get_num_threads())\n"
        "before = state()\n"
        f"for name in {list(modules())}: __import__(f'fusion_nb.{{name}}')\n"
        "assert state() == before\n"
    )
    run(sys.executable, "-W", "error::UserWarning:fusion_nb", "-c", code)
