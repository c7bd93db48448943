"""All tests of the project: `python tests/run_all.py`. Closes with one line `N passed, N failed`.

lint and format      ruff, notebooks included
export               the package equals what the notebooks export, from an empty folder
clean                the stored notebooks are clean, have outputs and stay small
form                 three exercises or more a lesson, each with a stub and a folded solution that
                     runs; no exported cell of more than 40 lines
lessons              every lesson top to bottom, as nbdev_test runs it
lessons on package   every lesson's own cells against the exported package
tests/               what a notebook cannot test
"""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LESSONS = sorted((ROOT / "nbs").glob("*.ipynb"))
MAX_BYTES = 2_500_000  # of a stored lesson
failures: list[str] = []
passed = 0
skipped = 0


def report(name: str, ok: bool, detail: str = "", seconds: float = 0.0) -> None:
    global passed
    print(f"{'ok  ' if ok else 'FAIL'} {name} ({seconds:.0f} s)", flush=True)
    if ok:
        passed += 1
    else:
        failures.append(name)
        print("     " + detail.strip()[-4000:].replace("\n", "\n     "), flush=True)


def run(*command: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def check(name: str, *command: object, **environment: str) -> None:
    start = time.time()
    done = run(*command, **environment)
    report(name, done.returncode == 0, done.stdout, time.time() - start)


def same_tree(a: Path, b: Path) -> list[str]:
    "Names of the Python files that differ or stand on one side only."
    names = {p.relative_to(a) for p in a.rglob("*.py")} | {
        p.relative_to(b) for p in b.rglob("*.py")
    }
    return sorted(
        str(n)
        for n in names
        if not ((a / n).exists() and (b / n).exists() and filecmp.cmp(a / n, b / n, shallow=False))
    )


def copy_of_sources(folder: Path) -> Path:
    "What the export and the clean check work on, so that the tree itself is never touched."
    copy = folder / ROOT.name
    shutil.copytree(ROOT / "nbs", copy / "nbs")
    for name in ("settings.ini", "setup.py", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "fusion_nb").mkdir()
    subprocess.run(["git", "init", "-q", str(copy)], check=False)
    return copy


def check_export() -> None:
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_sources(Path(folder))
        done = run(BIN / "nbdev_export", cwd=copy)
        differ = same_tree(ROOT / "fusion_nb", copy / "fusion_nb")
    detail = done.stdout + "".join(f"\n{n}: run nbdev_export" for n in differ)
    report(
        "export: package = notebooks",
        done.returncode == 0 and not differ,
        detail,
        time.time() - start,
    )


def check_clean() -> None:
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_sources(Path(folder))
        done = run(BIN / "nbdev_clean", cwd=copy)
        dirty = [p.name for p in LESSONS if p.read_bytes() != (copy / "nbs" / p.name).read_bytes()]
    detail = done.stdout + "".join(f"\n{n}: run nbdev_clean" for n in dirty)
    report("clean notebooks", done.returncode == 0 and not dirty, detail, time.time() - start)
    for path in LESSONS:
        code = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        outputs = [o for c in code for o in c["outputs"]]
        wrong = [o["ename"] for o in outputs if o["output_type"] == "error"]
        small = path.stat().st_size <= MAX_BYTES
        detail = f"{len(outputs)} outputs, errors {wrong}, {path.stat().st_size} bytes"
        report(f"stored outputs of {path.stem}", bool(outputs) and not wrong and small, detail)


def exercise_faults(cells: list[dict]) -> list[str]:
    "What is wrong with a lesson's exercises: three with a stub each and a folded solution that runs."
    sources = ["".join(c["source"]) for c in cells]
    first = next((i for i, s in enumerate(sources) if s.startswith("## Exercises")), len(cells))
    after = range(first + 1, len(cells))
    last = next((i for i in after if sources[i].startswith("## ")), len(cells))
    tasks = [i for i in range(first, last) if re.match(r"\*\*\d+\.", sources[i])]
    faults, solved = [], 0
    for begin, end in zip(tasks, [*tasks[1:], last], strict=True):
        code = [i for i in range(begin, end) if cells[i]["cell_type"] == "code"]
        if not code or not sources[code[0]].startswith("#| eval: false"):
            faults.append(f"no stub under {sources[begin][:40]!r}")
        folded = [cells[i]["metadata"].get("jupyter", {}).get("source_hidden") for i in code[1:]]
        solved += bool(folded)
        if not all(folded):
            faults.append(f"a solution of {sources[begin][:40]!r} is not folded")
    return faults if solved >= 3 else [*faults, f"{solved} exercises with a solution that runs"]


def long_cells(cells: list[dict], most: int = 40) -> list[str]:
    "Exported cells that a reader cannot take in at a glance."
    exported = [c["source"] for c in cells if c["source"][:1] == ["#| export\n"]]
    return [f"{len(s)} lines: {s[1][:50]}" for s in exported if len(s) > most]


def check_form() -> None:
    for path in LESSONS:
        if path.stem[0].isdigit():
            cells = json.loads(path.read_text())["cells"]
            faults = [*exercise_faults(cells), *long_cells(cells)]
            report(f"form of {path.stem}", not faults, "\n".join(faults))


def check_lessons() -> None:
    "Two lessons at a time with one thread each: faster on two cores than one lesson with two."
    jobs = []
    for path in LESSONS:
        lesson = ("nbdev_test", "--path", path, "--n_workers", "0", "--do_print")
        jobs.append((f"lesson {path.stem}", lesson))
        jobs.append(
            (
                f"{path.stem} on the package",
                (sys.executable, ROOT / "tests/lesson_on_package.py", path),
            )
        )

    def one(job):
        start = time.time()
        done = run(*job[1], OMP_NUM_THREADS="1", IN_TEST="1", MPLBACKEND="agg")
        return job[0], done, time.time() - start

    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for name, done, seconds in pool.map(one, jobs):
            report(name, done.returncode == 0, done.stdout, seconds)


def check_tests() -> None:
    global passed, skipped
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "tests.xml"
        pytest = (sys.executable, "-m", "pytest", "tests", "-q", "-rs", f"--junitxml={xml}")
        # One thread a process: threads that spin while they wait for one another can stall for
        # minutes where a browser or a second process takes their core.
        done = run(*pytest, OMP_NUM_THREADS="1")
        print(done.stdout, flush=True)
        if not xml.exists():
            return report("tests/", False, "pytest did not finish")
        suite = ElementTree.parse(xml).getroot().find("testsuite")
        count = {k: int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped")}
    bad = count["failures"] + count["errors"]
    passed += count["tests"] - bad - count["skipped"]
    skipped += count["skipped"]
    failures.extend(f"tests/ ({bad})" for _ in range(bad))


if __name__ == "__main__":
    began = time.time()
    check("ruff check", BIN / "ruff", "check", ".")
    check("ruff format", BIN / "ruff", "format", "--check", ".")
    check("lesson map", sys.executable, ROOT / "tests/lesson_map.py", "--check")
    check_export()
    check_clean()
    check_form()
    check_lessons()
    check_tests()
    print(f"{(time.time() - began) / 60:.1f} minutes", *failures, sep="\n  ")
    print(f"{passed} passed, {len(failures)} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(bool(failures))
