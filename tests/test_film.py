"""fusion_colorize against what films and computers do to it: damage, odd kinds, Ctrl-C, a full
disk, two processes. A notebook cannot be killed, and must not fill a disk."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from micro_system import write_micro_system
from PIL import Image
from test_shots import shot
from typer.testing import CliRunner

from fusion_nb.clips import (
    InputError,
    frame_to_rgb,
    iter_video,
    open_picture,
    read_clip,
    read_picture,
    write_picture,
)
from fusion_nb.colorize import (
    ColorizeReport,
    _film_job,
    colorize_folder,
    colorize_video,
    load_system,
    run_colorize,
)
from fusion_nb.commands import fusion_colorize
from fusion_nb.folders import films_in, output_names
from fusion_nb.parts import partial_path
from fusion_nb.pictures import picture_size
from fusion_nb.probing import SizeCheck
from fusion_nb.shots import find_exemplar_frames
from fusion_nb.snapshots import SnapshotFolder
from fusion_nb.tracks import all_packets
from fusion_nb.video import TimedFrame, VideoReader, VideoWriter, probe

ROOT = Path(__file__).resolve().parent.parent
FILMS = ROOT / "tests" / "films"


def frames(count: int, width: int, height: int) -> list[np.ndarray]:
    """A textured ground under a moving camera."""
    size = (height // 6 + 2, width // 6 + 2, 3)
    coarse = np.random.default_rng(0).integers(0, 255, size).astype(np.uint8)
    ground = cv2.resize(coarse, (width + 2 * count, height + count), interpolation=cv2.INTER_CUBIC)
    views = range(count)
    return [np.ascontiguousarray(ground[i : i + height, 2 * i : 2 * i + width]) for i in views]


def in_fields(frame: av.VideoFrame, order: str) -> av.VideoFrame:
    """The frame, marked as interlaced."""
    graph = av.filter.Graph()
    size = dict(width=frame.width, height=frame.height)
    source = graph.add_buffer(**size, format=frame.format.name, time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def make(
    path: Path, codec="libx264", pixels="yuv420p", sound=None, count=12, size=(64, 48), **how
) -> Path:
    """A small film; how: options of the encoder (`encoder`), the muxer (`muxer`), tags, a turn."""
    with av.open(str(path), "w", options=how.get("muxer", {})) as file:
        file.metadata.update(how.get("tags", {}))
        video = file.add_stream(codec, rate=25, options=how.get("encoder", {}))
        video.width, video.height = size
        video.pix_fmt = pixels
        if "turn" in how:
            video.set_display_rotation(how["turn"])
        if sound:
            rate = 48000 if sound in ("libopus", "mp2") else 44100
            track = file.add_stream(sound, rate=rate)
            track.layout, track.bit_rate = "stereo", 128000
        heard = 0
        for number, picture in enumerate(frames(count, *size)):
            frame = av.VideoFrame.from_ndarray(picture).reformat(format=pixels)
            if "fields" in how:
                frame = in_fields(frame, how["fields"])
            frame.pts = how["times"][number] if "times" in how else number
            frame.time_base = Fraction(1, 25)
            file.mux(video.encode(frame))
            while sound and heard * 25 < rate * (number + 1):
                wave = 8000 * np.sin((heard + np.arange(1024)) / 20)
                piece = np.repeat(wave.astype(np.int16), 2)[None]
                block = av.AudioFrame.from_ndarray(piece, "s16", "stereo")
                block.rate, block.pts, block.time_base = rate, heard, Fraction(1, rate)
                file.mux(track.encode(block))
                heard += 1024
        file.mux(video.encode())
        if sound:
            file.mux(track.encode())
    return path


def decoded(path: Path) -> list[tuple[int, int, Fraction]] | None:
    """What FFmpeg itself gets out of a file, errors ignored: width, height and time of frames."""
    try:
        with av.open(f"file:{path}") as file:
            video, out = file.streams.video[0], []
            video.thread_type = "SLICE"
            packets = file.demux(video)
            while (packet := next(packets, None)) is not None:
                try:
                    out += [(f.width, f.height, f.time) for f in packet.decode()]
                except av.error.FFmpegError:
                    pass
    except av.error.FFmpegError:
        return None
    return out


@pytest.fixture(scope="module")
def system():
    return load_system("tiny")


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """The smallest system: its colours do not matter."""
    folder = tmp_path_factory.mktemp("system")
    write_micro_system(folder)
    return load_system(folder / "micro")


@pytest.fixture(scope="module")
def still(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exemplar") / "still.png"
    write_picture(path, frames(1, 64, 48)[0])
    return path


def colour_or_one_line(film: Path, target: Path, system, still: Path, **how) -> str:
    """Colour a film: "ok" if all its frames are there, "error" if there is one line.

    What an error leaves is nothing, or a part that plays and that the line speaks of.
    """
    try:
        report = colorize_video(film, still, target, system, size=32, progress=False, **how)
    except InputError as error:
        assert "\n" not in str(error).replace(str(film), ""), error
        assert not target.exists(), f"{film}: an error, and a file that looks whole"
        part = partial_path(target)
        assert part.exists() == ("--resume" in str(error)), error
        assert not part.exists() or decoded(part), f"{part} does not play"
        return "error"
    left = [p.name for p in target.parent.glob(f"{target.stem}.*") if ".partial" in p.name]
    assert not left, f"{film}: left {left}"
    made = decoded(target)
    assert made is not None and len(made) == report.frames > 0, film
    truth = decoded(film)
    assert truth is None or len(truth) == len(made), f"{film}: {len(truth)} frames, {len(made)}"
    return "ok"


KINDS = {
    "a.mp4": dict(sound="aac"),
    "start.mp4": dict(sound="aac", muxer={"movflags": "faststart"}),
    "pieces.mp4": dict(muxer={"movflags": "frag_keyframe+empty_moov"}, encoder={"g": "5"}),
    "a.mkv": dict(sound="aac"),
    "a.avi": dict(codec="mpeg4", sound="libmp3lame"),
    "jpeg.avi": dict(codec="mjpeg", pixels="yuvj420p", sound="pcm_s16le"),
    "a.webm": dict(codec="libvpx", sound="libopus"),
    "a.ts": dict(sound="aac"),
    "a.mpg": dict(codec="mpeg2video", sound="mp2"),
    "a.flv": dict(sound="aac"),
    "lossless.mkv": dict(codec="ffv1", pixels="bgr0"),
}


def damage(data: bytes, way: str, rng: random.Random) -> bytes:
    data, place = bytearray(data), rng.randrange(len(data))
    if way == "cut":
        return bytes(data[:place])
    if way == "header":
        return bytes(data[: rng.choice([4, 64, 256, 600])])
    if way == "burst":
        data[place : place + 200] = rng.randbytes(len(data[place : place + 200]))
    if way == "hole":
        del data[place : place + rng.choice([1, 100, 1000])]
    if way == "flip":
        for _ in range(rng.choice([1, 10, 50])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return b"" if way == "empty" else bytes(data)


def test_forty_damaged_films(tmp_path, system, still):
    """Each ends in a whole film of all that can be decoded, or in one line and nothing."""
    rng, ends = random.Random(7), []
    sources = [make(tmp_path / name, **how) for name, how in KINDS.items()]
    ways = ["cut", "flip", "flip", "burst", "hole", "header", "name", "empty"]
    (tmp_path / "out").mkdir()
    for number in range(40):
        source, way = sources[number % len(sources)], ways[number % len(ways)]
        suffix = rng.choice([".mp4", ".avi", ".mkv"]) if way == "name" else source.suffix
        film = tmp_path / f"{number}_{way}_{source.stem}{suffix}"
        film.write_bytes(damage(source.read_bytes(), way, rng))
        target = tmp_path / "out" / f"{number}.mp4"
        ends.append(colour_or_one_line(film, target, system, still))
    assert ends.count("ok") >= 10 and ends.count("error") >= 10, ends


STRANGE = {
    "one pixel": dict(size=(1, 1), pixels="yuv444p"),
    "a line": dict(size=(1, 400), pixels="yuv444p"),
    "odd": dict(size=(101, 77), pixels="yuv444p"),
    "10 bit": dict(pixels="yuv420p10le"),
    "grey": dict(pixels="gray"),
    "alpha": dict(codec="ffv1", pixels="bgra"),
    "16 bit": dict(codec="ffv1", pixels="gray16le"),
    "4:1:1": dict(codec="ffv1", pixels="yuv411p"),
    "lying": dict(turn=90, size=(48, 32)),
    "uneven": dict(times=[0, 3, 4, 5, 9, 30, 31, 40, 41, 42, 43, 60]),
    "late": dict(times=range(500000, 500012)),
    "one frame": dict(count=1),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_films(tmp_path, system, still, kind):
    suffix = ".mkv" if STRANGE[kind].get("codec") == "ffv1" else ".mp4"
    film = make(tmp_path / f"film{suffix}", **STRANGE[kind])
    assert colour_or_one_line(film, tmp_path / "out.mp4", system, still) == "ok"
    times = [np.array([t for *_, t in decoded(path)]) for path in (film, tmp_path / "out.mp4")]
    np.testing.assert_allclose(times[0] - times[0][0], times[1], atol=6e-4)  # begins at 0


def test_fields_and_depth_stay(tmp_path, system, still):
    for fields, size, name in (
        ("tff", (96, 64), "out.mp4"),
        ("bff", (96, 54), "out.mov"),  # the fields have 27 lines, as those of 486 have 243
        ("bff", (96, 64), "out.mkv"),
    ):
        encoder, target = {"x264-params": f"{fields}=1", "flags": "+ildct"}, tmp_path / name
        how = dict(pixels="yuv422p", encoder=encoder, size=size, fields=fields)
        film = make(tmp_path / f"{fields}.mp4", **how)
        codec = "ffv1" if name == "out.mkv" else None
        colorize_video(film, still, target, system, size=32, codec=codec, progress=False)
        assert probe(film).fields == probe(target).fields == fields
    deep = make(tmp_path / "deep.mkv", codec="ffv1", pixels="gray16le")
    target, how = tmp_path / "deep.out.mkv", dict(codec="ffv1", size=32, progress=False)
    colorize_video(deep, still, target, system, **how)
    before, after = (
        [x.rgb for x in VideoReader(probe(path)) if isinstance(x, TimedFrame)]
        for path in (deep, target)
    )
    assert after[0].dtype == np.uint16 and len(before) == len(after)


def test_folder_removed_while_writing(tmp_path, system, still):
    film, folder = make(tmp_path / "film.mp4", count=60), tmp_path / "gone"
    part = folder / "out.partial.mp4"

    def remove():
        while not part.exists():
            time.sleep(0.001)
        shutil.rmtree(folder)

    thread = threading.Thread(target=remove)
    thread.start()
    with pytest.raises(InputError, match="removed|cannot be written"):
        colorize_video(film, still, folder / "out.mp4", system, size=32, progress=False)
    thread.join()
    assert not (folder / "out.mp4").exists()


def test_full_disk(tmp_path, system, still):
    """A limit on the size of files says no as a full disk does; what was done is kept."""
    film = make(tmp_path / "film.mp4", count=40, size=(320, 240), sound="aac")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    how = dict(size=32, progress=False)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40000, old[1]))
        for name in ("out.mp4", "out.mkv", "out"):
            with pytest.raises(InputError, match="cannot be written.*make room"):
                colorize_video(film, still, tmp_path / name, system, **how)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, heard)
    assert not (tmp_path / "out").exists()
    for name in ("out.mp4", "out.mkv"):
        assert 0 < len(decoded(partial_path(tmp_path / name))) < 40
        report = colorize_video(film, still, tmp_path / name, system, resume=True, **how)
        assert report.kept > 0 and len(decoded(tmp_path / name)) == 40


def test_resumed_colours(tmp_path, system, monkeypatch):
    """A resumed film has the colours of one that was never stopped, bit for bit, also in a shot
    that comes back; without the saved state it has not."""
    a, b = shot("coffee", 14), shot("chelsea", 5)
    for number, picture in enumerate([*a[:8], *b, *a[8:]]):
        write_picture(tmp_path / "film" / f"{number:02d}.png", picture)
    write_picture(tmp_path / "still.png", a[0])
    monkeypatch.setattr(SnapshotFolder, "seconds", 0)
    write = VideoWriter.write

    def colored(name: str, stop: int, **how) -> tuple[ColorizeReport, list[np.ndarray]]:
        def stops(writer, frame):
            if writer.count == stop:
                raise KeyboardInterrupt
            write(writer, frame)

        monkeypatch.setattr(VideoWriter, "write", stops)
        words = tmp_path / "film", tmp_path / "still.png", tmp_path / name, system
        report = colorize_video(*words, codec="ffv1", size=64, progress=False, **how)
        return report, list(iter_video(tmp_path / name))

    _, whole = colored("whole.mkv", -1)
    with pytest.raises(KeyboardInterrupt):
        colored("out.mkv", 12)
    saved = tmp_path / "out.partial.mkv.state"
    for file in tmp_path.glob("out.*"):
        copy = shutil.copytree if file.is_dir() else shutil.copy
        copy(file, tmp_path / file.name.replace("out", "torn"))
    report, resumed = colored("out.mkv", -1, resume=True)
    assert report.kept == 12 and not report.notes and not saved.exists()  # B; A is remembered
    np.testing.assert_array_equal(resumed, whole)
    for file in (tmp_path / "torn.partial.mkv.state").glob("shot*"):
        file.write_bytes(file.read_bytes()[:-1])
    report, torn = colored("torn.mkv", -1, resume=True)
    *damaged, last = ["damaged" in note for note in report.notes]
    assert report.kept == 12 and damaged and all(damaged) and not last
    assert np.array_equal(torn[:12], whole[:12]) and not np.array_equal(torn, whole)


def test_a_slow_machine_loses_little_work(tmp_path, micro, monkeypatch):
    """A frame takes three seconds: a kill that leaves nine frames costs none of them, one that
    leaves the last five on their way to the disk costs those."""
    for number, picture in enumerate(frames(14, 64, 48)):
        write_picture(tmp_path / "film" / f"{number:02d}.png", picture)
    clock, target = [0.0], tmp_path / "out.mkv"

    def three_seconds() -> float:
        clock[0] += 3
        return clock[0]

    write = VideoWriter.write

    def stops(writer, frame):
        if writer.count == 9:
            raise KeyboardInterrupt
        write(writer, frame)

    monkeypatch.setattr("fusion_nb.snapshots.time", SimpleNamespace(monotonic=three_seconds))
    job = tmp_path / "film", tmp_path / "film" / "00.png", target, micro
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(VideoWriter, "write", stops)
        colorize_video(*job, codec="ffv1", size=32, progress=False)
    folder = tmp_path / "out.partial.mkv.state"
    frames_of = sorted(int(file.stem) for file in folder.glob("*.json"))
    assert frames_of[-1] == 9 and {4, 5, 6, 7, 8} < set(frames_of), frames_of
    report = colorize_video(*job, codec="ffv1", size=32, progress=False, resume=True)
    assert report.kept == 9 and report.frames == 14


def rewrite(film: Path, target: Path, pause: float = 0, **how) -> tuple[list[str], int]:
    """Send a film through reader and writer; the notes, and how many frames were taken over."""
    with VideoReader(probe(film)) as reader, VideoWriter(target, reader, **how) as writer:
        for item in reader:
            if not isinstance(item, TimedFrame):
                writer.copy(item)
            elif writer.count < writer.done:
                writer.keep(item.pts)
            else:
                time.sleep(pause)
                writer.write(item)
    return writer.notes, writer.done


def sounds(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


BROADCAST = dict(codec="mpeg2video", sound="mp2", encoder={"bf": "2"})
CLOCKS = {
    "late.ts": (BROADCAST, [45000]),
    "joined.ts": (BROADCAST, [7, 7, 45000]),
    "wrapped.ts": (BROADCAST, [2**33 / 90000 - 1.6]),  # 33 bits, and the muxer adds 1.4 s
    "joined.vob": (BROADCAST, [3, 3]),
    "camera.mts": (dict(sound="ac3"), [0]),
    "a.wmv": (dict(codec="wmv2", sound="wmav2"), [0]),
    "b.flv": (dict(sound="aac"), [0]),
    "b.avi": (dict(sound="libmp3lame"), [0]),  # B-frames in AVI
}


@pytest.mark.parametrize("name", CLOCKS)
def test_one_clock(tmp_path, name):
    """A film begins at 0, and neither jumps nor loses what comes after the clock's jump."""
    how, starts = CLOCKS[name]
    film, target = tmp_path / name, tmp_path / "out.mp4"
    parts = [
        make(tmp_path / f"{number}_{name}", muxer={"output_ts_offset": str(start)}, **how)
        for number, start in enumerate(starts)
    ]
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    rewrite(film, target)
    data = target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser plays it while it is loaded
    times = [float(time) for *_, time in decoded(target)]
    assert len(times) == 12 * len(starts) and 0 <= times[0] < 0.2
    steps = np.diff(times)
    assert steps.min() > 0.038 and steps.max() < (0.042 if len(starts) == 1 else 0.3), steps
    assert len(sounds(target)) >= sum(len(sounds(part)) for part in parts) - 2


