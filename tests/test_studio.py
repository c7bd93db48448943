"""The studio without a browser: the strokes of a hand, its project folder, and the film."""

import json
import os
import subprocess
import sys
import warnings
from datetime import datetime, timezone

import av
import numpy as np
import pytest
import torch

from fusion_nb import video
from fusion_nb.clips import InputError, project_path, read_clip, write_picture, write_video
from fusion_nb.colorize import load_system
from fusion_nb.projects import FilmFrames, ProjectExport, StudioProject
from fusion_nb.studio import Stroke, Studio, colorize_strokes, stroke_features
from fusion_nb.synthetic import demo_clip
from fusion_nb.system import FusionSystem

RED = {"points": [[0.45, 0.42], [0.6, 0.42]], "color": "#c02018", "width": 0.02}
GREY = {"points": [[0.5, 0.9]], "color": "#808080", "width": 0.03}


@pytest.fixture(scope="module")
def system() -> FusionSystem:
    return load_system("tiny")  # as the command does: on some processors in bfloat16


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """Three shots of four small frames: the second is upside down, the third mirrored."""
    shot = demo_clip()[:4, ::2, ::2]
    return np.concatenate([shot, shot[:, ::-1], 255 - shot[:, :, ::-1]])


@pytest.fixture
def film(tmp_path, clip):
    path = tmp_path / "film.mkv"
    write_video(path, clip, 25, codec="ffv1")
    return path


@pytest.fixture
def studio(film, system):
    """Opened with all shots found."""
    studio = Studio(film, system=system)
    studio.film.search.join()
    yield studio
    studio.film.end()


def test_black_and_a_flash_make_no_shot(tmp_path):
    """The shots are those that `fusion_colorize` finds, also where the search was interrupted."""
    frames = demo_clip()[:14, ::2, ::2].copy()
    frames[:2], frames[7] = 0, 255
    write_video(
        tmp_path / "film.mkv", np.concatenate([frames, frames[2:6, ::-1]]), 25, codec="ffv1"
    )
    project = StudioProject(tmp_path / "film.mkv")
    for done in project.find_cuts():
        if done == 6:
            break
    list(project.find_cuts())
    assert project.cuts == [0, 14]


def export(studio: Studio) -> str:
    """Export, and return the last line."""
    studio.film.export()
    studio.film.work.join()
    return studio.status.value


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


def test_project_is_reopened_where_it_was_left(studio, film, system):
    studio.canvas.strokes = [RED]
    studio.canvas.strokes = [RED, GREY]
    studio.undo()
    assert studio.canvas.strokes == [RED]
    studio.redo()
    assert studio.canvas.strokes == [RED, GREY]
    again = Studio(None, studio.project.folder, system)
    again.film.search.join()
    assert again.canvas.strokes == [RED, GREY]
    assert again.canvas.picture == studio.canvas.picture
    assert [card["missing"] for card in again.film.strip.shots][0] is False
    again.clear()
    assert StudioProject(film).exemplars == {}
    again.undo()
    assert again.canvas.strokes == [RED, GREY]
    again.film.end()


def test_export_corrections_and_the_command(studio, film, clip, system, tmp_path):
    """A correction changes its own shot alone; the command repeats the export exactly."""
    assert "no colours yet" in export(studio)
    studio.canvas.strokes = [RED]
    assert "3 of 3 shots coloured now" in export(studio)
    first = read_clip(studio.project.output)
    assert first.shape == clip.shape and np.ptp(first[3].astype(int), axis=2).max() > 30
    studio.frame.value = 6
    assert studio.editor.start is not None and studio.canvas.strokes == []
    studio.canvas.strokes = [GREY]
    assert "1 of 3 shots coloured now" in export(studio)
    second = read_clip(studio.project.output)
    np.testing.assert_array_equal(second[:4], first[:4])
    np.testing.assert_array_equal(second[8:], first[8:])
    assert (second[4:8] != first[4:8]).any()
    studio.film.preview()
    studio.film.work.join()
    assert len(studio.view.player.frames) == 6 and "6 frames" in studio.status.value
    code = "from fusion_nb.commands import fusion_colorize; fusion_colorize()"
    for path in (studio.project.folder / "shots").iterdir():
        path.unlink()
    target = tmp_path / "again.mp4"
    command = [sys.executable, "-c", code, "--project", studio.project.folder, "-o", target]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    np.testing.assert_array_equal(read_clip(target), second)


