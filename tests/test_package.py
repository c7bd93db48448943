"""A wheel, and one made from the sdist, work away from the clone and bring the weights."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

COLOR = """
import sys, numpy as np, torch
import fusion_nb
from fusion_nb.clips import iter_clip, read_picture
from fusion_nb.colorize import colorize_frames
from fusion_nb.system import FusionSystem
torch.set_num_threads(1)
gray, exemplar, out = sys.argv[1:]
frames = [f for f, _ in zip(iter_clip(gray), range(4))]
system = FusionSystem(preset="tiny")
np.save(out, np.stack(list(colorize_frames(frames, read_picture(exemplar), system=system))))
print(fusion_nb.__file__)
"""


def python(*arguments: object, cwd: Path, **environment: str) -> str:
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def color_demo(package: Path, folder: Path, name: str) -> np.ndarray:
    """Colour four frames of the demo with the package in a folder, run from elsewhere."""
    demo = ROOT / "data" / "demo"
    out = folder / f"{name}.npy"
    arguments = ("-c", COLOR, demo / "gray.mp4", demo / "exemplar.png", out)
    printed = python(*arguments, cwd=folder, PYTHONPATH=str(package))
    assert Path(printed.split()[-1]).is_relative_to(package)
    return np.load(out)


@pytest.fixture(scope="module")
def tracked_copy(tmp_path_factory) -> Path:
    """Copy the tracked files, so that nothing built here earlier gets into a wheel."""
    target = tmp_path_factory.mktemp("clone")
    names = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists() and not name.startswith("nbs/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


@pytest.fixture(scope="module")
def installed(tracked_copy, tmp_path_factory) -> dict[str, Path]:
    """Folders into which the wheel and the sdist were installed, without their dependencies."""
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--no-isolation", "-o", folder, "-s", "-w", tracked_copy, cwd=folder)
    archives = {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}
    for name, archive in archives.items():
        target = ("--no-deps", "--no-build-isolation", "--target", folder / name)
        python("-m", "pip", "install", "-q", *target, archive, cwd=folder)
    return {name: folder / name for name in archives}


def test_wheel_and_sdist_color_as_the_clone_does(installed, tmp_path):
    expected = color_demo(ROOT, tmp_path, "clone")
    for name, package in installed.items():
        assert (color_demo(package, tmp_path, name) == expected).all()


def test_metadata(installed):
    for package in installed.values():
        assert (package / "fusion_nb" / "py.typed").exists()
        (metadata,) = package.glob("*.dist-info/METADATA")
        text = metadata.read_text(encoding="utf-8")
        for field in ("Author", "Home-page", "Description-Content-Type", "Requires-Dist: numpy"):
            assert f"\n{field}" in text
