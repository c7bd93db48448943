"""The running table of the course: each lesson adds its rows, and later lessons compare with them.

What ships with the course is in `data/measured/so_far.json`. What a lesson measures on this machine
goes to `runs/so_far.json` and takes the place of the shipped row, except in tests (`IN_TEST`).
"""

import json
import os
from pathlib import Path

import numpy as np

from fusion_nb.clips import InputError, atomic_write, project_path
from fusion_nb.metrics import evaluate_clip

SHIPPED_ROWS = project_path("data", "measured", "so_far.json")
Rows = dict[tuple[str, str], dict]  # by lesson and method
_measured_here: Rows = {}  # since this kernel was started


def _read_rows(path: Path) -> Rows:
    """Return the rows of a file; none where it does not exist."""
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return {(row["lesson"], row["method"]): row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a table of results. Delete it.") from error


def _write_rows(path: Path, rows: Rows) -> None:
    lines = ",\n  ".join(json.dumps(row) for row in rows.values())
    what = "load_results(): the course's clip after its first frame"
    with atomic_write(path) as part:
        part.write_text(f'{{"what": "{what}", "rows": [\n  {lines}\n]}}\n', encoding="utf-8")


def load_results(runs: str | Path | None = None) -> list[dict]:
    """Return the rows of the running table in the order of the lessons.

    runs: the folder that holds this machine's `so_far.json`, by default the project's `runs`.
    """
    own = _read_rows(Path(runs or project_path("runs")) / "so_far.json")
    rows = _read_rows(SHIPPED_ROWS) | own | _measured_here
    return sorted(rows.values(), key=lambda row: row["lesson"])  # keeps the order in a lesson


def save_baseline(target: str | Path = SHIPPED_ROWS) -> None:
    """Store the current table as the one that ships, for authors of the course."""
    _write_rows(Path(target), {(row["lesson"], row["method"]): row for row in load_results()})


def _line(lesson: str, method: str, psnr, ssim, cdc: float, warp_error: float, seconds) -> str:
    columns = ((psnr, 2), (ssim, 4), (seconds, 3))
    p, s, t = ("" if x is None else f"{x:.{digits}f}" for x, digits in columns)
    return f"{lesson:6s} {method:40s} {p:>6s} {s:>7s} {cdc:.6f}   {warp_error:.6f}  {t:>9s}"


def table_lines(rows: list[dict]) -> list[str]:
    """Return rows of `load_results` as lines of text; rows of this kernel are marked as new."""
    lines = [f"lesson {'method':40s}   PSNR    SSIM      CDC  warp error  s a frame"]
    for row in rows:
        here = (row["lesson"], row["method"]) in _measured_here
        lines.append(_line(**row) + ("  <- new" if here else ""))
    return lines


def record_result(
    lesson: str, method: str, pred: np.ndarray, truth: np.ndarray, seconds: float | None = None
) -> str:
    """Measure a method on the course's clip, keep its row, and return the table up to it as text.

    lesson: its number, "04"; the table is sorted by it. method: a few words. pred, truth: the
    frames after the first (which is the exemplar), uint8 `T x H x W x 3`. seconds: per frame.
    """
    measured = evaluate_clip(pred, truth)
    names = ("psnr", "ssim", "cdc", "warp_error")
    kept = {name: float(f"{measured[name]:.6g}") for name in names}
    seconds = None if seconds is None else round(seconds, 4)
    row = dict(lesson=lesson, method=method, **kept, seconds=seconds)
    _measured_here[lesson, method] = row
    if not os.environ.get("IN_TEST"):
        own = project_path("runs", "so_far.json")
        _write_rows(own, _read_rows(own) | {(lesson, method): row})
    rows = load_results()
    lines = table_lines(rows[: rows.index(row) + 1])
    steady = measured["cdc_truth"], measured["warp_error_truth"]
    return "\n".join([*lines, _line("", "(the truth)", None, None, *steady, None)])