def test_reported_tracks(tmp_path):
    """Small films that users of tools of this kind reported; see the notes at each."""
    target, as_mkv = tmp_path / "out.mp4", tmp_path / "out.mkv"

    def sent(name: str, target: Path, **how) -> tuple[str, list]:
        target.unlink(missing_ok=True)
        notes, _ = rewrite(FILMS / name, target, **how)
        with av.open(str(target)) as file:
            streams = [(s.type, dict(s.metadata)) for s in file.streams]
        return " ".join(notes), streams

    notes, streams = sent("four_channels.mkv", target)  # only the end of an mp4 refused them
    assert [kind for kind, _ in streams] == ["video", "audio"] and len(decoded(target)) == 15
    notes, streams = sent("h264_in_avi.avi", target)  # its times are those of decoding
    np.testing.assert_allclose([float(t) for *_, t in decoded(target)], np.arange(20) / 25)
    notes, streams = sent("attachment.mkv", as_mkv)
    assert not notes and streams[0][1]["language"] == "fre"
    assert streams[2] == ("attachment", streams[2][1] | {"filename": "tiny.ttf"})
    notes, _ = sent("attachment.mkv", target)
    assert "tiny.ttf was left out" in notes
    _, streams = sent("timecode.mov", tmp_path / "out.mov")
    assert streams[0][1]["timecode"] == "10:00:00:00"
    sent("anamorphic.mkv", as_mkv, codec="ffv1")
    assert probe(as_mkv).pixel_aspect == Fraction(64, 45)


