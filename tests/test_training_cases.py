"""Trainings that a user can set up wrongly, or that a machine ends: one line each, never silence."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro_system import micro_config, write_micro_system
from typer.testing import CliRunner

from fusion_nb import runs
from fusion_nb.clips import InputError, write_picture
from fusion_nb.commands import fusion_shards, train_app
from fusion_nb.datasets import ClipFolder, open_clips
from fusion_nb.runs import RunFolder, TrainConfig, last_checkpoint, read_metrics
from fusion_nb.synthetic import synthetic_clip
from fusion_nb.system import FusionSystem
from fusion_nb.training import train

SHORT = dict(steps=4, save_every=2, clips_per_epoch=6, gan_start_epoch=2)


def write_clips(folder: Path, clips: int = 2, frames: int = 4) -> None:
    for c in range(clips):
        for t, frame in enumerate(synthetic_clip(frames=frames, size=(40, 40), seed=c).rgb):
            write_picture(folder / f"clip{c}" / f"{t:05d}.jpg", frame)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(init="x", fusion="unet"), "--fusion"),
        (dict(init="x", flow="dis"), "--flow"),
        (dict(init="x", preset="base"), "--preset"),
        (dict(init="x", memflow_ckpt="m"), "--memflow_ckpt"),
        (dict(init="x", swintexco_ckpt="s"), "--swintexco_ckpt"),
        (dict(imagenet="x"), "--imagenet: needs a --dataset"),
        (dict(grad_clip=0), "--grad_clip"),
        (dict(loss_weights="l1=nan"), "--loss_weights"),
        (dict(loss_weights="l1=-1"), "--loss_weights"),
        (
            dict(loss_weights="l1=0,perceptual=0,contextual=0,temporal=0,adversarial=0"),
            "not all 0",
        ),
        (dict(max_minutes=-1), "--max_minutes"),
        (dict(match_lr=-1), "--match_lr"),
        (dict(fusion_lr=float("nan")), "--fusion_lr"),
        (dict(dropout=2), "--dropout"),
        (dict(steps=1, epochs=1), "--epochs"),
    ],
)
def test_a_setting_is_obeyed_or_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings).resolve()


def test_own_clips_start_from_shipped_weights():
    """Only `from_scratch` gives random weights."""
    assert TrainConfig(dataset="x").mode() == TrainConfig(init="x").mode() == "finetune"
    assert TrainConfig(dataset="x", from_scratch=True).mode() == "scratch"
    assert TrainConfig(dataset="x", memflow_ckpt="m").mode() == "scratch"  # the guide's strategy 2


def test_names_of_datasets(tmp_path):
    write_clips(tmp_path / "A"), write_clips(tmp_path / "B")
    opened = open_clips(f"{tmp_path / 'A'}, {tmp_path / 'B'}", 2, 32)
    assert sum(map(len, opened)) == 8
    with pytest.raises(InputError, match="an empty name"):
        open_clips(f"{tmp_path / 'A'},", 2, 32)


def test_clutter_is_passed_over_and_counted(tmp_path):
    write_clips(tmp_path)
    frame = synthetic_clip(frames=1, size=(40, 40)).rgb[0]
    for name in (".hidden", "@eaDir", "__MACOSX"):
        write_picture(tmp_path / name / "0.jpg", frame)
    (tmp_path / "clip0" / "up").symlink_to(tmp_path)
    data = ClipFolder(tmp_path, 2, 32)
    assert (len(data.clips), data.ignored) == (2, 4)


HEADER = "video_name,prev_frame,current_frame,flow_forward_name,mask_name,r1,r2,r3,r4,r5"


@pytest.mark.parametrize(
    ("table", "encoding", "message"),
    [
        (f"{HEADER}\nclip0,0.jpg,1.jpg,f,m,a.png,a.png,a.png,a.png,a.png\n\n , ,\n", "utf-8", None),
        (f"{HEADER}\nclip0,0.jpg,1.jpg,f,m,a.png\n", "utf-8", "line 2 lacks a column"),
        (
            f"{HEADER}\ncaf\u00e9,0.jpg,1.jpg,f,m,a.png,a.png,a.png,a.png,a.png\n",
            "latin-1",
            "UTF-8",
        ),
        ("clip,frame\n", "utf-8", "the header"),
    ],
)
def test_tables_of_exemplars(tmp_path, table, encoding, message):
    write_clips(tmp_path / "set")
    write_picture(tmp_path / "net" / "a.png", synthetic_clip(frames=1, size=(40, 40)).rgb[0])
    (tmp_path / "set" / "pairs.csv").write_text(table, encoding=encoding)
    if message is None:
        assert ClipFolder(tmp_path / "set", 2, 32, tmp_path / "net").missing == 1
        return
    with pytest.raises(InputError, match=message):
        ClipFolder(tmp_path / "set", 2, 32, tmp_path / "net")


def test_commands_take_both_spellings(tmp_path):
    write_clips(tmp_path / "clips")
    for flag in ("--on_missing", "--on-missing"):
        line = [str(tmp_path / "clips"), "-o", str(tmp_path / flag), "--frames", "2", flag, "skip"]
        answer = CliRunner().invoke(fusion_shards, line)
        assert answer.exit_code == 0, answer.output
    answer = CliRunner().invoke(train_app(), ["--grad-clip", "0"])
    assert (answer.exit_code, answer.output.count("\n")) == (2, 1)
    assert answer.output.startswith("error: --grad_clip 0")


def test_resumes_from_its_checkpoint_alone(tmp_path):
    """Without the files it began with, and without best/; a finished run adds no line."""
    write_micro_system(tmp_path)
    config = micro_config(tmp_path, "run", **SHORT)
    train(config)
    shutil.rmtree(tmp_path / "micro")
    folder = tmp_path / "run"
    before = read_metrics(folder / "metrics.jsonl")
    shutil.rmtree(folder / "best")
    train(replace(config, resume=True))
    after = read_metrics(folder / "metrics.jsonl")
    assert (folder / "best" / "config.json").exists()
    assert [(r["kind"], r["step"]) for r in before] == [(r["kind"], r["step"]) for r in after]
    train(replace(config, resume=True, steps=6))
    assert last_checkpoint(folder / "checkpoints")[1]["progress"]["step"] == 6


def test_what_a_training_spoils_is_not_the_best(tmp_path, capfd):
    spoil = dict(init=None, preset="tiny", fusion_lr=1.0, warmup=0)
    train(micro_config(tmp_path, "run", **SHORT | spoil))
    best = FusionSystem.from_pretrained(tmp_path / "run" / "best").state_dict()
    for name, tensor in FusionSystem(preset="tiny").state_dict().items():
        assert torch.equal(tensor, best[name]), name
    assert "No validation was better than the start" in "".join(capfd.readouterr())


def test_a_second_run_of_one_name_is_refused(tmp_path):
    config = micro_config(tmp_path, "run")
    folder = RunFolder.create(config)
    code = (
        "import sys; from pathlib import Path; from fusion_nb.clips import InputError\n"
        "from fusion_nb.runs import RunFolder\n"
        "try:\n"
        "    with RunFolder(Path(sys.argv[1])).locked(): print('free')\n"
        "except InputError as error: print(error)\n"
    )

    def other_process() -> str:
        command = [sys.executable, "-c", code, str(folder.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with folder.locked():
        assert "another training" in other_process()
    assert other_process() == "free\n"


def test_a_full_disk_is_one_line_and_the_run_resumes(tmp_path, monkeypatch):
    write_micro_system(tmp_path)
    config = micro_config(tmp_path, "run", **SHORT)
    save, saves = runs.save_file, []

    def full(*args, **kwargs):
        saves.append(1)
        if len(saves) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(*args, **kwargs)

    monkeypatch.setattr(runs, "save_file", full)
    with pytest.raises(InputError, match="cannot be written .*No space left"):
        train(config)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    train(replace(config, resume=True))
    tensors, metadata = last_checkpoint(tmp_path / "run" / "checkpoints")
    assert metadata["progress"]["step"] == 4
    assert all(t.isfinite().all() for t in tensors.values() if torch.is_floating_point(t))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 4