def test_given_pictures(studio, clip, tmp_path):
    """By upload, by file, from a folder, and by the user's choice for a shot without its own."""
    folder = tmp_path / "stills"
    write_picture(folder / "b.png", clip[5])
    write_picture(folder / "a.png", clip[1])
    studio.given.path.value = str(folder)
    studio.film.work.join()
    names = {n: entry["name"] for n, entry in sorted(studio.project.exemplars.items())}
    assert names == {0: "a.png", 4: "b.png"}
    studio.frame.value = 9
    for chosen, stored in ((4, {8: 4}), (studio.given.BEST, {}), (4, {8: 4})):
        assert studio.given.after.value != chosen
        studio.given.after.value = chosen
        assert studio.project.chosen == stored
    content = memoryview((folder / "a.png").read_bytes())
    upload = dict(name="c.png", type="image/png", size=len(content), content=content)
    studio.given.upload.value = (upload | {"last_modified": datetime.now(timezone.utc)},)
    assert studio.project.exemplars[9]["name"] == "c.png"
    studio.remove()
    assert 9 not in studio.project.exemplars
    studio.given.path.value = str(tmp_path / "none.png")
    assert "no such file" in studio.status.value


KILLS = """
import os, signal, sys, time
import numpy as np
from fusion_nb.projects import StudioProject

def paint(pipe):
    project = StudioProject(sys.argv[1])
    for n in range(1, 10000):
        picture = np.full((300, 400, 3), n % 256, np.uint8)
        project.paint(0, [[n]] * n, picture, picture)
        os.write(pipe, b".")

for attempt in range(10):
    source, pipe = os.pipe()
    child = os.fork()
    if not child:
        paint(pipe)
    os.close(pipe)
    told = len(os.read(source, 1))
    time.sleep(0.007 * attempt)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(source, "rb") as rest:
        told += len(rest.read())
    child = os.fork()  # this process opens no film: its decoder's threads would not live in a fork
    if not child:
        project = StudioProject(sys.argv[1])
        kept = len(project.exemplars[0]["strokes"])
        print(told, kept, (project.picture(0) == kept % 256).all(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(film):
    """At most the stroke that was being stored is lost, and its picture goes with it."""
    command = [sys.executable, "-c", KILLS, str(film)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 10
    for told, kept, whole in lines:
        assert int(kept) - int(told) in (0, 1) and whole == "True"


def test_late_frames_are_not_decoded_from_the_start(tmp_path, monkeypatch):
    """A film with sound and B-frames, whose clock does not start at 0."""
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "50", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(400):
            picture = np.full((48, 64, 3), n % 200 + 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = n + 40
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames, decoded = FilmFrames(path), []
    decode = video.VideoReader._decode
    monkeypatch.setattr(
        video.VideoReader, "_decode", lambda *args: decoded.append(1) or decode(*args)
    )
    assert len(frames) == 400
    for number in (0, 123, 390, 399):
        decoded.clear()
        assert abs(int(frames.read(number).mean()) - number % 200 - 20) <= 1
        assert len(decoded) < 150


def test_joined_film_keeps_times_and_sound(tmp_path, system):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=8000, layout="mono")
        for n in range(6):
            frame = av.VideoFrame.from_ndarray(demo_clip()[n, :48, :64].copy(), "rgb24")
            frame.pts = n + (n > 3)
            container.mux(video.encode(frame))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
        tone.rate = 8000
        container.mux(sound.encode(tone))
        container.mux([*video.encode(), *sound.encode()])
    project = StudioProject(path)
    list(project.find_cuts())
    project.cuts = [0, 2]  # two shots, wherever they are
    project.add(0, demo_clip()[0], "still")
    list(ProjectExport(project, system).run())
    with av.open(str(project.output)) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]
    made, given = FilmFrames(project.output), FilmFrames(path)
    assert [made.seconds(n) for n in range(6)] == [given.seconds(n) for n in range(6)]


def test_bad_input_is_one_clear_line(tmp_path, film):
    with pytest.raises(InputError, match="missing"):
        Studio(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="no project"):
        StudioProject(None, tmp_path)
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "project.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="cannot be read"):
        StudioProject(film, folder)
    project = StudioProject(film)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="cannot be decoded"):
            project.film.read(99)
    assert not os.listdir(project.folder) if project.folder.exists() else True


def test_demo_film_opens(tmp_path, system):
    studio = Studio(project_path("data", "demo", "gray.mp4"), tmp_path / "project", system)
    assert studio.canvas.picture
    studio.film.end()