def test_late_faults(tmp_path, monkeypatch):
    """What goes wrong on the way leaves a part that plays, from which a run can be resumed."""
    monkeypatch.setattr(SizeCheck, "add", lambda check, packet: None)  # as if it knew no codec
    parts = [make(tmp_path / f"{n}.ts", size=(64 + 32 * n, 48), **BROADCAST) for n in range(2)]
    film, target = tmp_path / "film.ts", tmp_path / "out.mp4"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    for resume in (False, True):
        with pytest.raises(
            InputError, match=r"film.ts: the frame at 0:00:00.\d+ is 96x48.*--resume"
        ):
            rewrite(film, target, resume=resume)
        assert len(decoded(partial_path(target))) >= 11
    partial_path(target).write_bytes(b"torn")
    film.write_bytes(parts[0].read_bytes())
    partial_path(target).with_name("out.partial.mp4.plan").unlink()
    with pytest.raises(InputError, match="begun with another film"):
        rewrite(film, target, resume=True)


def two_sizes(path: Path, codec: str, pixels: str, sizes: list[tuple[int, int]]) -> Path:
    """A film in one stream whose frames change their size every 24 frames; key frames every 12."""
    tick, packets = Fraction(1, 25), []
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], pixels
        stream.time_base, stream.codec_context.gop_size = tick, 12
        stream.codec_context.flags &= ~av.codec.context.Flags.global_header.value
        for size in sizes:
            encoder = av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, pixels
            encoder.time_base, encoder.gop_size, encoder.max_b_frames = tick, 12, 0
            for picture in frames(24, *size):
                frame = av.VideoFrame.from_ndarray(picture).reformat(format=pixels)
                packets += encoder.encode(frame)
            packets += encoder.encode(None)
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, tick
            packet.pts = packet.dts = number
            file.mux(packet)
    return path


