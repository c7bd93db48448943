"""Weight files, good and bad: what is read, and what the refusals say."""

import argparse
import collections
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fusion_nb.checkpoints import (
    download_swin,
    load_fusion_unet,
    load_memflow,
    load_strict,
    load_swin_weights,
    load_swintexco,
    read_checkpoint,
    read_weights,
    strip_checkpoint,
)
from fusion_nb.clips import InputError
from fusion_nb.exemplar import ColorVidNet, SwinTExCo, SwinTExCoConfig
from fusion_nb.fusion import FusionUNet, SimpleFusionNet
from fusion_nb.memflow import MemFlow, MemFlowConfig

TINY = MemFlowConfig.tiny()
SMALL = SwinTExCoConfig(24, (2, 2, 2, 2), (1, 2, 4, 8), 16, 1, imagenet=False)


class Harmful:
    "Its pickle makes a file when it is read."

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


@pytest.fixture(scope="module")
def memflow() -> dict:
    torch.manual_seed(0)
    return MemFlow(TINY).state_dict()


@pytest.fixture(scope="module")
def parts() -> dict:
    "The parts of a small fusion system's checkpoint."
    torch.manual_seed(0)
    net = SwinTExCo(SMALL)
    return {
        "swintexco_embed": net.embed_net.state_dict(),
        "swintexco_nonlocal": net.nonlocal_net.state_dict(),
        "swintexco_colornet": ColorVidNet(4, width=8).state_dict(),
        "fusion_unet": FusionUNet().state_dict(),
    }


def prefixed(state: dict) -> dict:
    return {f"module.{name}": value for name, value in state.items()}


def half(state: dict) -> dict:
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def refusal(call, *words: str) -> str:
    "The message of the InputError that a call raises: one line, in our words, with these in it."
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and "\x1b" not in text and "weights_only" not in text
    for word in words:
        assert word in text
    return text


LAYOUTS = {
    "bare": lambda m: m,
    "model": lambda m: {"model": m},
    "module": prefixed,
    "model_module": lambda m: {"model": prefixed(m)},
    "state_dict": lambda m: {"state_dict": m},
    "half": half,
    "numpy": lambda m: {
        "model": m,
        "epoch": np.int64(3),
        "best": np.float32(1.5),
        "dtype": np.dtype("float32"),
        "random": np.random.default_rng(0).random(3),
        "optimizer": {"lr": np.float64(1e-4), "state": {0: {"step": np.int64(5)}}},
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("legacy", [False, True])
def test_layouts(memflow, tmp_path, layout, legacy):
    file = tmp_path / "weights.pth"
    torch.save(LAYOUTS[layout](memflow), file, _use_new_zipfile_serialization=not legacy)
    got = load_memflow(file, TINY).state_dict()
    for name, value in memflow.items():
        exact = value.half().float() if layout == "half" and value.is_floating_point() else value
        assert torch.equal(got[name], exact)


def test_safetensors(memflow, tmp_path):
    save_file({k: v.clone() for k, v in memflow.items()}, tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors").keys() == memflow.keys()
    cut = (tmp_path / "a.safetensors").read_bytes()[:-10]
    (tmp_path / "b.safetensors").write_bytes(cut)
    refusal(lambda: read_weights(tmp_path / "b.safetensors"), "b.safetensors", "damaged")


def test_saved_on_a_gpu(memflow, tmp_path):
    torch.save(memflow, tmp_path / "cpu.pth")
    with zipfile.ZipFile(tmp_path / "cpu.pth") as old:
        with zipfile.ZipFile(tmp_path / "cuda.pth", "w") as new:
            for entry in old.infolist():
                content = old.read(entry.filename)
                if entry.filename.endswith("data.pkl"):
                    cpu, cuda = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
                    content = content.replace(cpu, cuda)
                new.writestr(entry, content)
    assert read_weights(tmp_path / "cuda.pth").keys() == memflow.keys()


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (Path("x"), "pathlib"),
        (ColorVidNet(4, width=8), "ColorVidNet"),
        (collections.deque([1]), "collections.deque"),
    ],
)
def test_other_objects_are_named_and_can_be_stripped(memflow, tmp_path, extra, kind):
    file = tmp_path / "a.pth"
    torch.save({"model": memflow, "extra": extra}, file)
    refusal(lambda: load_memflow(file, TINY), str(file), kind, "strip_checkpoint")
    strip_checkpoint(file, tmp_path / "clean.pth")
    assert list(read_checkpoint(tmp_path / "clean.pth")) == ["model"]
    assert torch.equal(
        read_weights(tmp_path / "clean.pth")["fnet.conv1.weight"], memflow["fnet.conv1.weight"]
    )


@pytest.mark.parametrize("how", ["zip", "legacy", "plain"])
def test_no_code_runs(memflow, tmp_path, how):
    file, trace = tmp_path / "a.pth", tmp_path / "trace"
    content = {"model": memflow, "x": Harmful(trace)}
    if how == "plain":
        file.write_bytes(pickle.dumps(Harmful(trace)))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "zip")
    refusal(lambda: read_weights(file), "could run code", *["system"][: how != "plain"])
    try:
        strip_checkpoint(file, tmp_path / "clean.pth")
    except InputError:
        assert how == "plain"
    assert not trace.exists()


