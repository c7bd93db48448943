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
    """The files that are tracked, so that nothing built here earlier gets into a wheel."""
    target = tmp_path_factory.mktemp("clone")
    names = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists() and not name.startswith("nbs/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def test_wheel_and_sdist_color_as_the_clone_does(tracked_copy, tmp_path):
    build = ("-m", "build", "--no-isolation", "--outdir", tmp_path / "dist")
    python(*build, "--sdist", "--wheel", tracked_copy, cwd=tmp_path)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    expected = color_demo(ROOT, tmp_path, "clone")
    install = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target")
    for name, archive in {"wheel": next((tmp_path / "dist").glob("*.whl")), "sdist": sdist}.items():
        python(*install, tmp_path / name, archive, cwd=tmp_path)
        assert (color_demo(tmp_path / name, tmp_path, name) == expected).all()
        assert (tmp_path / name / "fusion_nb" / "py.typed").exists()


def test_metadata(tracked_copy, tmp_path):
    build = ("-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path)
    python(*build, tracked_copy, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    python("-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "w", wheel, cwd=tmp_path)
    (metadata,) = (tmp_path / "w").glob("*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    for field in ("Author", "Home-page", "Description-Content-Type", "Requires-Dist: numpy"):
        assert f"\n{field}" in text