SIZE_CHANGES = {
    "mpeg2.ts": ("mpeg2video", "yuv420p"),
    "h264.ts": ("libx264", "yuv420p"),
    "h264.mp4": ("libx264", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "yuv420p"),
    "vp8.webm": ("libvpx", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "jpeg.avi": ("mjpeg", "yuvj420p"),
    "prores.mov": ("prores_ks", "yuv422p10le"),
    "flash.flv": ("flv", "yuv420p"),
}


@pytest.mark.parametrize("name", SIZE_CHANGES)
def test_a_change_of_size_is_known_before(tmp_path, micro, name):
    """Also where exemplars are bound to times, so that nobody has looked at the whole film."""
    still, target = tmp_path / "still.png", tmp_path / "out.mp4"
    write_picture(still, frames(1, 64, 48)[0])
    film = two_sizes(tmp_path / name, *SIZE_CHANGES[name], [(64, 48), (96, 48)])
    with pytest.raises(InputError, match=rf"{name}: the frame at 0:00:0\d.\d+ is 96x48"):
        colorize_video(film, None, target, micro, bound=[(0, still)], size=32, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "still.png"])
    probe(two_sizes(film, *SIZE_CHANGES[name], [(64, 48), (64, 48)]))


@pytest.mark.parametrize("key_frame", ["in the middle", "last"])
@pytest.mark.parametrize("name", ["mpeg2.ts", "jpeg.avi"])
def test_a_damaged_header_is_no_change_of_size(tmp_path, name, key_frame):
    """In the middle, and in the last key frame; the frames that come out wrong are left out."""
    film = two_sizes(tmp_path / name, *SIZE_CHANGES[name], [(64, 48), (64, 48)])
    data, mark = film.read_bytes(), b"\0\0\1\xb3" if name == "mpeg2.ts" else b"\xff\xc0\0\x11\x08"
    places = [m.end() for m in re.finditer(re.escape(mark), data)]
    place = places[-1 if key_frame == "last" else len(places) // 2]
    film.write_bytes(data[: place + 1] + bytes([data[place + 1] ^ 64]) + data[place + 2 :])
    assert len({size[:2] for size in decoded(film)}) == 2  # FFmpeg believes it
    notes, _ = rewrite(film, tmp_path / "out.mp4")
    made = decoded(tmp_path / "out.mp4")
    assert {size[:2] for size in made} == {(64, 48)} and 34 <= len(made) < 48


def test_a_stream_that_begins_in_the_middle():
    """PyAV may look for it in a list that does not have it, after the last packet."""

    def demux():
        yield "packet"
        raise IndexError

    assert list(all_packets(SimpleNamespace(demux=demux))) == ["packet"]


def test_outputs_are_refused_before_the_film_is_read(tmp_path, still, monkeypatch):
    """What would fail when the complete film gets its name, and what an earlier run has left."""

    def refused(name: str, **how) -> str:
        with pytest.raises(InputError) as error:
            colorize_video("film.mp4", still, tmp_path / name, "no system", **how)
        return str(error.value)

    monkeypatch.setattr("fusion_nb.colorize.load_system", lambda system: system)
    monkeypatch.setattr("fusion_nb.colorize.probe", None)
    (tmp_path / "file").write_text("a text")
    assert "is a file already" in refused("file")  # where a folder of pictures shall be
    assert "Not a directory" in refused("file/out.mp4")
    (tmp_path / "full.mp4").mkdir()
    assert "is a folder already" in refused("full.mp4")
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path / "disk")
    assert "is a mount point" in refused("disk")
    partial_path(tmp_path / "out.mp4").write_text("a part")
    assert "--resume" in refused("out.mp4")
    monkeypatch.setattr("os.access", lambda *words: False)
    assert "Permission denied" in refused("new/folder/out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "disk",
        "file",
        "full.mp4",
        "out.partial.mp4",
    ]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "dpx"])
