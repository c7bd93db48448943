"""The smallest system with all the parts of a large one, and a training run of it in seconds."""

from pathlib import Path
from typing import Any

import torch

from fusion_nb.exemplar import SwinTExCo, SwinTExCoConfig
from fusion_nb.flow import DISFlow
from fusion_nb.fusion import BlendFusion
from fusion_nb.runs import TrainConfig
from fusion_nb.system import FusionSystem


def write_micro_system(folder: Path) -> None:
    "Write the system into `folder / 'micro'`."
    torch.manual_seed(0)
    widths = SwinTExCoConfig(8, (1, 1, 1, 1), (1, 1, 2, 2), width=4, blocks=1)
    fusion = BlendFusion(width=4, candidates=3)
    system = FusionSystem(
        "tiny", flow=DISFlow(), fusion_net=fusion, swintexco=SwinTExCo(widths), pretrained=False
    )
    system.save_pretrained(folder / "micro")


def micro_config(folder: Path, name: str, **changes: Any) -> TrainConfig:
    "Return the settings of a run on synthetic clips that starts from that system."
    small = dict(batch_size=2, frames=2, crop_size=32, validation_frames=2, validation_size=32)
    rates = dict(fusion_lr=1e-3, match_lr=1e-3, cpu=True)
    settings = {**small, **rates, "init": str(folder / "micro"), **changes}
    return TrainConfig(run_name=name, runs_dir=str(folder), **settings)
