import pytest
import torch
from reference import fill_state_dict, manifest
from torch import nn

from fasttcm.clip import ClipResNet
from fasttcm.layers.backbone import FeatureShape

LAYERS = (2, 1, 1, 1)
WIDTH = 8


def filled(**options) -> ClipResNet:
    trunk = ClipResNet(layers=LAYERS, width=WIDTH, **options)
    trunk.load_state_dict(fill_state_dict({key: tuple(value.shape) for key, value in trunk.state_dict().items()}))
    return trunk


def images(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def training_norms(trunk: nn.Module) -> set[str]:
    return {name for name, part in trunk.named_modules() if isinstance(part, nn.BatchNorm2d) and part.training}


def test_state_dict_names_are_clips():
    expected = {
        key.removeprefix("visual."): shape
        for key, shape in manifest("clip_rn50", "tiny_rn").items()
        if key.startswith("visual.") and "attnpool" not in key
    }
    trunk = ClipResNet(layers=(2, 1, 1, 1), width=2)
    assert {key: tuple(value.shape) for key, value in trunk.state_dict().items()} == expected


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 96), (64, 160), (224, 224)])
def test_levels_have_the_declared_shapes_for_any_multiple_of_32(height, width):
    trunk = ClipResNet(layers=LAYERS, width=WIDTH).eval()
    features = trunk(images(height, width)).features
    assert list(features) == ["res2", "res3", "res4", "res5"]
    for level, declared in trunk.output_shape().items():
        expected = (1, declared.channels, height // declared.stride, width // declared.stride)
        assert features[level].shape == expected
    assert trunk.output_shape()["res5"] == FeatureShape(32 * WIDTH, 32)


@pytest.mark.parametrize(("height", "width"), [(33, 32), (32, 48), (0, 32)])
def test_other_sides_are_refused_with_both_named(height, width):
    with pytest.raises(ValueError, match=f"multiples of 32, got {height} x {width}"):
        ClipResNet(layers=LAYERS, width=WIDTH)(torch.zeros(1, 3, height, width))


def test_empty_batch():
    assert ClipResNet(layers=LAYERS, width=WIDTH).eval()(torch.zeros(0, 3, 32, 64)).features["res5"].shape == (
        0,
        256,
        1,
        2,
    )


def test_images_of_a_batch_do_not_mix_in_eval_mode():
    trunk = filled().eval()
    batch = images(64, 64, count=3)
    together = trunk(batch).features["res5"]
    alone = torch.cat([trunk(image[None]).features["res5"] for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_new_bottleneck_is_its_shortcut():
    trunk = ClipResNet(layers=LAYERS, width=WIDTH).eval()
    assert all(
        value.eq(0).all() for name, value in trunk.named_parameters() if name.endswith("bn3.weight") and "layer" in name
    )
    x = torch.rand(1, 4 * WIDTH, 8, 8)
    torch.testing.assert_close(trunk.layer1[1](x), x)


def test_gradients_reach_every_parameter():
    trunk = filled().train()
    sum(level.square().mean() for level in trunk(images(64, 96, count=2)).features.values()).backward()
    silent = [name for name, value in trunk.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize(
    ("freeze_at", "frozen"),
    [
        (0, ()),
        (1, ("conv", "bn")),
        (2, ("conv", "bn", "layer1")),
        (4, ("conv", "bn", "layer1", "layer2", "layer3")),
        (5, ("conv", "bn", "layer")),
    ],
)
def test_freeze_at_stops_gradients_and_statistics_of_the_first_parts(freeze_at, frozen):
    trunk = filled(freeze_at=freeze_at).eval().train()
    assert {name for name, value in trunk.named_parameters() if not value.requires_grad} == {
        name for name, _ in trunk.named_parameters() if name.startswith(frozen)
    }
    assert training_norms(trunk) == {
        name for name, part in trunk.named_modules() if isinstance(part, nn.BatchNorm2d) and not name.startswith(frozen)
    }
    before = {key: value.clone() for key, value in trunk.state_dict().items() if "running_mean" in key}
    trunk(images(64, 64, count=2))
    for key, value in before.items():
        assert torch.equal(value, trunk.state_dict()[key]) == key.startswith(frozen), key


def test_frozen_batch_norm_keeps_statistics_and_affine_weights_while_convolutions_train():
    trunk = filled(frozen_batch_norm=True).train()
    assert trunk.training
    assert training_norms(trunk) == set()
    x = images(32, 64, count=2)
    torch.testing.assert_close(trunk(x).features["res5"], filled().eval()(x).features["res5"])
    trained = {name for name, value in trunk.named_parameters() if value.requires_grad}
    assert trained == {name for name, value in trunk.named_parameters() if value.ndim == 4}


@pytest.mark.parametrize("options", [{"layers": (1, 1, 1)}, {"width": 7}, {"freeze_at": 6}, {"freeze_at": -1}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ClipResNet(**{"layers": LAYERS, "width": WIDTH, **options})
