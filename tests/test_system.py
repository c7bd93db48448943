"""Systems of every kind: saved, loaded, trained, resumed; presets, references, the guide's calls."""

import json
import logging
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.optim as optim
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from fusion_nb import system as system_module
from fusion_nb.checkpoints import NETWORKS
from fusion_nb.clips import InputError
from fusion_nb.color import rgb_to_lab
from fusion_nb.exemplar import ColorVidNet, SwinTExCo, SwinTExCoConfig
from fusion_nb.flow import DISFlow
from fusion_nb.fusion import BlendFusion, FusionOutput, FusionUNet, SimpleFusionNet
from fusion_nb.losses import FusionLoss
from fusion_nb.memflow import MemFlow, MemFlowConfig
from fusion_nb.system import Colorizer, FusionSystem, exemplars_by_frame, summary

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints" / "tiny"
TINY_MATCH = SwinTExCoConfig(8, (1, 1, 1, 1), (1, 1, 2, 2), width=4, blocks=1, imagenet=False)
SIZE = (40, 48)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clip_lab(frames: int = 3, batch: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return rgb_to_lab(rng.integers(0, 256, (batch * frames, *SIZE, 3), np.uint8)).view(
        batch, frames, 3, *SIZE
    )


def picture(seed: int, size=SIZE) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(pixels)


def tiny_match(colornet: ColorVidNet | None = None) -> SwinTExCo:
    return SwinTExCo(TINY_MATCH, colornet)


def random_system(**networks) -> FusionSystem:
    networks = {"swintexco": tiny_match(), "flow": DISFlow("ultrafast")} | networks
    return FusionSystem("tiny", pretrained=False, **networks)


FUSIONS = {
    "blend2": lambda: BlendFusion(width=4),
    "blend3": lambda: BlendFusion(width=4, candidates=3),
    "unet": lambda: FusionUNet(4),
    "simple": lambda: SimpleFusionNet(4),
}
FLOWS = {
    "dis": lambda: DISFlow("fast"),
    "memflow": lambda: MemFlow(MemFlowConfig.tiny(iters=2)),
    "memflow-lab": lambda: MemFlow(MemFlowConfig.tiny(iters=2, lab_input=True)),
}
COLORNETS = {
    "none": lambda: None,
    "colornet4": lambda: ColorVidNet(4, width=8),
    "colornet7": lambda: ColorVidNet(7, width=8, output_scale=128 / 127),
}


@pytest.mark.parametrize(
    ("flow", "colornet", "fusion"),
    [
        ("dis", "none", "blend3"),
        ("dis", "colornet4", "unet"),
        ("dis", "colornet7", "simple"),
        ("memflow", "colornet4", "blend2"),
        ("memflow", "none", "unet"),
        ("memflow-lab", "colornet7", "blend3"),
        ("memflow-lab", "none", "simple"),
    ],
)
def test_every_system_is_saved_and_loaded(tmp_path, flow, colornet, fusion):
    nets = {"fusion_net": FUSIONS[fusion](), "flow": FLOWS[flow]()}
    made = random_system(swintexco=tiny_match(COLORNETS[colornet]()), **nets)
    made.match_side = 32
    nn.init.normal_(next(made.fusion_net.parameters()))
    made.save_pretrained(tmp_path)
    loaded = FusionSystem.from_pretrained(tmp_path)
    assert summary(loaded) == summary(made)
    assert loaded.match_side == 32 and loaded.config() == made.config()
    lab = clip_lab()
    with torch.no_grad():
        pair = [net(lab[:, :, :1], lab[:, 0]).lab for net in (made, loaded)]
    assert torch.equal(*pair)
    assert not list(tmp_path.glob(".*"))  # nothing is left of the writing


def published_folder(folder: Path, channels: int = 4) -> Path:
    """SwinTExCo's files as published, at tiny widths."""
    folder.mkdir()
    match = tiny_match()
    torch.save(match.embed_net.state_dict(), folder / "embed_net.pth")
    torch.save(match.nonlocal_net.state_dict(), folder / "nonlocal_net.pth")
    torch.save(ColorVidNet(channels, width=8).state_dict(), folder / "colornet.pth")
    return folder


@pytest.mark.parametrize("channels", [4, 7])
def test_strategy_1_is_saved_loaded_trained_and_resumed(tmp_path, channels):
    folder = published_folder(tmp_path / "published", channels)
    given = {"flow": DISFlow("ultrafast"), "fusion_net": SimpleFusionNet(4)}
    system = FusionSystem(swintexco_ckpt="published", swintexco_path=tmp_path, **given)
    assert system.preset == "base" and folder.exists()
    assert system.swintexco.colornet.in_channels == channels

    def train(net: FusionSystem, optimizer, steps: int) -> None:
        torch.manual_seed(1)  # the dropout of the head
        for _ in range(steps):
            net.train().reset_memory()
            frames = list(clip_lab()[0][:, None])
            outputs = net.forward_sequence(frames, None, [picture(1)])
            loss = sum((o - f).abs().mean() for o, f in zip(outputs, frames, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert torch.isfinite(loss)

    before = {name: p.clone() for name, p in system.named_parameters()}
    optimizer = optim.Adam([g | {"lr": 1e-3} for g in system.get_parameter_groups()])
    train(system, optimizer, 1)
    moved = {n.rpartition(".")[0] for n, p in system.named_parameters() if not p.equal(before[n])}
    assert moved and all(n.startswith(("swintexco.nonlocal_net", "fusion_net")) for n in moved)
    system.save_pretrained(tmp_path / "saved")
    resumed = FusionSystem.from_pretrained(tmp_path / "saved")
    again = optim.Adam([g | {"lr": 1e-3} for g in resumed.get_parameter_groups()])
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    train(system, optimizer, 1)
    train(resumed, again, 1)
    weights = resumed.state_dict()
    assert all(value.equal(weights[name]) for name, value in system.state_dict().items())


def test_the_shipped_file_fills_the_system():
    weights, system = load_file(SHIPPED / "model.safetensors"), FusionSystem("tiny")
    state = system.state_dict()
    assert all(state[name].equal(value) for name, value in weights.items())
    assert len(weights) == len(state) and system.match_side == 448


@pytest.mark.parametrize("fusion", [BlendFusion(4, 3), FusionUNet(4), SimpleFusionNet(4)])
def test_files_of_the_first_edition_are_upgraded(tmp_path, fusion):
    flow = MemFlow(MemFlowConfig.tiny(iters=2, lab_input=True))
    system = random_system(fusion_net=fusion, flow=flow)
    system.save_pretrained(tmp_path)
    new = json.loads((tmp_path / "config.json").read_text())["networks"]
    sizes = new["flow"]["settings"]["config"]["settings"]
    sizes["colour_trained"] = sizes.pop("lab_input")
    kind = new["fusion_net"]
    kind = kind["settings"]["net"] if kind["kind"] == "TwoBranchFusion" else kind
    match = new["swintexco"]["settings"]["config"]["settings"]
    old = {
        "preset": "tiny",
        "flow": {"kind": "MemFlow", "settings": {"config": sizes}},
        "swintexco": {"config": match, "colornet": None},
        "fusion": kind,
    }
    (tmp_path / "config.json").write_text(json.dumps(old))
    weights = load_file(tmp_path / "model.safetensors")
    names = {n: n.replace("confidence_calibration", "calibrate") for n in weights}
    if not isinstance(fusion, BlendFusion):
        names = {n: n.replace("fusion_net.net.", "fusion_net.") for n in weights}
    save_file({names[n]: v for n, v in weights.items()}, tmp_path / "model.safetensors")
    loaded = FusionSystem.from_pretrained(tmp_path)
    assert all(v.equal(loaded.state_dict()[n]) for n, v in system.state_dict().items())
    assert loaded.flow.config.lab_input is True


@pytest.fixture
def memflow_file(tmp_path) -> Path:
    file = tmp_path / "MemFlowNet_sintel.pth"
    torch.save({"model": MemFlow().state_dict()}, file)
    return file


def test_tiny_keeps_its_weights_with_a_memflow_checkpoint(memflow_file):
    shipped, system = FusionSystem("tiny"), FusionSystem("tiny", memflow_ckpt=memflow_file)
    assert isinstance(system.flow, MemFlow) and isinstance(shipped.flow, DISFlow)
    for part in ("swintexco", "fusion_net"):
        ours, theirs = getattr(system, part).state_dict(), getattr(shipped, part).state_dict()
        assert all(value.equal(theirs[name]) for name, value in ours.items())


def test_tiny_without_its_weights_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(system_module, "project_path", lambda *parts: tmp_path.joinpath(*parts))
    with pytest.raises(InputError, match="weights are missing.*pretrained=False"):
        FusionSystem("tiny")
    assert isinstance(FusionSystem("tiny", pretrained=False), FusionSystem)


def test_weights_are_taken_from_the_package_first(tmp_path, monkeypatch):
    package = tmp_path / "fusion_nb"
    shutil.copytree(SHIPPED, package / "presets" / "tiny")
    monkeypatch.setattr(system_module.fusion_nb, "__file__", str(package / "__init__.py"))
    assert system_module.preset_folder("tiny") == package / "presets" / "tiny"


def test_base_says_what_is_untrained(monkeypatch, caplog):
    monkeypatch.setattr(system_module, "load_swintexco", lambda *_: tiny_match())
    with caplog.at_level(logging.WARNING, "fusion_nb.system"):
        FusionSystem("base")
    assert len(caplog.records) == 2 and all("\n" not in r.message for r in caplog.records)
    assert "DIS flow" in caplog.text and "raw features" in caplog.text
    caplog.clear()
    FusionSystem("base", flow=DISFlow(), swintexco=tiny_match())
    FusionSystem("tiny")
    assert not caplog.records


def test_an_untrained_head_matches_on_raw_features_until_it_is_trained(tmp_path):
    match = SwinTExCo(TINY_MATCH, zero_shot=True)
    system, lab = random_system(swintexco=match, fusion_net=BlendFusion(4)).eval(), clip_lab()
    system.save_pretrained(tmp_path)
    loaded = FusionSystem.from_pretrained(tmp_path)
    assert loaded.swintexco.zero_shot
    nn.init.normal_(loaded.swintexco.nonlocal_net.theta.weight)  # is not used yet
    with torch.no_grad():
        results = [net(lab[:, :, :1], lab[:, 0]).match_lab for net in (system, loaded)]
        loaded.train().eval()
        results.append(loaded(lab[:, :, :1], lab[:, 0]).match_lab)
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert (
        not loaded.swintexco.zero_shot
        and not loaded.config()["networks"]["swintexco"]["settings"]["zero_shot"]
    )


class OwnFusion(nn.Module):
    """A fusion net of a user that can be described."""

    candidates = 2

    def __init__(self, gain: float):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, candidates):
        return FusionOutput(self.gain * candidates[0].lab[:, 1:])


class ForgetfulFusion(OwnFusion):
    def __init__(self, strength: float):
        super().__init__(strength)


def test_own_networks_are_refused_at_once_or_saved(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="OwnFusion.*its class is unknown.*NETWORKS"):
        random_system(fusion_net=OwnFusion(0.5))
    for own in (OwnFusion, ForgetfulFusion):
        monkeypatch.setitem(NETWORKS, own.__name__, own)
    with pytest.raises(InputError, match="does not keep the argument 'strength'"):
        random_system(fusion_net=ForgetfulFusion(0.5))
    net = OwnFusion(0.5)
    Colorizer(DISFlow(), tiny_match(), net)  # not saved, so nothing is asked of it
    monkeypatch.setattr(OwnFusion, "__init__", lambda self, width=1: plain_init(self, width))
    random_system(fusion_net=OwnFusion(2)).save_pretrained(tmp_path)
    assert FusionSystem.from_pretrained(tmp_path).fusion_net.width == 2


def plain_init(net: OwnFusion, width: int) -> None:
    nn.Module.__init__(net)
    net.width, net.gain = width, nn.Parameter(torch.tensor(0.5))


@pytest.mark.parametrize(
    "damage",
    ["cut", "no config", "no weights", "config of nothing", "unknown kind", "nan"],
)
def test_damaged_systems_say_what_is_wrong(tmp_path, damage):
    random_system(fusion_net=BlendFusion(4)).save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "no config":
        config.unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "config of nothing":
        config.write_text("[]")
    elif damage == "unknown kind":
        config.write_text(config.read_text().replace("BlendFusion", "MagicFusion"))
    else:
        state = load_file(weights)
        state["fusion_net.net.stem.bias"][0] = float("nan")
        save_file(state, weights)
    with pytest.raises(InputError) as error:
        FusionSystem.from_pretrained(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message or "MagicFusion" in message
    assert "\n" not in message


def test_the_hub_is_asked_with_all_options(tmp_path, monkeypatch):
    random_system(fusion_net=BlendFusion(4)).save_pretrained(tmp_path)
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(system_module, "snapshot_download", download)
    options = {"revision": "v2", "token": "secret", "cache_dir": "cache"}
    FusionSystem.from_pretrained("user/name", **options)
    assert asked == options | {"name": "user/name"}

    def fail(name, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(system_module, "snapshot_download", fail)
    with pytest.raises(InputError, match="user/name.*ConnectionError: no route to host"):
        FusionSystem.from_pretrained("user/name")


def test_push_to_hub_uploads_the_folder(monkeypatch):
    uploaded = {}

    class Api:
        def __init__(self, token=None):
            uploaded["token"] = token

        def create_repo(self, repo_id, **options):
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id, folder_path, revision=None, **options):
            files = {p.name for p in Path(folder_path).iterdir()}
            uploaded.update(repo_id=repo_id, files=files, revision=revision)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    random_system(fusion_net=BlendFusion(4)).push_to_hub("me/colors", token="t", branch="b")
    assert uploaded["files"] == {"config.json", "model.safetensors", "README.md"}
    assert (uploaded["repo_id"], uploaded["token"], uploaded["revision"]) == ("me/colors", "t", "b")


def test_a_disk_that_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        random_system(fusion_net=BlendFusion(4)).save_pretrained(tmp_path / "file")


def test_changing_references_are_never_confused():
    """Thirty pictures, each deleted before the next: Python gives addresses out again."""
    system = random_system(fusion_net=BlendFusion(4)).eval()
    frames = list(clip_lab(1)[0][:, None])
    with torch.no_grad():
        kept, expected = [picture(seed) for seed in range(30)], []
        for reference in kept:
            system.reset_memory()
            expected.append(system.forward_sequence(frames, None, [reference])[0])
        system.reset_memory()
        for seed in range(30):
            system.session.state = None
            found = system.forward_sequence(frames, None, [picture(seed)])[0]
            assert torch.equal(found, expected[seed])
    assert len(system.session.encoded) <= system.session.max_exemplars


def test_references_of_a_batch_are_understood_or_refused():
    a, b, c = (picture(seed) for seed in range(3))
    assert exemplars_by_frame([a, b], 3, 2) == [[a, b]] * 3
    assert exemplars_by_frame([a, b, c], 3, 2) == [[a, a], [b, b], [c, c]]
    with pytest.raises(ValueError, match="one a clip or one a frame"):
        exemplars_by_frame([a, b], 2, 2)
    assert exemplars_by_frame([[a, b]], 2, 2) == [[a, b]] * 2
    assert exemplars_by_frame([[a, b], [b, c]], 2, 2) == [[a, b], [b, c]]
    with pytest.raises(ValueError, match="3 references for a batch of 2"):
        exemplars_by_frame([[a, b, c]], 2, 2)
    system, frames = random_system(fusion_net=BlendFusion(4)).eval(), clip_lab(2, batch=2)
    with torch.no_grad():
        both = system.forward_sequence(list(frames.unbind(1)), None, [[a, b]])
        for n, reference in enumerate((a, b)):
            system.reset_memory()
            alone = system.forward_sequence(list(frames[n : n + 1].unbind(1)), None, reference)
            torch.testing.assert_close(both[1][n], alone[1][0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_target_colours_stay_outside(fusion):
    system = random_system(fusion_net=FUSIONS[fusion]()).eval()
    frames, reference = list(clip_lab()[0][:, None]), picture(5)
    noise = [torch.cat([f[:, :1], torch.rand_like(f[:, 1:])], 1) for f in frames]
    results = []
    with torch.no_grad():
        for given in (frames, noise):
            system.reset_memory()
            results.append(torch.cat(system.forward_sequence(given, None, [reference])))
    assert torch.equal(*results)
    assert torch.equal(results[0][:, :1], torch.cat(frames)[:, :1])
    with pytest.raises(ValueError, match="must stay outside"):
        system(torch.stack(frames, 1), frames[0])


def test_state_keeps_its_size_and_calls_continue():
    system = random_system(fusion_net=BlendFusion(4, 3)).eval()
    lab = clip_lab(6)
    with torch.no_grad():
        whole = system(lab[:, :, :1], lab[:, 0]).lab
        first, state = system.unroll(lab[:, :2, :1], lab[:, 0])
        second, _ = system.unroll(lab[:, 2:, :1], lab[:, 0], state)
        streamed = [out.lab for out in system.stream(lab[0, :, None, :1], lab[:, 0])]
    assert torch.equal(whole, torch.cat([first.lab, second.lab], 1))
    assert torch.equal(whole, torch.stack(streamed, 1))


class OnDevice(TorchFunctionMode):
    """Refuse what would make a GPU wait for the CPU."""

    WAITS = "item cpu numpy tolist __bool__ __float__ __int__ __index__ __array__ nonzero".split()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert getattr(function, "__name__", "") not in self.WAITS, function
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("fusion", ["blend2", "unet"])
def test_no_frame_leaves_the_device(fusion):
    """From L to ab nothing waits for a value."""
    color_on_device(random_system(flow=FLOWS["memflow"](), fusion_net=FUSIONS[fusion]()))


def test_only_dis_leaves_the_device():
    """OpenCV's DIS has no GPU code here: it brings L to the CPU. (And the test above can fail.)"""
    with pytest.raises(AssertionError, match="cpu"):
        color_on_device(random_system(fusion_net=FUSIONS["blend2"]()))


@torch.no_grad()
def color_on_device(system: FusionSystem) -> None:
    lab = clip_lab(4)[0]
    state = system.eval().init_state(lab[:1])
    for frame in lab[:, :1].split(1):
        with OnDevice():
            _, state = system.step(frame, state)


def test_gradients_reach_only_what_trains_and_stop_between_frames():
    system, lab = random_system(fusion_net=BlendFusion(4, 3)).train(), clip_lab()
    reach = {}
    for detach in (True, False):
        out = system(lab[:, :, :1], lab[:, 0], detach=detach)
        reach[detach] = out.flow_lab.requires_grad
        out.lab[:, -1].sum().backward()
    assert reach == {True: False, False: True}
    trained = {id(p) for group in system.get_parameter_groups() for p in group["params"]}
    assert all(id(p) in trained for p in system.parameters() if p.grad is not None)
    assert [group["name"] for group in system.get_parameter_groups()] == ["swintexco", "fusion"]


def test_guide_strategies(tmp_path, memflow_file, monkeypatch):
    """The training guide's snippets, with our names."""
    published_folder(tmp_path / "swintexco_best")
    (tmp_path / "checkpoints").mkdir()
    shutil.move(memflow_file, tmp_path / "checkpoints" / "memflow_best.pth")
    system = FusionSystem(
        memflow_path=tmp_path,
        swintexco_path=tmp_path,
        memflow_ckpt="checkpoints/memflow_best.pth",
        swintexco_ckpt="swintexco_best/",
        fusion_net=SimpleFusionNet(),
    )
    assert isinstance(system.flow, MemFlow) and system.swintexco.colornet is not None
    assert not any(p.requires_grad for p in system.flow.parameters())
    monkeypatch.setattr(system_module, "load_swintexco", lambda *_: tiny_match())
    system = FusionSystem(
        memflow_path=tmp_path,
        swintexco_path=tmp_path,
        memflow_ckpt="checkpoints/memflow_best.pth",
        swintexco_ckpt=None,
        fusion_net=SimpleFusionNet(),
    )
    assert isinstance(system.flow, MemFlow) and system.preset == "base"


def test_guide_training_loop():
    system = random_system(fusion_net=SimpleFusionNet(4))
    frames = clip_lab(3, batch=2)
    dataloader = [
        {
            "frames_lab": list(frames.unbind(1)),
            "frames_pil": [picture(seed) for seed in range(3)],
            "references_pil": [[picture(8), picture(9)]],
        }
    ]
    num_epochs = 2
    # From here on the guide's text.
    criterion = FusionLoss()
    param_groups = system.get_parameter_groups()
    optimizer = optim.Adam(
        [
            {"params": param_groups[0]["params"], "lr": 1e-5, "name": "swintexco"},
            {"params": param_groups[1]["params"], "lr": 1e-4, "name": "fusion"},
        ]
    )
    for _epoch in range(num_epochs):
        for batch in dataloader:
            frames_lab = batch["frames_lab"]
            frames_pil = batch["frames_pil"]
            references_pil = batch["references_pil"]
            system.reset_memory()
            outputs, memflow_outputs, memflow_confs = system.forward_sequence(
                frames_lab, frames_pil, references_pil, return_memflow=True
            )
            loss = criterion(outputs, frames_lab, memflow_outputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert torch.isfinite(loss) and len(memflow_confs) == 3
    optim.Adam(system.parameters(), lr=1e-4)  # the guide's first option