def test_damaged_files_are_not_taken_for_code(memflow, tmp_path):
    torch.save(memflow, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    files = {
        "cut": (whole[: len(whole) // 2], "damaged"),
        "flipped": (bytes(flipped), "damaged"),
        "page": (b"<html>404</html>", "not a file of weights"),
        "empty": (b"", "empty (0 bytes)"),
    }
    for name, (content, words) in files.items():
        (tmp_path / f"{name}.pth").write_bytes(content)
        text = refusal(lambda name=name: read_weights(tmp_path / f"{name}.pth"), words)
        assert "code" not in text
    refusal(lambda: read_weights(tmp_path / "nowhere.pth"), "no such file")
    torch.save([1, 2], tmp_path / "list.pth")
    refusal(lambda: read_weights(tmp_path / "list.pth"), "holds a list")


def test_values_and_shapes(memflow, tmp_path):
    bad = torch.full_like(memflow["cnet.norm1.weight"], float("nan"))
    changes = {
        "nan": ({"cnet.norm1.weight": bad}, "not finite"),
        "infinite": ({"cnet.norm1.weight": bad.nan_to_num(float("inf")) / 0}, "not finite"),
        "wide": ({"cnet.norm1.weight": torch.zeros(32)}, "is (32,), expected (16,)"),
        "more": ({"extra": torch.zeros(1)}, "extra is unknown"),
    }
    for name, (change, words) in changes.items():
        torch.save(memflow | change, tmp_path / f"{name}.pth")
        refusal(
            lambda name=name: load_memflow(tmp_path / f"{name}.pth", TINY), f"{name}.pth", words
        )
    torch.save(
        {k: v for k, v in memflow.items() if k != "cnet.norm1.weight"}, tmp_path / "less.pth"
    )
    refusal(lambda: load_memflow(tmp_path / "less.pth", TINY), "cnet.norm1.weight is missing")
    refusal(lambda: load_memflow(tmp_path / "less.pth"), "other widths", "more)")
    refusal(lambda: load_strict(torch.nn.Linear(2, 2), memflow, "x.pth"), "another network")


@pytest.mark.parametrize("name", ["MemFlowNet_T_things", "MemFlowNet_P_sintel", "memflownet_t"])
def test_other_memflow_networks_are_refused_by_name(memflow, tmp_path, name):
    torch.save(memflow, tmp_path / f"{name}.pth")
    refusal(lambda: load_memflow(tmp_path / f"{name}.pth", TINY), "another network", "_things.pth")
    torch.save(memflow, tmp_path / "MemFlowNet_things.pth")
    load_memflow(tmp_path / "MemFlowNet_things.pth", TINY)


@pytest.mark.parametrize("wrap", [dict, prefixed, half, lambda s: {"state_dict": s}])
def test_swintexco_folder_and_file(parts, tmp_path, wrap):
    for key, name in zip(parts, ("embed_net", "nonlocal_net", "colornet"), strict=False):
        torch.save(wrap(parts[key]), tmp_path / f"{name}.pth")
    torch.save({k: wrap(v) for k, v in parts.items()} | {"epoch": 3}, tmp_path / "fusion.pth")
    for path in (tmp_path, tmp_path / "fusion.pth"):
        net = load_swintexco(path)
        assert (net.config.width, net.config.imagenet, net.colornet.in_channels) == (16, False, 4)
        assert set(net.sources.values()) == {str(path)}
        assert not net.training and not any(p.requires_grad for p in net.embed_net.parameters())
    unet = load_fusion_unet(tmp_path / "fusion.pth")
    assert unet is not None and unet.conv10_ab.weight.shape == (2, 128, 1, 1)
    assert load_fusion_unet(tmp_path) is None


def test_parts_that_are_missing_or_wrong(parts, tmp_path):
    file = tmp_path / "fusion.pth"

    def write(**changes) -> Path:
        torch.save({k: v for k, v in (parts | changes).items() if v != "gone"}, file)
        return file

    write(swintexco_colornet=None, fusion_unet=None)
    assert load_swintexco(file).colornet is None and load_fusion_unet(file) is None
    write(swintexco_nonlocal="gone")
    refusal(lambda: load_swintexco(file), "no SwinTExCo", "nonlocal_net is missing")
    write(swintexco_embed={"x": torch.zeros(3)})
    refusal(lambda: load_swintexco(file), "another network than SwinTExCo")
    write(swintexco_colornet=ColorVidNet(5, width=8).state_dict())
    refusal(lambda: load_swintexco(file), "this file's takes 5")
    wide = dict(parts["fusion_unet"]) | {"conv1_1.0.weight": torch.zeros(32, 7, 3, 3)}
    write(fusion_unet=wide)
    refusal(lambda: load_fusion_unet(file), "conv1_1.0.weight is (32, 7, 3, 3)")
    write(fusion_unet=SimpleFusionNet().state_dict())
    refusal(lambda: load_fusion_unet(file), "another network")
    old = dict(parts["swintexco_embed"])
    old["pretrained.stages_0.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)  # of older timm
    write(swintexco_embed=old)
    load_swintexco(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    refusal(lambda: load_swintexco(empty), "no SwinTExCo", "embed_net is missing")


def test_the_backbone_says_why_and_what_to_delete(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("the proxy said no")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    words = ("ConnectionError: the proxy said no", "preset tiny", "model.safetensors")
    refusal(lambda: download_swin(tmp_path / "swin.safetensors"), *words)
    blob, link = tmp_path / "blob", tmp_path / "model.safetensors"
    blob.write_bytes(b"half a download")
    link.symlink_to(blob)  # as in the hub's cache
    embed_net = SwinTExCo.tiny().embed_net
    refusal(lambda: load_swin_weights(embed_net, link), f"Delete {blob.resolve()}")
    link.unlink()
    save_file({"head.fc.weight": torch.zeros(2)}, link)  # fits nothing: no random weights
    refusal(lambda: load_swin_weights(embed_net, link), "no weights of swinv2")
