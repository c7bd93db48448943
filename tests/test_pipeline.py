"""Colouring with work ahead of the frames: the results of a plain loop, and its errors."""

import numpy as np
import pytest
import torch

from fusion_nb.clips import InputError
from fusion_nb.colorize import colorize_frames, load_system
from fusion_nb.inference import LookAhead
from fusion_nb.shots import ColorizeConfig, ExemplarSet, FrameColorizer, GrayFrame, ShotColorizer
from fusion_nb.synthetic import demo_clip


@pytest.fixture(scope="module")
def system():
    return load_system("tiny")


@pytest.fixture
def one_thread():
    """Sums of the same numbers in another order differ in their last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_pipeline_changes_nothing(system, one_thread):
    """Over a cut, back again, a recent frame that is chosen anew, and a frame that is bound."""
    clip = demo_clip()[:14, ::2, ::2]
    other = np.ascontiguousarray(255 - clip[:3, :, ::-1])
    film, exemplars = np.concatenate([clip[:3], other, clip[3:]]), [clip[0], other[0], clip[9]]
    how = dict(bound={12: 2}, size=96)
    made = list(colorize_frames(film, exemplars, system, **how))
    colorizer = FrameColorizer(system, ColorizeConfig(size=96))
    shots = ShotColorizer(colorizer, ExemplarSet(system, exemplars), how["bound"])
    grays = (GrayFrame.from_picture(f, n, colorizer.longest) for n, f in enumerate(film))
    plain = list(shots.frames(grays))
    assert sum(frame.cut for frame in plain) == 3 and plain[12].known
    for one, frame in zip(made, plain, strict=True):
        assert np.array_equal(one, frame.render())


def test_work_ahead_ends_with_the_frames(system):
    """After the last frame, after an error in the source, and after a reader that leaves early."""
    clip = demo_clip()[:4, ::2, ::2]

    def broken():
        yield from clip[:3]
        raise InputError("frame 3 is damaged")

    threads = torch.get_num_threads()
    with pytest.raises(InputError, match="frame 3"):
        list(colorize_frames(broken(), clip[0], system, size=32))
    early = colorize_frames(clip, clip[0], system, size=32)
    next(early)
    early.close()
    assert torch.get_num_threads() == threads


def test_an_error_ahead_is_raised_at_its_frame(system, monkeypatch):
    frames = [torch.zeros(1, 1, 32, 32) for _ in range(6)]
    match = system.match

    def fails(l, state):
        if l is frames[3]:
            raise MemoryError("frame 3")
        return match(l, state)

    monkeypatch.setattr(system, "match", fails)
    done = 0
    with pytest.raises(MemoryError, match="frame 3"):
        for _ in LookAhead(system).stream(frames, torch.zeros(1, 3, 32, 32)):
            done += 1
    assert done == 3