def test_a_picture_that_is_cut_short_is_known_before(tmp_path, suffix):
    for number, picture in enumerate(frames(4, 64, 48)):
        file = tmp_path / f"{number}.{suffix}"
        if suffix == "dpx":
            with av.open(str(file), "w", options={"update": "1"}) as film:
                video = film.add_stream("dpx", rate=1)
                video.width, video.height, video.pix_fmt = 64, 48, "gbrp10le"
                frame = av.VideoFrame.from_ndarray(picture).reformat(format="gbrp10le")
                film.mux([*video.encode(frame), *video.encode(None)])
        else:
            write_picture(file, picture)
    assert probe(tmp_path).frames == 4
    file = tmp_path / f"2.{suffix}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=f"2.{suffix}: cannot be read as a picture"):
        probe(tmp_path)


def test_an_exemplar_is_bound_to_the_last_frame(tmp_path):
    """A time within the last frame is in the film, and is that of no later frame."""
    info, picture = probe(make(tmp_path / "film.mp4")), frames(1, 32, 32)[0]
    for seconds, number in ((0, 0), (0.1, 3), (0.44, 11), (0.47, 11)):
        assert find_exemplar_frames(info, [picture], [seconds]) == {number: 0}


def test_full_disk_at_the_very_end(tmp_path, monkeypatch):
    """There is no room to move the index to the front: the film is complete, and a note says so."""

    def refuses(*args):
        raise OSError(28, "No space left on device")

    film, target = make(tmp_path / "film.mp4", sound="aac"), tmp_path / "out.mp4"
    monkeypatch.setattr("fusion_nb.video.copy_with_index_first", refuses)
    notes, _ = rewrite(film, target)
    assert len(notes) == 1 and "No space left" in notes[0] and "plays all the same" in notes[0]
    assert decoded(target) == decoded(film) and sounds(target) == sounds(film)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film.mp4", "out.mp4"]


def test_what_is_hidden_or_cannot_be_kept(tmp_path):
    """Sound that an edit list hides stays hidden; long names; covers; colours without a formula."""
    source, film = make(tmp_path / "whole.mp4", sound="aac", count=30), tmp_path / "film.mp4"
    with av.open(str(film), "w") as copy, av.open(str(source)) as whole:
        streams = [copy.add_stream_from_template(s) for s in whole.streams]
        cover = copy.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in whole.demux():
            if packet.size:
                half = round(Fraction(1, 2) / packet.time_base)
                packet.pts, packet.dts = packet.pts - half, packet.dts - half
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)
        picture = av.VideoFrame.from_ndarray(frames(1, 64, 48)[0]).reformat(format="yuvj420p")
        copy.mux(cover.encode(picture))
        copy.mux(cover.encode())
    for name in ("x" * 245 + ".mkv", "out.mp4"):
        notes, _ = rewrite(film, tmp_path / name)
        assert decoded(tmp_path / name) and not [n for n in notes if "mjpeg" not in n]
        with av.open(str(tmp_path / name)) as file:
            times = [packet.pts * packet.time_base for packet in file.demux(audio=0) if packet.size]
            covers = [s for s in file.streams if s.disposition & av.stream.Disposition.attached_pic]
        assert -0.06 <= times[0] <= 0 and len(covers) + len(notes) == 1
    for matrix in ("ictcp", "ycgco"):
        odd = make(tmp_path / f"{matrix}.mp4", encoder={"x264-params": f"colormatrix={matrix}"})
        for read in (probe, lambda path: list(iter_video(path))):
            with pytest.raises(InputError, match=f"{matrix}.mp4: its colours cannot be converted"):
                read(odd)


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("kind", ["gray", "yuv444p"])
@pytest.mark.parametrize("limited", [True, False])
def test_lightness_is_exact(kind, bits, limited):
    """A ramp in grey and YUV, in both ranges: black, white and all between are where they were."""
    name, top = kind if bits == 8 else f"{kind}{bits}le", (1 << bits) - 1
    black, white = (16 << (bits - 8), 235 << (bits - 8)) if limited else (0, top)
    ramp = np.linspace(black, white, 64).round()
    frame = av.VideoFrame(64, 2, name)
    frame.color_range = 1 if limited else 2
    for number, plane in enumerate(frame.planes):
        values = np.tile(ramp if number == 0 else np.full(64, 1 << (bits - 1)), (2, 1))
        data = np.zeros((2, plane.line_size), np.uint8)
        wide = values.astype(np.uint8 if bits == 8 else "<u2").view(np.uint8)
        data[:, : wide.shape[1]] = wide
        plane.update(data.tobytes())
    rgb = frame_to_rgb(frame, "rgb24" if bits == 8 else "rgb48le")
    truth = (ramp - black) / (white - black) * 100
    found = rgb[0, :, 1] / np.iinfo(rgb.dtype).max * 100
    assert np.abs(found - truth).max() < (0.25 if bits == 8 else 0.01)
    assert abs((found - truth).mean()) < 0.01


