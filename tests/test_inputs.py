"""What is given wrongly is refused in a sentence; other kinds of the same number or path work."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_nb.clips import InputError, write_picture
from fusion_nb.color import lab_to_rgb, rgb_to_lab, show_images
from fusion_nb.cuts import thumbnail
from fusion_nb.datasets import ClipFolder
from fusion_nb.fusion import BlendFusion
from fusion_nb.losses import FusionLoss, contextual_loss, generator_loss
from fusion_nb.metrics import cdc, evaluate_clip, reference_flows, ssim, warp_error
from fusion_nb.runs import TrainConfig
from fusion_nb.shots import (
    ColorizeConfig,
    ExemplarSet,
    FrameColorizer,
    GrayFrame,
    ShotColorizer,
    check_exemplar,
    lightness,
)
from fusion_nb.studio import stroke_features
from fusion_nb.synthetic import SyntheticClips, motorcycle_clip, synthetic_clip
from fusion_nb.system import FusionSystem

WHOLE = np.zeros((3, 16, 16, 3), np.uint8)
SMALL = np.zeros((6, 9, 3), np.uint8)
PHOTO = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
ONLY = "l1=0,perceptual=0,contextual=0"


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return FusionSystem("tiny", fusion_net=BlendFusion(4, 3), pretrained=False).eval()


def refuses(message, call, *args, error=ValueError, **options):
    with pytest.raises(error, match=message):
        call(*args, **options)


@pytest.mark.parametrize(
    ("message", "call", "args"),
    [
        ("float tensor, got torch.int64", rgb_to_lab, [torch.zeros(3, 4, 4, dtype=torch.int64)]),
        ("float tensor, got torch.bool", rgb_to_lab, [torch.zeros(3, 4, 4, dtype=torch.bool)]),
        ("float tensor, got torch.uint8", lab_to_rgb, [torch.zeros(3, 4, 4, dtype=torch.uint8)]),
        ("no pictures", show_images, [[]]),
        ("at least one frame", motorcycle_clip, [0]),
        ("at least one frame", synthetic_clip, [[PHOTO], 1.5]),
        ("at least one frame", SyntheticClips, [4, 0]),
        ("size 32: give", synthetic_clip, [[PHOTO], 1, 32]),
        ("give .height, width", synthetic_clip, [[PHOTO], 1, (0, 32)]),
        ("give .height, width", motorcycle_clip, [1, (32, 0)]),
        ("give RGB uint8", synthetic_clip, [[PHOTO[..., 0]], 1]),
        ("give RGB uint8", synthetic_clip, [[PHOTO[..., [0, 1, 2, 2]]], 1]),
        ("give RGB uint8", synthetic_clip, [[PHOTO / 255], 1]),
        ("7 x 7 or more, got 6 x 9", ssim, [SMALL, SMALL]),
        ("distance 0", cdc, [WHOLE, (0,)]),
        ("distance -1", cdc, [WHOLE, (1, -1)]),
        ("expected uint8", evaluate_clip, [WHOLE, WHOLE / 255]),
        ("expected uint8", reference_flows, [WHOLE / 255]),
        ("the same B and C", contextual_loss, [torch.rand(n, 4, 3, 3) for n in (2, 1)]),
        ("float64 .32, 32, 3.; give uint8", lightness, [PHOTO / 255]),
        ("give uint8", lightness, [PHOTO[..., [0, 1, 2, 2]]]),
        ("give uint8", GrayFrame.from_picture, [PHOTO[:, :0], 0, None]),
        ("give uint8", check_exemplar, [PHOTO[:, :0], "a.png"]),
    ],
)
def test_wrong_arrays_are_refused(message, call, args):
    refuses(message, call, *args)


def test_losses_take_tensors_of_any_precision():
    refuses("give tensors, not list", generator_loss, [1.0], [2.0], error=TypeError)
    clip = rgb_to_lab(PHOTO)[None].expand(1, 2, -1, -1, -1)
    value = FusionLoss()(clip.half(), clip.half(), exemplar=clip[:, 0].half())
    assert value.isfinite()


def test_other_kinds_of_good_input(tmp_path):
    pixel = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert rgb_to_lab(pixel).dtype == torch.float32
    item = SyntheticClips(4, 1, np.int64(32), photos=[PHOTO], flow=True)[0]
    assert item["flow_backward"].shape == (0, 2, 32, 32)
    assert item["occlusion"].shape == (0, 1, 32, 32) and item["occlusion"].dtype == torch.bool
    item = SyntheticClips(4, 3, 32, photos=[PHOTO], flow=True)[0]
    assert item["flow_backward"].dtype == torch.float32 and len(item["occlusion"]) == 2
    for n in range(2):
        write_picture(tmp_path / "clip" / f"{n}.png", PHOTO)
    sample = ClipFolder(tmp_path, 2, np.int64(16))[0]
    assert sample["lab"].shape == (2, 3, 16, 16)
    flows = torch.zeros(2, 2, 16, 16, requires_grad=True)
    assert warp_error(WHOLE, flows) == 0
    assert thumbnail(np.zeros((40, 60), np.uint8)).dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(steps="2"), "--steps '2': must be a whole number"),
        (dict(steps=2.5), "--steps 2.5: must be a whole number"),
        (dict(batch_size=1.5), "--batch_size 1.5"),
        (dict(batch_size=None), "--batch_size None"),
        (dict(match_lr="1"), "--match_lr '1': must be a number"),
        (dict(run_name=".."), "--run_name"),
        (dict(run_name="."), "--run_name"),
        (dict(run_name="a/b"), "--run_name a/b"),
        (dict(loss_weights=f"{ONLY},temporal=0", gan_start_epoch=3), "some steps have no loss"),
        (dict(loss_weights=f"{ONLY},adversarial=0", frames=1), "some steps have no loss"),
        (dict(loss_weights=ONLY, frames=5, bptt_frames=4), "some steps have no loss"),
    ],
)
def test_wrong_settings_of_a_run_are_refused(settings, message):
    refuses(message, TrainConfig(**settings).resolve, error=InputError)


def test_settings_of_a_run_may_be_paths_and_numbers_of_numpy():
    config = TrainConfig(dataset=Path("a"), runs_dir=Path("b"), steps=np.int64(3)).resolve()
    assert (config.dataset, config.runs_dir) == ("a", "b") and type(config.steps) is int
    TrainConfig(loss_weights=ONLY).resolve()
    TrainConfig(loss_weights=f"{ONLY},temporal=0", gan_start_epoch=1).resolve()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(size="64"), "size '64': give a whole number"),
        (dict(propagation="1"), "propagation '1': give a number"),
        (dict(look_back=1.5), "look_back 1.5"),
        (dict(look_back=-1), "look_back -1"),
    ],
)
def test_wrong_settings_of_colours_are_refused(settings, message):
    refuses(message, ColorizeConfig, **settings, error=InputError)


@pytest.mark.parametrize(
    "mask",
    [
        np.full((4, 4), 2.0),
        np.full((4, 4), np.nan),
        np.full((4, 4), -0.1),
        np.zeros((0, 4)),
        "mask.png",
        Path("mask.png"),
    ],
)
def test_wrong_masks_are_refused(system, mask):
    refuses("the mask of trust", ExemplarSet, system, [PHOTO], mask, error=InputError)


def test_shots_check_what_they_get(system):
    assert ExemplarSet(system, [PHOTO], np.full((4, 4), 255, np.uint8)).trust.max() == 1
    assert ColorizeConfig(size=np.int64(64)).size == 64
    colorizer, exemplars = FrameColorizer(system, ColorizeConfig()), ExemplarSet(system, [PHOTO])
    for frame, number in ((-1, 0), (1.5, 0), ("1", 0), (0, 0.5)):
        refuses("frame", ShotColorizer, colorizer, exemplars, {frame: number}, error=InputError)


def test_the_system_checks_a_whole_clip(system):
    clip, exemplar = torch.zeros(2, 2, 1, 32, 32), torch.zeros(1, 3, 32, 32)
    bad = exemplar.clone()
    bad[0, 0, 0, 0] = torch.inf
    refuses("the clip is empty", system, clip[:, :0], exemplar)
    refuses("the clip is empty", system, clip[:0], exemplar)
    refuses("the frames have NaN", system, clip + torch.nan, exemplar)
    refuses("the exemplar has NaN or inf", system, clip, bad)
    refuses("the exemplar has NaN or inf", system.encode_exemplar, [exemplar, bad])
    refuses("the exemplar is empty", system, clip, [])
    refuses("the exemplar is empty", system.encode_exemplar, exemplar[:0])
    refuses("3 exemplars for 2 clips", system, clip, exemplar.expand(3, -1, -1, -1))
    with torch.no_grad():
        assert system(clip, exemplar).lab.shape == (2, 2, 3, 32, 32)


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_features_of_tiny_frames_are_numbers(system, size):
    assert stroke_features(system, torch.rand(1, 1, *size)).isfinite().all()
