"""The studio without a browser: the strokes of a hand, its project folder, and the film."""

import json

import numpy as np
import pytest
import torch

from fusion_nb.clips import project_path, read_clip, write_video
from fusion_nb.studio import Stroke, Studio, StudioProject, colorize_strokes, stroke_features
from fusion_nb.synthetic import demo_clip
from fusion_nb.system import FusionSystem

RED = {"points": [[0.45, 0.42], [0.6, 0.42]], "color": "#c02018", "width": 0.02}
GREY = {"points": [[0.5, 0.9]], "color": "#808080", "width": 0.03}


@pytest.fixture(scope="module")
def system() -> FusionSystem:
    return FusionSystem(preset="tiny")


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mkv"
    write_video(path, demo_clip()[:6], 25, codec="ffv1")
    return path


def test_strokes_color_what_they_lie_on(system):
    l = torch.linspace(-0.8, 0.8, 96 * 128).view(1, 1, 96, 128)
    stroke = Stroke([(0.2, 0.5), (0.4, 0.5)], (0.4, 0.2))
    features = stroke_features(system, l)
    lab = colorize_strokes(l, [stroke], features)
    assert lab.shape == (1, 3, 96, 128) and lab.isfinite().all()
    assert torch.equal(lab[:, :1], l)
    assert lab[0, 1, torch.from_numpy(stroke.mask((96, 128)))].mean() > 0.2
    assert not colorize_strokes(l, [], features)[:, 1:].any()


def test_correction_leaves_the_rest_bit_for_bit(system):
    l = torch.linspace(-0.8, 0.8, 96 * 128).view(1, 1, 96, 128)
    start = torch.cat([l, torch.rand(1, 2, 96, 128) - 0.5], 1)
    stroke = Stroke([(0.1, 0.1)], (0.4, 0.2))
    lab = colorize_strokes(l, [stroke], stroke_features(system, l), start)
    assert torch.equal(lab[..., 64:, 64:], start[..., 64:, 64:])
    assert not torch.equal(lab, start)


def test_project_is_reopened_where_it_was_left(film, system):
    studio = Studio(film, system=system)
    studio.canvas.strokes = [RED]
    studio.canvas.strokes = [RED, GREY]
    studio.undo()
    assert studio.canvas.strokes == [RED]
    studio.redo()
    assert studio.canvas.strokes == [RED, GREY]
    again = Studio(film, system=system)
    assert again.canvas.strokes == [RED, GREY]
    assert again.canvas.picture == studio.canvas.picture
    stored = json.loads((film.with_suffix(".studio") / "project.json").read_text())
    assert stored["strokes"] == {"0": [RED, GREY]}
    again.clear()
    assert StudioProject(film).strokes == {}


def test_export_and_a_later_correction(film, system):
    studio = Studio(film, system=system)
    studio.export()
    studio._thread.join()
    assert "not exported" in studio.status.value  # nothing is painted yet
    studio.canvas.strokes = [RED]
    studio.export()
    studio._thread.join()
    assert "fusion_colorize" in studio.status.value
    first = read_clip(studio.project.output)
    assert len(first) == 6 and np.ptp(first[3].astype(int), axis=2).max() > 30
    studio.frame.value = 4
    assert studio.start is not None and studio.canvas.strokes == []
    studio.canvas.strokes = [GREY]
    assert [seconds for seconds, _ in studio.project.exemplars()] == [0.0, 0.16]
    assert Studio(film, system=system).project.read_start(4) is not None


def test_a_film_that_cannot_be_read_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="missing"):
        Studio(tmp_path / "missing.mp4")


def test_demo_film_opens(tmp_path, system):
    assert Studio(project_path("data", "demo", "gray.mp4"), tmp_path, system).canvas.picture