def test_films_of_pictures(tmp_path):
    """Scans of 16 bits stay as they are; gaps and other files are told; file numbers are kept."""
    folder, shades = tmp_path / "scan", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    folder.mkdir()
    numbers = (8, 9, 10, 13)
    for number in numbers:
        cv2.imwrite(str(folder / f"s_{number}.png"), np.roll(shades, number))
        cv2.imwrite(str(folder / f"s_{number}.tif"), np.roll(shades, number))
    info = probe(folder / "s_%d.png")
    assert (info.bits, info.frames, probe(folder / "*.tif").frames, len(info.notes)) == (
        16,
        4,
        4,
        1,
    )
    assert "2 numbers are missing, the first 11" in info.notes[0]
    rewrite(info.path, tmp_path / "out.mkv", codec="ffv1")
    rewrite(info.path, tmp_path / "out")
    names = [f"s_{number}.png" for number in numbers]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*names, "times.txt"])
    with VideoReader(probe(tmp_path / "out.mkv")) as reader:
        for number, frame in zip(numbers, reader, strict=True):
            assert (frame.rgb == np.roll(shades, number)[..., None]).all()
            again = cv2.imread(str(tmp_path / "out" / f"s_{number}.png"), cv2.IMREAD_UNCHANGED)
            assert (again == frame.rgb).all()
    (folder / "s_9.tif").write_text("no picture")
    with pytest.raises(InputError, match="s_9.tif: cannot be read as a picture"):
        probe(folder / "*.tif")


def test_other_kinds_of_pictures(tmp_path):
    picture = frames(1, 64, 48)[0]
    with av.open(str(tmp_path / "a.dpx"), "w", options={"update": "1"}) as file:
        video = file.add_stream("dpx", rate=1)
        video.width, video.height, video.pix_fmt = 64, 48, "gbrp10le"
        frame = av.VideoFrame.from_ndarray(picture).reformat(format="gbrp10le")
        file.mux([*video.encode(frame), *video.encode(None)])
    assert np.abs(read_picture(tmp_path / "a.dpx") - picture.astype(int)).max() <= 1
    assert picture_size(tmp_path / "a.dpx") == (64, 48)
    for name in ("a.heic", "a.exr", "b.dpx"):
        (tmp_path / name).write_bytes(b"no picture of this kind")
        with pytest.raises(InputError, match=f"{name}: (cannot be read|HEIC .* pillow-heif)"):
            read_picture(tmp_path / name)
        with pytest.raises(InputError, match=name):
            picture_size(tmp_path / name)
    large = Image.new("L", (10000, 9000))  # Pillow would warn
    large.save(tmp_path / "large.png")
    with warnings.catch_warnings(record=True) as told, open_picture(tmp_path / "large.png"):
        assert not told


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_kill_and_resume(tmp_path, name):
    """SIGKILL at random moments: the work goes on from what is on the disk."""
    rng, taken = random.Random(5), [0]
    film = make(tmp_path / "film.mp4", count=100, size=(96, 64), sound="aac")
    whole, target = tmp_path / f"whole_{name}", tmp_path / name
    rewrite(film, whole)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    paths = f"Path({str(film)!r}), Path({str(target)!r})"
    code = f"from test_film import Path, rewrite; rewrite({paths}, 0.02, resume=True)"
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT / "tests", env=environment)
        before = time.time()
        while time.time() < before + 60:  # until it has gone on
            time.sleep(rng.uniform(0.1, 0.4))
            on_disk = decoded(partial_path(target)) if partial_path(target).exists() else None
            if len(on_disk or ()) > taken[-1]:
                break
        child.kill()
        assert child.wait() == -signal.SIGKILL, "it was over before it could be killed"
        taken.append(len(decoded(partial_path(target))))
    assert taken == sorted(set(taken)), taken
    _, done = rewrite(film, target, resume=True)
    assert done == taken[-1] and decoded(target) == decoded(whole)
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name or "earlier" in p.name]


