"""A training run is killed again and again with SIGKILL, at random moments of its steps, validations
and checkpoint writes, and resumed each time. It ends with the very weights of an untouched run.

Python and torch take seconds to start, so this process imports everything once and forks: each
child trains and is shot, the parent only waits and shoots.
"""

import mmap
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import cv2
import pytest
import torch
from micro_system import micro_config, write_micro_system

from fusion_nb import runs
from fusion_nb.runs import TrainConfig, last_checkpoint, read_metrics
from fusion_nb.training import Trainer, train, validation_clips

KILLS = 9
STEP, VALIDATION, WRITE, OTHER = b"s", b"v", b"w", b"."

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def killed_config(folder: Path, name: str, resume: bool = False) -> TrainConfig:
    "A run of seconds: a validation every three steps, a checkpoint then and every two."
    steps = dict(steps=45, clips_per_epoch=6, save_every=2, gan_start_epoch=2)
    return micro_config(folder, name, resume=resume, **steps)


def fork(job, *args) -> int:
    "Run a job in a child process; its process id."
    if child := os.fork():
        return child
    code = 1
    try:
        sys.settrace(None)  # no coverage: it makes the steps slower
        # Threads do not survive a fork: whatever ran in the parent before, here there are none.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        job(*args)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait_for(child: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "a run failed by itself"


def train_and_tell(config: TrainConfig, now: mmap.mmap) -> None:
    "Train, and let the parent see what the run is doing."

    def telling(phase: bytes, function):
        def told(*args, **kwargs):
            now[:1] = phase
            try:
                return function(*args, **kwargs)
            finally:
                now[:1] = OTHER

        return told

    Trainer.train_step = telling(STEP, Trainer.train_step)
    Trainer.end_epoch = telling(VALIDATION, Trainer.end_epoch)
    runs.write_checkpoint = telling(WRITE, runs.write_checkpoint)
    train(config)


def shoot(child: int, now: mmap.mmap, phase: bytes, rng: random.Random) -> bytes | None:
    "Kill the child a random while after a phase began; says what it was doing."
    turns = rng.randint(1, 3) if phase == STEP else 1
    delay = rng.uniform(0, 0.004 if phase == WRITE else 0.04)
    before, aim = OTHER, float("inf")
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        seen = now[:1]
        turns -= seen == phase != before
        before = seen
        if turns == 0:
            aim = min(aim, time.perf_counter() + delay)
        if time.perf_counter() >= aim:
            doing = now[:1]
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return doing
        time.sleep(2e-4)  # leave the core to the child
    return None


def test_a_run_that_is_killed_and_resumed_ends_with_the_same_weights(tmp_path):
    now, rng = mmap.mmap(-1, 1), random.Random(seed := time.time_ns())
    print(f"seed {seed}")
    wait_for(fork(write_micro_system, tmp_path))
    validation_clips(killed_config(tmp_path, "whole"))  # pictures that all children will need
    wait_for(fork(train, killed_config(tmp_path, "whole")))

    hits, torn = Counter(), 0
    while hits.total() < KILLS:
        now[:1] = OTHER
        phase = (STEP, VALIDATION, WRITE)[hits.total() % 3]
        config = killed_config(tmp_path, "shot", resume=hits.total() > 0)
        child = fork(train_and_tell, config, now)
        doing = shoot(child, now, phase, rng)
        assert doing is not None, f"the run was over after {hits.total()} kills: give it more steps"
        hits[doing] += 1
        torn += any((tmp_path / "shot" / "checkpoints").glob(".step_*"))
    wait_for(fork(train, killed_config(tmp_path, "shot", resume=True)))
    print(f"{KILLS} kills: {dict(hits)}, {torn} in the middle of a write")

    for phase in (STEP, VALIDATION, WRITE):
        assert hits[phase] >= 2, f"no kill in phase {phase}: {hits}"
    whole, shot = (last_checkpoint(tmp_path / run / "checkpoints") for run in ("whole", "shot"))
    assert whole[1]["progress"]["step"] == shot[1]["progress"]["step"] == 45
    assert whole[0].keys() == shot[0].keys()
    for name, tensor in whole[0].items():
        assert torch.equal(tensor, shot[0][name]), name
    # The metrics, too, are those of a run without a break, but for the times.
    lines = [read_metrics(tmp_path / run / "metrics.jsonl") for run in ("whole", "shot")]
    for a, b in zip(*lines, strict=True):
        for key in a.keys() - {"seconds", "waited", "config", "commit"}:
            assert a[key] == b[key], (a["kind"], a["step"], key)
