"""The networks and losses give the published numbers on deterministic weights.

`parity/*.json` has names and shapes of all parameters, `parity/*.npz` inputs and outputs of the
published code; `parity/weights.py` draws the weights, which follow from a parameter's name. An
output passes when its largest error is below 1e-3 of the expected output's largest value.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).resolve().parent / "parity"
sys.path.insert(0, str(HERE))

from weights import draw, signal  # noqa: E402

from fusion_nb.exemplar import ColorVidNet, WarpNet  # noqa: E402
from fusion_nb.fusion import FusionUNet  # noqa: E402
from fusion_nb.losses import (  # noqa: E402
    adaptive_temporal_loss,
    contextual_loss,
    discriminator_loss,
    generator_loss,
)
from fusion_nb.memflow import FlowMemory, MemFlow, MemFlowConfig  # noqa: E402
from fusion_nb.metrics import cdc  # noqa: E402


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def read(name: str):
    "Names or numbers, and arrays where there are any."
    meta = json.loads((HERE / f"{name}.json").read_text())
    arrays = HERE / f"{name}.npz"
    return meta, np.load(arrays) if arrays.exists() else None


def filled(net: torch.nn.Module, keys: dict) -> torch.nn.Module:
    "The network with its weights; every name and shape must match."
    own = net.state_dict()
    kept = ("num_batches_tracked", "rel_ind")
    state = {
        name: own[name] if name.endswith(kept) else torch.from_numpy(draw(name, shape))
        for name, shape in keys.items()
    }
    net.load_state_dict(state)
    return net.eval()


def sig(name: str, shape: tuple) -> torch.Tensor:
    return torch.from_numpy(signal(f"{name}-a", shape))


def assert_close(got, want) -> None:
    got, want = np.asarray(got, dtype="float64"), np.asarray(want, dtype="float64")
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 1e-3 * (np.abs(want).max() + 1e-12)


def test_memflow():
    meta, arrays = read("memflow_a")
    model = filled(MemFlow(MemFlowConfig(iters=meta["decoder_depth"])), meta["keys"])
    memory, frames = FlowMemory(max_frames=2, keep=1), torch.from_numpy(arrays["frames"])[:, None]
    for t in range(len(frames) - 1):
        out = model(frames[t], frames[t + 1], memory=memory)
        assert_close(out.flow_low[0], arrays[f"flow_low_{t}"])
        assert_close(out.flow[0, :, ::4, ::4], arrays[f"flow_up_{t}"])


@pytest.mark.parametrize(("temperature", "name"), [(0.01, "soft"), (1e-10, "hard")])
def test_warpnet(temperature: float, name: str):
    keys, arrays = read("fusion_a")
    h, w = arrays["warp_soft"].shape[1:]
    net = filled(WarpNet(128), keys["nonlocal_net"])
    shapes = [(1, 96 * 2**i, h // 2 ** (i + 1), w // 2 ** (i + 1)) for i in range(4)]
    exemplar = [sig(f"B{i}", shape) for i, shape in enumerate(shapes)]
    target = [
        x.roll((x.shape[-2] // 4, x.shape[-1] // 4), (-2, -1)) + 0.1 * sig(f"A{i}", x.shape)
        for i, x in enumerate(exemplar)
    ]
    target, exemplar = (
        [x / (x.norm(2, 1, keepdim=True) + sys.float_info.epsilon) for x in maps]
        for maps in (target, exemplar)
    )
    exemplar_lab = sig("exemplar_lab", (1, 3, h, w))
    lab, similarity = net(exemplar_lab, target, exemplar, temperature=temperature)
    assert_close(lab[0], arrays[f"warp_{name}"])
    assert_close(similarity[0], arrays["similarity"])


def test_colornet():
    keys, arrays = read("fusion_a")
    net = filled(ColorVidNet(in_channels=4), keys["colornet_4"])
    h, w = arrays["colornet_4"].shape[1:]
    assert_close(net(sig("c4", (1, 4, h, w)))[0], arrays["colornet_4"])


def test_fusion_unet():
    keys, arrays = read("fusion_a")
    net = filled(FusionUNet(), keys["fusion_unet"])
    h, w = arrays["fusion"].shape[1:]
    inputs = [sig(n, (1, c, h, w)) for n, c in (("mf", 3), ("mc", 1), ("sl", 3), ("ss", 1))]
    assert_close(net(*inputs)[0], arrays["fusion"])


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_contextual_loss(direction: str):
    want, _ = read("losses_a")
    x, y = sig("X", (2, 16, 8, 12)), sig("Y", (2, 16, 8, 12))
    y = 0.7 * x.roll(3, -1) + 0.5 * y
    got = contextual_loss(x, y, h=0.1, direction=direction)
    assert_close(got, want[f"contextual_{direction}"])


def test_other_losses():
    want, _ = read("losses_a")
    real, fake = sig("real", (4, 1)), sig("fake", (4, 1))
    assert_close(generator_loss(real, fake), want["generator"])
    assert_close(discriminator_loss(real, fake), want["discriminator"])
    colors = [sig(f"t{i}", (1, 2, 16, 16)) for i in range(4)]
    sure = [(sig(f"k{i}", (1, 1, 16, 16)) + 1) / 2 for i in range(2)]
    got = adaptive_temporal_loss(*colors, *sure, smooth_weight=0.3)
    assert_close(got, want["adaptive_temporal"]["total"])


def test_cdc():
    want, _ = read("losses_a")
    assert_close(cdc(np.load(HERE / "losses_a_frames.npz")["frames"]), want["cdc"])
