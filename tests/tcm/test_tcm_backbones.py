"""The registry: every backbone, at the smallest size, by the same function."""

import inspect

import pytest
import torch
from torch import nn

from fasttcm.errors import CheckpointError, ConfigError
from fasttcm.layers.fpn import FPN
from fasttcm.tcm import BACKBONES, StaticText, TCMBackbone, build_backbone

LEARNED = ("tcm_cr50", "fasttcm_cr50")
HEIGHT, WIDTH = 64, 96


@pytest.fixture
def build(sizes):
    """Build a tiny backbone by name."""

    def build(name: str, **options: object):
        torch.manual_seed(0)
        tiny: dict[str, object] = {"weights": "random"}
        if name == "imagenet_r50":
            tiny["depth"] = 18
        else:
            tiny["sizes"] = sizes
        if name in LEARNED:
            tiny |= {"decoder_width": 16, "decoder_heads": 2, "decoder_layers": 1, "input_resolution": 96}
        return build_backbone(name, **tiny, **options)

    return build


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", BACKBONES)
def test_declared_levels_are_the_real_ones(build, name):
    backbone = build(name).eval()
    output = backbone(images())
    assert list(output.features) == ["res2", "res3", "res4", "res5"]
    for level, shape in backbone.output_shape().items():
        assert output.features[level].shape == (2, shape.channels, HEIGHT // shape.stride, WIDTH // shape.stride)
    if name in LEARNED:
        assert output.text_logits.shape == (2, 1, HEIGHT // 32, WIDTH // 32)
    else:
        assert output.text_logits is None


@pytest.mark.parametrize("name", BACKBONES)
def test_every_trainable_parameter_gets_a_gradient(build, name):
    backbone = build(name).train()
    output = backbone(images())
    total = sum(feature.square().sum() for feature in output.features.values())
    if output.text_logits is not None:
        total = total + output.text_logits.square().sum()
    total.backward()
    trainable = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert trainable
    assert not [name for name, p in trainable.items() if p.grad is None or not torch.isfinite(p.grad).all()]
    if name in LEARNED:
        assert not any(p.requires_grad for p in backbone.matching.text.encoder.tower.parameters())
        for part in ("trunk.conv1.weight", "pool.c_proj.weight", "pool.positional_embedding"):
            assert float(trainable[part].grad.abs().sum()) > 0


@pytest.mark.parametrize("name", LEARNED)
def test_score_is_concatenated_unscaled(build, name):
    backbone = build(name, class_texts=("text", "sky")).eval()
    plain, output = backbone.trunk(images()).features, backbone(images())
    torch.testing.assert_close(output.features["res5"][:, :-2], plain["res5"])
    torch.testing.assert_close(output.features["res5"][:, -2:], output.text_logits * 0.07)
    assert backbone.output_shape()["res5"].channels == plain["res5"].shape[1] + 2


def test_score_is_resized_for_a_finer_level_and_can_be_left_out(build):
    backbone = build("fasttcm_cr50", matched_level="res3").eval()
    features, logits = backbone(images()).features, backbone(images()).text_logits
    assert features["res3"].shape[1] == backbone.output_shape()["res3"].channels == 8 * 8 + 1
    resized = nn.functional.interpolate(logits * 0.07, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(features["res3"][:, -1:], resized)
    backbone = build("fasttcm_cr50", concat=False).eval()
    output = backbone(images())
    assert output.features["res5"].shape[1] == backbone.output_shape()["res5"].channels == 8 * 32
    assert output.text_logits is not None


@pytest.mark.parametrize("name", BACKBONES)
def test_freezing(build, name):
    backbone = build(name, freeze_at=2, frozen_batch_norm=True).train()
    trunk = backbone.trunk if isinstance(backbone, TCMBackbone) else backbone
    for key, parameter in trunk.named_parameters():
        part = key.split(".")[0]
        is_norm = key.split(".")[-2].startswith("bn") or ".downsample.1." in key
        assert parameter.requires_grad == (part in ("layer2", "layer3", "layer4") and not is_norm), key
    assert not any(module.training for module in trunk.modules() if isinstance(module, nn.BatchNorm2d))


def test_new_backbones_are_in_train_mode(build):
    for name in BACKBONES:
        backbone = build(name, freeze_at=0, frozen_batch_norm=False)
        tower = "matching.text.encoder.tower"
        assert all(m.training for key, m in backbone.named_modules() if not key.startswith(tower)), name


def test_pool_table_is_resized_once_to_the_training_grid(build):
    assert build("tcm_cr50").pool.positional_embedding.shape[0] == 1 + 3 * 3
    with pytest.raises(ConfigError, match="at least 32"):
        build_backbone("tcm_cr50", weights="random", input_resolution=16)


def test_fasttcm_and_tcm_differ_in_where_the_text_comes_from(build):
    fast, tcm = build("fasttcm_cr50"), build("tcm_cr50")
    assert isinstance(fast.matching.text, StaticText) and fast.matching.text.gated
    assert not isinstance(tcm.matching.text, StaticText)
    shared = {name for name in fast.state_dict() if name != "matching.text.meta_query"}
    assert shared == set(tcm.state_dict())


def test_text_of_a_pyramid_over_it_can_be_frozen_saved_and_loaded(build):
    pyramid = FPN(bottom_up=build("fasttcm_cr50"), out_channels=8, top_block="none").eval()
    expected = pyramid(images())
    torch.testing.assert_close(pyramid(images(3)).text_logits[:1], pyramid(images(1)).text_logits, atol=1e-4, rtol=1e-4)
    pyramid.bottom_up.freeze_text()
    state = pyramid.state_dict()
    assert not any("tower" in name for name in state)
    again = FPN(bottom_up=build("fasttcm_cr50", text_tower=False), out_channels=8, top_block="none")
    assert again.load_state_dict(state) == ([], [])
    output = again.eval()(images())
    torch.testing.assert_close(output.text_logits, expected.text_logits)
    torch.testing.assert_close(output.features["p5"], expected.features["p5"])


def test_cache_is_dropped_by_loading_the_whole_model(build):
    backbone = build("fasttcm_cr50").eval()
    backbone(images())
    assert backbone.matching.text.cached_text is not None
    backbone.load_state_dict(backbone.state_dict())
    assert backbone.matching.text.cached_text is None
    backbone(images())
    backbone.reset_text_cache()
    assert backbone.matching.text.cached_text is None


def test_factories_take_keywords_only_and_name_what_they_do_not_know(build, sizes):
    for name, factory in BACKBONES.items():
        assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(factory).parameters.values()), name
    with pytest.raises(ConfigError, match="imagenet_r50, clip_r50, tcm_cr50, fasttcm_cr50"):
        build_backbone("resnet50")
    with pytest.raises(ConfigError, match="'clip_r50' has no option depth; known: weights, sizes"):
        build_backbone("clip_r50", weights="random", depth=18)
    with pytest.raises(ConfigError, match="'p5' is not one of res2, res3, res4, res5"):
        build("tcm_cr50", matched_level="p5")
    with pytest.raises(CheckpointError):
        build_backbone("clip_r50", weights="no-such-file.pt", sizes=sizes)
    with pytest.raises(ConfigError, match="longest word"):
        build("tcm_cr50", class_texts=("the longest word in the world is longer than this prompt can hold, surely",))
