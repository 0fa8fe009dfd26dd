"""ABCNet v2 from its configuration, and what both versions do with degenerate input."""

from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode
from test_contract import BATCHES, wake
from tiny import sample, tiny_config
from torch import nn

from fasttcm.config import CHOICES
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import load_weights, read_checkpoint, save_model
from fasttcm.layers.bifpn import BiFPN
from fasttcm.projects.abcnet.coordinates import CoordinateBranch

BACKBONES = CHOICES["MODEL.BACKBONE.NAME"]
V2 = {
    "MODEL__FPN__KIND": "bifpn",
    "MODEL__FPN__NORM": "BN",
    "MODEL__ABCNET__COORD_CONVS": 2,
    "MODEL__ABCNET__ADAPTIVE_TRAINING": True,
    "MODEL__ABCNET__INFERENCE_TH_TRAIN": 0.0,
    "MODEL__ABCNET__INFERENCE_TH_TEST": 0.0,
    "MODEL__ABCNET__POST_NMS_TOPK": 4,
}


def config(version: str, **changes: object) -> CfgNode:
    return tiny_config(**{"MODEL__ABCNET__INFERENCE_TH_TEST": 0.0, **(V2 if version == "v2" else {}), **changes})


def total(model: nn.Module, batch: list[dict[str, object]]) -> torch.Tensor:
    return torch.stack(list(model(batch).values())).sum()


def test_every_option_reaches_its_module() -> None:
    model = build_model(config("v2", MODEL__BACKBONE__NAME="clip_r50", MODEL__FPN__REPEATS=3))
    assert isinstance(model.backbone, BiFPN) and len(model.backbone.cells) == 3 and model.backbone.top_levels == 0
    assert isinstance(model.recognizer.refine, CoordinateBranch) and len(model.recognizer.refine.convs) == 2
    assert model.recognizer.refine.convs[0][0].in_channels == 18 and model.adaptive_training
    plain = build_model(config("v1", MODEL__BACKBONE__NAME="clip_r50"))
    assert plain.recognizer.refine is None and not plain.adaptive_training


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_trainable_parameter_gets_a_finite_gradient(backbone: str, batch: str) -> None:
    torch.manual_seed(0)
    model = build_model(config("v2", MODEL__BACKBONE__NAME=backbone)).train()
    wake(model)
    total(model, BATCHES[batch]).backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, p in trainable.items() if p.grad is None or not torch.isfinite(p.grad).all()]


def test_predicts_saves_and_reloads_equal(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = config("v2")
    model = build_model(cfg).train()
    model(BATCHES["words"])
    save_model(tmp_path / "m.safetensors", model, cfg, 1)
    stored = read_checkpoint(tmp_path / "m.safetensors")
    again = build_model(stored.config, weights=False)
    load_weights(again, stored.weights, "m.safetensors")
    with torch.no_grad():
        first, second = (net.eval()(BATCHES["different sizes"]) for net in (model, again))
    assert sum(map(len, first)) > 0
    for a, b in zip(first, second, strict=True):
        assert a.texts == b.texts and torch.equal(a.scores, b.scores)


@torch.no_grad()
def test_coordinates_tell_left_from_right_and_top_from_bottom() -> None:
    torch.manual_seed(0)
    branch = CoordinateBranch(channels=4, num_convs=1).eval()
    flat = torch.ones(1, 4, 6, 8)
    seen = branch(flat)[0, :, 1:-1, 1:-1]
    assert (seen[:, :, 0] - seen[:, :, -1]).abs().max() > 1e-3 and (seen[:, 0] - seen[:, -1]).abs().max() > 1e-3
    branch.convs[0][0].weight[:, 4:] = 0  # without the coordinates every place looks the same
    blind = branch(flat)[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(blind, blind[:, :1, :1].expand_as(blind))
    single = torch.zeros(1, 4, 1, 1)
    assert torch.isfinite(branch(single)).all()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (70, 2)])
def test_images_smaller_than_a_stride(version: str, height: int, width: int) -> None:
    torch.manual_seed(0)
    model = build_model(config(version, MODEL__BACKBONE__NAME="fasttcm_cr50"))
    small = [sample("a", seed=1, height=height, width=width), sample("b", seed=2)]
    assert torch.isfinite(total(model.train(), small))
    with torch.no_grad():
        (found,) = model.eval()(small[:1])
    assert (found.height, found.width) == (height, width) and torch.isfinite(found.boxes).all()
    assert bool(((found.boxes[:, 2:] - found.boxes[:, :2]) > 0).all())  # what has no area is dropped


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_words_without_area_teach_nothing_and_break_nothing(version: str) -> None:
    torch.manual_seed(0)
    model = build_model(config(version, MODEL__BACKBONE__NAME="fasttcm_cr50")).train()
    batch = [sample("point", "line", seed=1)]
    words = batch[0]["targets"]
    words.boxes[0] = torch.tensor([20.0, 20, 20, 20])
    words.beziers[0] = 20.0
    words.boxes[1, 3] = words.boxes[1, 1]
    loss = total(model, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model(batch)["loss_fcos_loc"].item() == 0
