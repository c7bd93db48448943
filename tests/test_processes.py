"""Two processes under `accelerate launch` take the steps of one process with twice the batch.

What the match head's dropout draws differs between processes, so it is off here. The rest differs
only by the order of sums: losses agree to 1e-3 of their value, weights to 5 % of the way they went.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch
from micro_system import micro_config, write_micro_system
from safetensors.torch import load_file

from fusion_nb.runs import TrainConfig, last_checkpoint, read_metrics
from fusion_nb.training import train


def config(folder: Path, name: str, batch_size: int) -> TrainConfig:
    steps = dict(steps=6, clips_per_epoch=12, dropout=0.0)
    return micro_config(folder, name, batch_size=batch_size, **steps)


def run(folder: Path, name: str) -> tuple[list[dict], dict]:
    "A run's metrics and its last tensors."
    metrics = read_metrics(folder / name / "metrics.jsonl")
    return metrics, last_checkpoint(folder / name / "checkpoints")[0]


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(tmp_path):
    write_micro_system(tmp_path)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", "0", __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pair = subprocess.Popen(
        launch, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(config(tmp_path, "one", batch_size=4))
    torch.set_num_threads(threads)
    output = pair.communicate(timeout=300)[0]
    assert pair.returncode == 0, output

    (one, weights_one), (two, weights_two) = run(tmp_path, "one"), run(tmp_path, "two")
    assert (one[0]["processes"], two[0]["processes"]) == (1, 2)
    # Each line is there once: only the first process writes.
    kinds = Counter((row["kind"], row["step"]) for row in two)
    assert kinds == Counter((row["kind"], row["step"]) for row in one)
    assert set(kinds.values()) == {1}

    losses = [[row["loss"] for row in rows if row["kind"] == "step"] for rows in (one, two)]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-3, atol=0)
    start = load_file(tmp_path / "micro" / "model.safetensors")
    way = torch.cat([(weights_one[f"system/{n}"] - p).flatten() for n, p in start.items()])
    apart = [weights_one[f"system/{n}"] - weights_two[f"system/{n}"] for n in start]
    apart = torch.cat([x.flatten() for x in apart])
    print(f"way {way.norm():.5f}, apart {apart.norm():.2e}, losses {losses}")
    assert 0 < apart.norm() < 0.05 * way.norm()


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(config(Path(sys.argv[1]), "two", batch_size=2))
