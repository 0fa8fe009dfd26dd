"""TCM's spotter form, reached by configuration: the matching added to one level of a spotter's own trunk or pyramid."""

import importlib
from pathlib import Path

import pytest
import torch
from test_contract import wake
from tiny import sample, tiny_config
from torch import nn

from fasttcm.engine.build import build_backbone, build_model, project_names
from fasttcm.engine.checkpoint import load_weights, read_checkpoint, save_model
from fasttcm.errors import ConfigError
from fasttcm.layers.resnet import ImageNetResNet
from fasttcm.tcm import SpotterMatchedBackbone

MATCHED = ("tcm_cr50", "fasttcm_cr50")
STRIDES = {"p3": 8, "p4": 16, "res4": 16, "res5": 32}


def has_pyramid(head: str) -> bool:
    return bool(importlib.import_module(f"fasttcm.projects.{head}.build").NEEDS_PYRAMID)


def forms() -> list[tuple[str, str, str]]:
    """Every head with the levels that it can be matched on, and both kinds of text."""
    return [
        (head, level, name)
        for head in project_names()
        for level in ("p4", "res4")
        for name in MATCHED
        if level.startswith("res") or has_pyramid(head)
    ]


@pytest.mark.parametrize("level", STRIDES)
@pytest.mark.parametrize("name", MATCHED)
@torch.no_grad()
def test_only_the_level_changes_by_one_map_added_to_all_its_channels(name: str, level: str) -> None:
    torch.manual_seed(0)
    cfg = tiny_config(MODEL__BACKBONE__NAME=name, MODEL__TCM__SPOTTER_LEVEL=level)
    whole = build_backbone(cfg).eval()
    matched = whole if level.startswith("p") else whole.bottom_up
    assert isinstance(matched, SpotterMatchedBackbone) and matched.output_shape() == matched.bottom_up.output_shape()
    images = torch.randn(2, 3, 64, 96)
    output, plain = matched(images), matched.bottom_up(images).features
    assert output.text_logits.shape == (2, 1, 64 // STRIDES[level], 96 // STRIDES[level])
    for key, before in plain.items():
        added = output.features[key] - before
        assert bool(added.abs().sum() > 0) == (key == level)
        torch.testing.assert_close(added, added[:, :1].expand_as(added), atol=1e-4, rtol=0)
    assert whole(images).text_logits.shape == output.text_logits.shape


def test_the_trunk_is_the_spotters_own_or_clips() -> None:
    options = {"MODEL__BACKBONE__NAME": "tcm_cr50", "MODEL__TCM__SPOTTER_LEVEL": "res4"}
    own = build_backbone(tiny_config(**options), pyramid=False)
    clip = build_backbone(tiny_config(**options, MODEL__TCM__SPOTTER_TRUNK="clip_r50"), pyramid=False)
    assert isinstance(own.bottom_up, ImageNetResNet) and type(clip.bottom_up).__name__ == "ClipResNet"
    # As wide as the embeddings: taken as it is, as in TESTR; otherwise projected, as in ABCNet.
    assert clip.output_shape()["res4"].channels == 128
    wide = tiny_config(**options, MODEL__TCM__SPOTTER_TRUNK="clip_r50", MODEL__CLIP__EMBED_DIM=128)
    assert build_backbone(wide, pyramid=False).clip_pix_cls.visual_embedding_proj is None
    assert clip.clip_pix_cls.visual_embedding_proj is not None


def test_backbones_without_a_matching_ignore_the_setting() -> None:
    backbone = build_backbone(tiny_config(MODEL__BACKBONE__NAME="imagenet_r50", MODEL__TCM__SPOTTER_LEVEL="p4"))
    assert not any(isinstance(module, SpotterMatchedBackbone) for module in backbone.modules())


def test_text_layers_and_the_learned_factor() -> None:
    cfg = tiny_config(
        MODEL__BACKBONE__NAME="fasttcm_cr50",
        MODEL__CLIP__TEXT_LAYERS=3,
        MODEL__TCM__SPOTTER_LEVEL="p4",
        MODEL__TCM__SPOTTER_TEXT_LAYERS=2,
        MODEL__TCM__SPOTTER_GAMMA=True,
    )
    matching = build_backbone(cfg).clip_pix_cls
    assert len(matching.matching.text.encoder.tower.transformer.resblocks) == 2
    assert matching.score_map_concat_gamma.item() == pytest.approx(1e-3)
    with pytest.raises(ConfigError, match="has 1 blocks; 2 cannot be kept"):
        build_backbone(
            tiny_config(
                MODEL__BACKBONE__NAME="tcm_cr50",
                MODEL__TCM__SPOTTER_LEVEL="p4",
                MODEL__TCM__SPOTTER_TEXT_LAYERS=2,
            )
        )


def test_a_pyramid_level_needs_a_pyramid() -> None:
    cfg = tiny_config(MODEL__BACKBONE__NAME="tcm_cr50", MODEL__TCM__SPOTTER_LEVEL="p4")
    with pytest.raises(ConfigError, match="SPOTTER_LEVEL is p4, but this head has no pyramid; use res4"):
        build_backbone(cfg, pyramid=False)
    with pytest.raises(ConfigError, match="matched level 'p5' is not one of p2, p3, p4"):
        changes = {"MODEL__FPN__IN_LEVELS": "['res2','res3','res4']", "MODEL__TCM__SPOTTER_LEVEL": "p5"}
        build_backbone(tiny_config(MODEL__BACKBONE__NAME="tcm_cr50", **changes))


@pytest.mark.parametrize(("head", "level", "name"), forms())
def test_every_head_trains_and_reloads_with_it(head: str, level: str, name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = tiny_config(MODEL__META_ARCHITECTURE=head, MODEL__BACKBONE__NAME=name, MODEL__TCM__SPOTTER_LEVEL=level)
    model = build_model(cfg).train()
    wake(model)
    losses = model([sample("abc", "de", seed=1), sample("fghij", seed=2)])
    assert any("match" in key for key in losses)
    torch.stack(list(losses.values())).sum().backward()
    trainable = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert not [key for key, p in trainable.items() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert any("visual_embedding_proj" in key or "clip_pix_cls" in key for key in trainable)
    save_model(tmp_path / "m.safetensors", model, cfg, 1)
    stored = read_checkpoint(tmp_path / "m.safetensors")
    again: nn.Module = build_model(stored.config, weights=False)
    load_weights(again, stored.weights, "m.safetensors")
    with torch.no_grad():
        first, second = (net.eval()([sample(seed=3)])[0] for net in (model, again))
    assert torch.equal(first.scores, second.scores) and torch.equal(first.boxes, second.boxes)
