"""Shots as old films have them: dissolves, black, a shot that comes back, flat frames."""

import warnings

import cv2
import numpy as np
import pytest

from fusion_nb.clips import sample_photos
from fusion_nb.colorize import load_system
from fusion_nb.cuts import CutFinder
from fusion_nb.shots import ColorizeConfig, ExemplarSet, FrameColorizer, GrayFrame, ShotColorizer


def shot(name: str, count: int) -> np.ndarray:
    """A slow pan over a photo."""
    photo = cv2.resize(sample_photos()[name], (140, 72), interpolation=cv2.INTER_AREA)
    return np.stack([photo[:, t // 2 : t // 2 + 112] for t in range(count)])


@pytest.fixture(scope="module")
def system():
    return load_system("tiny")


def colored(system, frames, exemplars, earlier=(), **config):
    """The frames as they come out of `ShotColorizer`; `earlier`: as an earlier run coloured them."""
    colorizer = FrameColorizer(system, ColorizeConfig(size=64, **config))
    shots = ShotColorizer(colorizer, ExemplarSet(system, exemplars))
    grays = (GrayFrame.from_picture(f, n, 64) for n, f in enumerate(frames))
    return list(shots.frames(CutFinder().mark(grays, GrayFrame), earlier)), shots


def test_dissolve_changes_the_exemplar(system):
    a, b, share = (
        shot("coffee", 16),
        shot("chelsea", 40),
        np.linspace(0, 1, 12)[:, None, None, None],
    )
    mixed = (a[4:] * (1 - share) + b[:12] * share).astype(np.uint8)
    made, _ = colored(system, [*a[:4], *mixed, *b[12:]], [a[0], b[20]])
    assert [x.gray.number for x in made if x.cut] == [0]
    assert made[0].exemplar == 0 and {x.exemplar for x in made[-10:]} == {1}


def test_black_and_flat_frames(system):
    """Black leader, a fade in and out, black, and white: one scene, no warning, nothing weak."""
    a = shot("coffee", 16)
    light = np.concatenate([np.zeros(2), np.linspace(0, 1, 6), np.linspace(1, 0, 6), np.zeros(2)])
    frames = [(f * s).astype(np.uint8) for f, s in zip(a, light, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        made, _ = colored(system, [*frames, np.full_like(a[0], 255)], [a[7]])
    assert [x.gray.number for x in made if x.cut] == [0] and not any(x.weak for x in made[:3])
    chroma = [float(np.abs(x.ab).mean()) for x in made]
    assert chroma[13] < chroma[8]  # colours shrink with the light
    assert np.isfinite(chroma).all() and made[-1].ab.shape == made[0].ab.shape


def test_shot_that_comes_back(system):
    a, b = shot("coffee", 9), shot("chelsea", 6)
    made, shots = colored(system, [*a[:4], *b[:3], *a[4:8], *b[3:]], [a[0], b[0]])
    assert [x.gray.number for x in made if x.cut] == [0, 4, 7, 11]
    assert [made[n].exemplar for n in (0, 4, 7, 11)] == [0, 1, 0, 1]
    assert not shots.shot.start < 11 and len(shots.earlier) == 1  # two shots, not four


def test_resumed_shot_comes_back(system):
    """It has the colours of the earlier run, here false ones, and not those of the exemplar."""
    a, b = shot("coffee", 8), shot("chelsea", 6)
    frames, earlier = [*a[:4], *b[:3], *a[4:], *b[3:]], [*a[:4, ..., ::-1], *b[:2]]
    made, shots = colored(system, frames, [a[0], b[0]], earlier, propagation=1)
    assert [isinstance(x, GrayFrame) for x in made] == [True] * 6 + [False] * 8
    assert [x.gray.number for x in made[6:] if x.cut] == [7, 11] and len(shots.earlier) == 1
    chroma = made[7].ab.reshape(-1, 2)
    truth, false = (
        cv2.cvtColor(x.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 1:]
        for x in (a[4], a[4, ..., ::-1])
    )
    far, near = (
        np.abs(cv2.resize(x, made[7].ab.shape[1::-1]).reshape(-1, 2) - chroma).mean()
        for x in (truth, false)
    )
    assert near < far / 2
