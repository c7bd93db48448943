"""The running table of the course: each lesson adds its row, and later lessons compare with it."""

import json
import os
from pathlib import Path

import numpy as np

from fusion_nb.clips import InputError, project_path
from fusion_nb.metrics import *

SHIPPED_ROWS = project_path("data", "measured", "so_far.json")
_measured_here: dict[tuple[str, str], dict] = {}  # since this kernel was started


def _read_rows(path: Path) -> dict[tuple[str, str], dict]:
    """The rows that a file keeps, by lesson and method; none where there is no file."""
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return {(row["lesson"], row["method"]): row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a table of results; delete it, it is made anew") from error


def _write_rows(path: Path, rows: dict[tuple[str, str], dict]) -> None:
    """Write aside and rename, so that the file is whole whenever it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    lines = ",\n  ".join(json.dumps(row) for row in rows.values())
    what = "so_far() of lesson 03: the course's clip after its first frame"
    part.write_text(f'{{"what": "{what}", "rows": [\n  {lines}\n]}}\n', encoding="utf-8")
    part.replace(path)


def load_results(runs: str | Path | None = None) -> list[dict]:
    """The rows of the running table, in the order of the lessons.

    What ships with the course, and in its place what was measured on this machine: `so_far.json`
    in the folder `runs`, by default the project's.
    """
    own = _read_rows(Path(runs or project_path("runs")) / "so_far.json")
    rows = _read_rows(SHIPPED_ROWS) | own | _measured_here
    return sorted(rows.values(), key=lambda row: row["lesson"])  # keeps the order in a lesson


def save_baseline(target: str | Path = SHIPPED_ROWS) -> None:
    """Keep the table as it is now in the file that ships: for who changes the course."""
    _write_rows(Path(target), {(row["lesson"], row["method"]): row for row in load_results()})


def _line(lesson: str, method: str, psnr, ssim, cdc: float, warp_error: float, seconds) -> str:
    """One line of the running table; what is None stays empty."""
    p, s, t = (
        "" if x is None else f"{x:.{digits}f}" for x, digits in ((psnr, 2), (ssim, 4), (seconds, 3))
    )
    return f"{lesson:6s} {method:40s} {p:>6s} {s:>7s} {cdc:.6f}   {warp_error:.6f}  {t:>9s}"


def table_lines(rows: list[dict]) -> list[str]:
    """Rows of `rows_so_far` as lines of text under a head; what was measured just now is marked."""
    lines = [f"lesson {'method':40s}   PSNR    SSIM      CDC  warp error  s a frame"]
    for row in rows:
        here = (row["lesson"], row["method"]) in _measured_here
        lines.append(_line(**row) + ("  <- new" if here else ""))
    return lines


def record_result(
    lesson: str, method: str, pred: np.ndarray, truth: np.ndarray, seconds: float | None = None
) -> str:
    """Measure a method on the course's clip, keep its row, and give the table up to it as text.

    lesson: "03" or "10b"; the table is in this order. method: a few words. pred, truth: the frames
    after the first (which is the exemplar), `T x H x W x 3` uint8. seconds: a frame, all in all.
    The row goes to `runs/so_far.json`, except in a test (where `IN_TEST` is set).
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
