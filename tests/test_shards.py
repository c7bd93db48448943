"""Two processes train on shards, are killed in the middle of an epoch, and go on.

All samples of an epoch are seen once, by one process or the other, and the run that was killed sees
what it would have seen. The shards are read from a URL.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from micro_system import micro_config, write_micro_system
from torch.utils.data import DataLoader

from fusion_nb import datasets
from fusion_nb.clips import InputError, write_picture
from fusion_nb.datasets import ResumableDataset, ShardedClips, iter_batches, write_shards
from fusion_nb.synthetic import synthetic_clip
from fusion_nb.training import Trainer, train

SAMPLES, BATCH, PROCESSES = 16, 2, 2
LAP = SAMPLES // (BATCH * PROCESSES)  # steps in an epoch: 4
KILLED, SAVED, STEPS = 6, 5, 2 * LAP  # killed after so many steps, one after the last checkpoint


def write_clips(folder: Path) -> None:
    for c in range(SAMPLES // 2):
        for t, frame in enumerate(synthetic_clip(frames=6, size=(40, 40), seed=c).rgb):
            write_picture(folder / f"clip{c}" / f"{t:05d}.jpg", frame)


def run(folder: Path, log: str, resume: bool) -> None:
    "What each process does: train, and write down each sample when it is read."
    rank, read, step = (
        os.environ.get("RANK", "0"),
        ResumableDataset.__getitem__,
        Trainer.train_step,
    )
    file = open(folder / f"{log}.{rank}", "w", buffering=1)

    def reading(stream: ResumableDataset, sample_index: int) -> dict:
        item = read(stream, sample_index)
        file.write(f"{sample_index} {item['name']}\n")
        return item

    def stepping(trainer: Trainer, batches) -> dict:
        row = step(trainer, batches)
        if not resume and trainer.progress.step + 1 > KILLED:
            os._exit(9)
        return row

    ResumableDataset.__getitem__, Trainer.train_step = reading, stepping
    settings = dict(batch_size=BATCH, epochs=2, save_every=SAVED, resume=resume)
    train(micro_config(folder, "run", dataset=f"file://{folder / 'shards'}", **settings))


def launch(folder: Path, log: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += ["--num_processes", str(PROCESSES), "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return subprocess.run(
        [*command, __file__, str(folder), log],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )


def samples(folder: Path, log: str) -> dict[int, str]:
    "What was read, by place in the stream; no process reads what another has."
    lines = [x for r in range(PROCESSES) for x in (folder / f"{log}.{r}").read_text().splitlines()]
    read = dict((int(place), name) for place, name in (line.split(" ", 1) for line in lines))
    assert len(read) == len(lines)
    return read


def test_two_processes_see_each_sample_once_and_go_on_from_the_middle(tmp_path):
    write_micro_system(tmp_path)
    write_clips(tmp_path / "clips")
    index = write_shards(tmp_path / "clips", tmp_path / "shards", frames=3, megabytes=0.01)
    assert len(index["shards"]) > 1 and sum(map(len, index["shards"].values())) == SAMPLES

    killed = launch(tmp_path, "killed")
    assert killed.returncode != 0
    resumed = launch(tmp_path, "resumed")
    assert resumed.returncode == 0, resumed.stdout

    before, after = samples(tmp_path, "killed"), samples(tmp_path, "resumed")
    size = BATCH * PROCESSES
    assert set(before) == set(range((KILLED + 1) * size)), killed.stdout
    assert set(after) == set(range(SAVED * size, STEPS * size))  # on from the checkpoint
    again = set(before) & set(after)  # what was seen after it counts for nothing: it is seen again
    assert again and all(before[place] == after[place] for place in again)
    seen = before | after
    for lap in range(2):
        names = [seen[place] for place in range(lap * SAMPLES, (lap + 1) * SAMPLES)]
        pieces = Counter(name.rsplit(":", 1)[0] for name in names)
        assert len(pieces) == SAMPLES and set(pieces.values()) == {1}


def test_bad_shards_are_said_in_one_line(tmp_path):
    write_clips(tmp_path / "clips")
    write_shards(tmp_path / "clips", tmp_path / "shards", frames=3)
    with pytest.raises(InputError, match="already exists"):
        write_shards(tmp_path / "clips", tmp_path / "shards", frames=3)
    with pytest.raises(InputError, match="Pack more"):
        ShardedClips(tmp_path / "shards", frames=4, size=32)
    with pytest.raises(InputError, match=r"shards\.json"):
        ShardedClips("file://" + str(tmp_path / "nowhere"))
    shard = tmp_path / "shards" / "clips-000000.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(InputError, match="damaged"):
        ShardedClips(tmp_path / "shards", frames=2, size=32)[SAMPLES - 1]


def test_torn_pictures_do_not_get_into_shards(tmp_path):
    write_clips(tmp_path / "clips")
    torn = tmp_path / "clips" / "clip1" / "00002.jpg"
    torn.write_bytes(torn.read_bytes()[:300])
    with pytest.raises(InputError, match=r"00002\.jpg: cannot be read"):
        write_shards(tmp_path / "clips", tmp_path / "shards", frames=3)
    for wrong in (dict(megabytes=-1), dict(megabytes=float("nan")), dict(frames=0)):
        with pytest.raises(InputError, match="must be above 0"):
            write_shards(tmp_path / "clips", tmp_path / "shards", **wrong)
    assert [p.name for p in tmp_path.iterdir()] == ["clips"]  # nothing is left of a failed one


@pytest.mark.parametrize("fault", ["gone", "no ranges", "missing"])
def test_shards_from_a_server(tmp_path, monkeypatch, fault):
    """A server that is gone for a moment is asked again; one without ranges is served."""
    write_clips(tmp_path / "clips")
    write_shards(tmp_path / "clips", tmp_path / "shards", frames=3)
    monkeypatch.setattr(datasets, "RETRY_SECONDS", (0.01, 0.01))
    gone = [2 if fault == "gone" else 0]  # answers that fail

    class Server(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            file = tmp_path / "shards" / self.path.strip("/")
            if gone[0] and file.suffix == ".tar":
                gone[0] -= 1
                return self.send_error(503)
            if not file.is_file():
                return self.send_error(404)
            data = file.read_bytes()
            asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked and fault != "no ranges":
                first, last = map(int, asked.groups())
                data = data[first : last + 1]
            self.send_response(206 if asked and fault != "no ranges" else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        clips = ShardedClips(f"http://127.0.0.1:{server.server_port}", frames=2, size=32)
        local = ShardedClips(tmp_path / "shards", frames=2, size=32)
        if fault == "missing":
            (tmp_path / "shards" / "clips-000000.tar").unlink()
            with pytest.raises(InputError, match="no such file"):
                clips[0]
        else:
            assert torch.equal(clips[0]["lab"], local[0]["lab"])
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("frames"),
        lambda index: index["shards"].update({"../out.tar": []}),
        lambda index: index["shards"]["clips-000000.tar"][0].pop("sum"),
        lambda index: index["shards"]["clips-000000.tar"][0].update(end=10**15),
        lambda index: index["shards"]["clips-000000.tar"][0].update(pictures={"000.jpg": [0, 9]}),
        lambda index: index["shards"]["clips-000000.tar"][0].update(start="x"),
        lambda index: index.update(shards=[]),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(tmp_path, change):
    write_clips(tmp_path / "clips")
    index = write_shards(tmp_path / "clips", tmp_path / "shards", frames=3)
    change(index)
    (tmp_path / "shards" / "shards.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="not an index of shards"):
        ShardedClips(tmp_path / "shards", frames=2, size=32)


def test_the_error_of_a_worker_is_the_same_line(tmp_path):
    write_clips(tmp_path / "clips")
    write_shards(tmp_path / "clips", tmp_path / "shards", frames=3)
    shard = tmp_path / "shards" / "clips-000000.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    data = ShardedClips(tmp_path / "shards", frames=2, size=32)
    loader = DataLoader(data, batch_size=2, num_workers=1)
    with pytest.raises(InputError) as caught:
        list(iter_batches(loader))
    assert "damaged" in str(caught.value) and "\n" not in str(caught.value)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), sys.argv[2], resume=sys.argv[2] == "resumed")