@pytest.mark.parametrize("resume", [True, False])
def test_kill_while_the_index_is_moved(tmp_path, resume):
    """It leaves a copy of the film, which the next run to the same output removes."""
    film, target = make(tmp_path / "film.mp4", sound="aac"), tmp_path / "out.mp4"
    code = f"""
import os, signal
from test_film import Path, rewrite
import fusion_nb.video
copy = fusion_nb.video.copy_with_index_first
def is_killed(*words):
    copy(*words)
    os.kill(os.getpid(), signal.SIGKILL)
fusion_nb.video.copy_with_index_first = is_killed
rewrite(Path({str(film)!r}), Path({str(target)!r}))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", env=environment)
    assert child.returncode == -signal.SIGKILL
    left = {p.name for p in tmp_path.iterdir()} - {"film.mp4"}
    assert {"out.partial.mp4", "out.partial.mp4.plan"} < left and not target.exists()
    if not resume:
        partial_path(target).unlink()
    _, done = rewrite(film, target, resume=resume)
    assert done == (12 if resume else 0) and decoded(target) == decoded(film)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film.mp4", "out.mp4"]


def start(*words: object) -> subprocess.Popen:
    """fusion_colorize in a process of its own."""
    code = "from fusion_nb.commands import fusion_colorize; fusion_colorize()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def stop_after(process: subprocess.Popen, frame: int) -> str:
    """Ctrl-C when so many frames are done; all that it said."""
    said = b""
    while (letter := process.stderr.read(1)) != b"":
        said += letter
        done = re.search(rb"out.mp4:[^\r]* (\d+)/\d+ \[$", said[-80:])
        if done and int(done[1]) >= frame:
            process.send_signal(signal.SIGINT)
            break
    said += process.communicate()[1]
    return said.decode()


def test_ctrl_c_and_resume(tmp_path, still):
    film = make(tmp_path / "film.mp4", count=80, size=(160, 120), sound="aac")
    target, part = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    words = (film, still, "-o", target, "--size", "96")
    process = start(*words)
    said = stop_after(process, 10)
    assert process.returncode == 130 and "--resume" in said, said
    assert 10 <= len(decoded(part)) < 80 and not target.exists()
    refused = start(*words)
    assert b"--resume" in refused.communicate()[1] and refused.returncode == 2
    resumed = start(*words, "--resume")
    assert resumed.wait() == 0, resumed.stderr.read()
    assert decoded(target) == decoded(film) and not part.exists()


def test_words_in_the_wrong_order(tmp_path, micro, monkeypatch):
    """Film and picture swapped, or a picture alone: one line with the command in its right order."""
    monkeypatch.chdir(tmp_path)
    for folder in ("stills", "films"):
        Path(folder).mkdir()
    for name in ("a photo.jpg", "b.png", "stills/c.png"):
        write_picture(name, frames(1, 64, 48)[0])
    for name in ("film.mp4", "films/film.mp4"):
        make(Path(name), count=2)

    def said(*words: str) -> str:
        answer = CliRunner().invoke(fusion_colorize, [*words, "--size", "32"])
        assert answer.exit_code == 2 and answer.output.count("\n") == 1, answer.output
        return answer.output

    swapped = "seem to be swapped; the film comes first: fusion_colorize"
    assert f"{swapped} film.mp4 'a photo.jpg' -o out.mp4" in said(
        "a photo.jpg", "film.mp4", "-o", "out.mp4"
    )
    assert f"{swapped} film.mp4 stills -o out.mp4" in said("stills", "film.mp4", "-o", "out.mp4")
    assert f"{swapped} films b.png -o out" in said("b.png", "films", "-o", "out")
    alone = "is a picture and not a film; give a film first: fusion_colorize FILM"
    assert f"{alone} b.png -o out.mp4" in said("b.png", "-o", "out.mp4")
    assert f"{alone} 'a photo.jpg' -o out.mp4" in said("b.png", "a photo.jpg", "-o", "out.mp4")
    assert alone in said("b.png", "--exemplar", "0=b.png", "-o", "out.mp4")
    assert not list(tmp_path.glob("out*"))
    assert run_colorize(Path("b.png"), Path("stills"), Path("out"), system=micro, size=32) == 0


def test_films_in_subfolders(tmp_path, system, still):
    films, out, long = tmp_path / "films", tmp_path / "films" / "out", "x" * 245 + ".mp4"
    for name in ("a.mp4", "b/a.mp4", f"b/c/{long}"):
        (films / name).parent.mkdir(parents=True, exist_ok=True)
        make(films / name, count=2)
    for kind in ("poster.png", "b/poster.png", "b/d/1.png", "b/d/2.png"):
        (films / kind).parent.mkdir(exist_ok=True)
        shutil.copy(still, films / kind)
    how = dict(size=32, progress=False)
    assert run_colorize(films / "b", still, out, system=system, **how) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.mp4", "d.mp4"]
    (films / "b" / "poster.png").unlink()
    (films / "b" / "a.mp4").rename(films / "b" / "c" / "a.mp4")
    shutil.rmtree(films / "b" / "d")
    with pytest.raises(InputError, match="subfolders; add --recursive"):
        run_colorize(films / "b", still, out, system=system, **how)
    assert run_colorize(films, still, out, system=system, recursive=True, **how) == 0
    made = [str(p.relative_to(out)) for p in out.rglob("*.mp4")]
    assert sorted(made) == ["a.mp4", "b/c/a.mp4", f"b/c/{long}", "d.mp4"]


def launched(script: Path, *words: object) -> tuple[int, str]:
    """fusion_colorize in two processes of `accelerate launch`; the exit code, and what was said."""
    script.write_text("from fusion_nb.commands import fusion_colorize; fusion_colorize()")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += "--num_processes 2 --num_machines 1 --main_process_port 0".split()
    command += "--mixed_precision no --dynamo_backend no".split()
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [*command, str(script), *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return run.returncode, run.stdout


def test_a_folder_names_bad_films_before_it_colours_one(tmp_path, micro, still, capsys):
    """The last film, one cut short and one whose output cannot be written: told at once."""
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for name in ("a.mp4", "blocked.mp4", "cut.mkv"):
        make(films / name, count=4)
    whole = (films / "cut.mkv").read_bytes()
    (films / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (films / "z.mp4").write_text("no film")
    (out / "blocked.partial.mp4").mkdir(parents=True)
    assert run_colorize(films, still, out, system=micro, size=32) == 1
    said = capsys.readouterr()
    passed, coloured = said.out.split("a.mp4: from", 1)  # what is told of the first that is done
    for name in ("blocked.mp4", "cut.mkv", "z.mp4"):
        assert f"{name}: passed over: " in passed and name not in coloured, said.out
        assert said.err.count(f"failed: {films / name}: ") == 1, said.err
    assert [p.name for p in sorted(out.iterdir())] == ["a.mp4", "blocked.partial.mp4"]


def test_names_in_a_folder(tmp_path, micro, still):
    """Every film has an output of its own, and no output becomes a film."""
    films, how = tmp_path / "films", dict(size=32, progress=False)
    films.mkdir()
    for number, name in enumerate(("a.avi", "a.mkv", "a.mkv.mp4", "Dr. No.mp4")):
        make(films / name, codec="mpeg4", count=2 + number)
    for _ in range(2):  # the second time, also by another way to the same place
        out = films / ".." / "films" / "out"
        assert colorize_folder(films, still, out, micro, recursive=True, **how) == []
        made = {p.name: len(read_clip(p)) for p in sorted(out.iterdir())}
        assert made == {"a.avi.mp4": 2, "a.mkv.mp4": 3, "a.mkv.mp4.mp4": 4, "Dr. No.mp4": 5}
    with pytest.raises(InputError, match="holds the films"):
        colorize_folder(films, still, films, micro, **how)
    shutil.rmtree(films / "out")
    assert colorize_folder(films, still, tmp_path / "png", micro, codec="png", **how) == []
    names = sorted(p.name for p in (tmp_path / "png").iterdir())
    assert names == ["Dr_ No", "a_avi", "a_mkv", "a_mkv_mp4"]
    other = [films / "a.b.mkv", films / "a_b.mkv", films / "a_b1.mkv"]
    assert len(set(output_names(other, films, tmp_path, "png"))) == 3
    with pytest.raises(InputError, match="no such file"):
        colorize_folder(films, tmp_path / "stills", tmp_path / "more", micro, **how)


def test_a_subfolder_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch, caplog):
    """As lost+found on the top of a disk."""
    (tmp_path / "lost").mkdir()
    (tmp_path / "a.mp4").touch()
    iterdir = Path.iterdir

    def refuse(path: Path):
        if path.name == "lost":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert films_in(tmp_path, recursive=True) == [tmp_path / "a.mp4"]
    assert "lost: may not be read" in caplog.text


def test_a_second_run_of_the_same_output_is_refused(tmp_path, micro, still):
    """It would take the part from the first one, which would end as whole with frames missing."""
    film = make(tmp_path / "film.mkv", count=6)
    target, how = tmp_path / "out.mkv", dict(size=32, progress=False, codec="ffv1")
    info = probe(film)
    with VideoReader(info) as reader, VideoWriter(target, reader, "ffv1") as writer:
        for item in reader:
            writer.write(item)
            if writer.count == 3:
                with pytest.raises(InputError, match="out.mkv: another run is writing it"):
                    VideoWriter(target, VideoReader(info), "ffv1", resume=True)
    assert len(read_clip(target)) == 6 and [p.name for p in tmp_path.glob("out*")] == ["out.mkv"]
    target.unlink()
    colorize_video(film, still, target, micro, **how)  # the lock is gone
    assert len(read_clip(target)) == 6


def test_the_index_of_a_film_with_a_time_code_comes_first(tmp_path, micro, still):
    """A time code counts frames, so the copy that is written last must know how many a second."""
    film = make(tmp_path / "film.dv", codec="dvvideo", size=(720, 576), count=3)
    target = tmp_path / "out.mp4"
    assert not colorize_video(film, still, target, micro, size=32, progress=False).notes
    with av.open(str(target)) as file:
        assert file.streams.video[0].metadata["timecode"] == "00:00:00:00"


CUT = [("avi", "mpeg4"), ("avi", "ffv1"), ("avi", "rawvideo"), ("wmv", "wmv2"), ("asf", "msmpeg4")]


@pytest.mark.parametrize("suffix, codec", CUT)
def test_a_film_whose_length_ffmpeg_guesses_is_refused_when_cut(
    tmp_path, micro, still, suffix, codec
):
    """FFmpeg fits the length of AVI and ASF to what is there; their headers still know."""
    sound = "pcm_s16le" if suffix == "avi" else "wmav2"
    film = make(tmp_path / f"film.{suffix}", codec=codec, sound=sound, count=60)
    assert probe(film).missing == 0
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match="was cut short"):
        colorize_video(film, still, tmp_path / "out.mp4", micro, size=32, progress=False)


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_frames_that_damage_took_are_told(tmp_path, suffix):
    """The decoder gives fewer frames, or torn ones, without any error."""
    film = make(tmp_path / f"film.{suffix}", count=40, **BROADCAST)

    def read() -> tuple[int, list[str]]:
        with VideoReader(probe(film)) as reader:
            return sum(isinstance(item, TimedFrame) for item in reader), reader.notes()

    assert read() == (40, [])
    data = bytearray(film.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1024] = bytes(1024)
    film.write_bytes(data)
    count, notes = read()
    assert count < 40 and re.search(r"joined in 1 place, the first after 0:00:0", str(notes))


def test_a_name_too_long_for_a_disk_is_refused_at_once(tmp_path, micro, still):
    film = make(tmp_path / "film.mkv", count=2)
    with pytest.raises(InputError, match="too long"):
        colorize_video(film, still, tmp_path / "new" / ("y" * 300 + ".mp4"), micro, size=32)


def test_another_film_of_the_same_extent_is_not_continued(tmp_path, micro, still):
    films = [
        make(tmp_path / f"{pixels}.mkv", "ffv1", pixels, count=6) for pixels in ("gray", "yuv420p")
    ]
    assert len({probe(film).seconds for film in films}) == 1
    plans = [
        _film_job(film, still, tmp_path / "out.mkv", size=32).check(micro)[-1] for film in films
    ]
    assert plans[0] != plans[1]


def test_two_processes_share_a_folder(tmp_path, still):
    """No film twice, a bad one is named and the others done; a second run has nothing to do."""
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    names = [f"film{number}.mp4" for number in range(4)]
    for name in names:
        make(films / name, count=4)
    (films / "bad.mp4").write_text("no film")  # the first: the others are still under way
    for number in range(2):
        began = time.time()
        code, said = launched(tmp_path / "run.py", films, still, "-o", out, "--size", "32")
        assert code == 1, said
        assert len(re.findall(r"failed: \S*bad\.mp4: cannot be read", said)) == 1, said
        starts = [len(re.findall(rf"{name}: +0%", said)) for name in names]
        assert starts == ([1, 1, 1, 1], [0, 0, 0, 0])[number], said
        assert sorted(p.name for p in out.iterdir()) == names
    assert all(p.stat().st_mtime < began for p in out.iterdir())  # written once, by the first run
