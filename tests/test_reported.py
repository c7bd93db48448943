"""What users of the Python interface reported: wrong measures, crashes, settings that were lost."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion_nb.clips import InputError, write_picture
from fusion_nb.colorize import colorize_frames, load_system
from fusion_nb.evaluation import evaluate
from fusion_nb.flow import DISFlow
from fusion_nb.metrics import cdc, psnr
from fusion_nb.runs import TrainConfig
from fusion_nb.synthetic import demo_clip
from fusion_nb.system import FusionSystem
from fusion_nb.training import train

SHORT = dict(cpu=True, flow="dis", from_scratch=True, batch_size=1, frames=2, crop_size=40)
SHORT |= dict(clips_per_epoch=2, validation_frames=3, validation_size=48)


def write(folder, frames):
    folder.mkdir()
    for number, frame in enumerate(frames):
        write_picture(folder / f"{number:05d}.png", frame)
    return folder


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, np.ndarray]:
    """A clip of noise, and the same with errors of at most 20 levels."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    errors = random.integers(-20, 21, truth.shape)
    return np.clip(truth + errors, 0, 255).astype(np.uint8), truth


@pytest.mark.parametrize("exact, coloured", [(120, 40), (119, 2), (121, 40), (0, 40), (3, 0)])
def test_frames_equal_to_the_truth_do_not_count(tmp_path, noisy, exact, coloured):
    """Also where they fill a chunk of the reader, which has 120 frames at this size."""
    pred, truth = noisy
    leader = np.tile(truth, (4, 1, 1, 1))[:exact]
    ours = write(tmp_path / "pred", [*leader, *pred[:coloured]])
    theirs = write(tmp_path / "truth", [*leader, *truth[:coloured]])
    scores = evaluate(ours, theirs)
    assert scores["frames"] == exact + coloured
    assert scores["left_out"] == (exact if coloured else 0)
    each = [psnr(a, b) for a, b in zip(pred[:coloured], truth[:coloured], strict=True)] or [100]
    assert scores["psnr"] == pytest.approx(np.mean(each))


def test_no_pair_of_frames_is_lost_between_chunks(tmp_path, noisy, monkeypatch):
    """A last chunk of a single frame counted as a pair without any difference."""
    pred, truth = (np.repeat(np.repeat(x[:10], 2, 1), 2, 2) for x in noisy)
    folders = write(tmp_path / "pred", pred), write(tmp_path / "truth", truth)
    whole = evaluate(*folders)
    monkeypatch.setattr("fusion_nb.evaluation._MOST_FRAMES", 9)
    parts = evaluate(*folders)
    assert whole["cdc"] == pytest.approx(cdc(pred)) and parts["frames"] == 10
    for name in ("cdc", "cdc_truth", "warp_error", "colorfulness", "psnr", "ssim"):
        assert parts[name] == pytest.approx(whole[name], rel=0.02), name


def test_a_flow_that_is_not_finite_does_not_reach_opencv():
    """It read outside of the picture, and the process was gone."""
    picture = torch.zeros(1, 1, 64, 64)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            DISFlow()(picture, picture, init=torch.full((1, 2, 64, 64), value))


def test_threads_are_restored_by_streams_that_overlap():
    system, clip = load_system("tiny"), demo_clip()[:4, ::2, ::2]
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        one, two = (colorize_frames(clip, clip[0], system) for _ in range(2))
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(first, second)
        assert torch.get_num_threads() == 6
        abandoned = colorize_frames(clip, clip[0], system)
        next(abandoned)
        assert torch.get_num_threads() == 2
        abandoned.close()
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(before)


def test_a_system_in_training_mode_colours_without_dropout():
    system = FusionSystem("base", pretrained=False, flow=DISFlow())
    clip = demo_clip()[:2, ::3, ::3]
    first = list(colorize_frames(clip, clip[0], system))
    system.train()
    for frame, again in zip(first, colorize_frames(clip, clip[0], system), strict=True):
        np.testing.assert_array_equal(frame, again)


def test_training_in_bfloat16_on_a_cpu(tmp_path):
    result = train(TrainConfig(**SHORT, steps=1, mixed_precision="bf16", runs_dir=str(tmp_path)))
    losses: list[Tensor] = [row["loss"] for row in result.history if row["kind"] == "step"]
    assert len(losses) == 1 and np.isfinite(losses).all()


def test_what_a_resumed_run_cannot_obey_is_refused(tmp_path):
    config = dict(SHORT, runs_dir=str(tmp_path), run_name="run")
    with pytest.raises(InputError, match="no run to resume"):
        train(TrainConfig(**config, steps=1, resume=True))
    train(TrainConfig(**config, steps=1))
    for change in (dict(fusion="simple"), dict(preset="base"), dict(from_scratch=False)):
        with pytest.raises(InputError, match="keeps its networks.*" + next(iter(change))):
            train(TrainConfig(**config | change, steps=2, resume=True))
    result = train(TrainConfig(**config, steps=2, resume=True))
    assert [row["step"] for row in result.history if row["kind"] == "step"] == [1, 2]
