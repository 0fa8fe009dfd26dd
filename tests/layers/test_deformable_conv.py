import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fasttcm.errors import CheckpointError, ConfigError
from fasttcm.layers.deformable_conv import DeformableConv2d
from fasttcm.layers.resnet import ImageNetResNet, load_imagenet_weights

STAGES = ("res3", "res4", "res5")


@pytest.mark.parametrize("stride", [1, 2])
def test_a_new_one_is_half_a_plain_convolution(stride: int) -> None:
    torch.manual_seed(0)
    conv = DeformableConv2d(3, 5, 3, stride=stride, padding=1)
    x = torch.randn(2, 3, 9, 11)
    torch.testing.assert_close(conv(x), 0.5 * F.conv2d(x, conv.weight, stride=stride, padding=1))


def test_offsets_are_rows_before_columns_and_masks_come_last() -> None:
    conv = DeformableConv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.zero_()[0, 0, 1, 1] = 1  # the middle tap, number 4, alone
        conv.conv_offset.bias[2 * 4] = 1.0  # one row down
        conv.conv_offset.bias[2 * 9 + 4] = 100.0  # weight 1
    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    torch.testing.assert_close(conv(x)[0, 0, :3], x[0, 0, 1:])


def test_gradients_reach_everything_also_under_autocast() -> None:
    conv = DeformableConv2d(4, 4, 3, padding=1)
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x)
    assert out.dtype == x.dtype
    out.float().square().sum().backward()
    assert x.grad is not None and all(p.grad is not None and p.grad.abs().sum() > 0 for p in conv.parameters())


def test_resnet_with_deformable_stages(tmp_path) -> None:
    torch.manual_seed(0)
    plain = ImageNetResNet(depth=50, freeze_at=0)
    bent = ImageNetResNet(depth=50, freeze_at=0, deformable_stages=STAGES)
    kinds = {name: type(module.conv2) for name, module in bent.named_modules() if hasattr(module, "conv2")}
    assert {name.split(".")[0] for name, kind in kinds.items() if kind is DeformableConv2d} == {
        "layer2",
        "layer3",
        "layer4",
    }
    assert kinds["layer1.0"] is nn.Conv2d
    shapes = [tuple(x.shape) for x in plain(torch.zeros(1, 3, 64, 64)).features.values()]
    assert [tuple(x.shape) for x in bent(torch.zeros(1, 3, 64, 64)).features.values()] == shapes
    torch.save(plain.state_dict(), tmp_path / "r50.pth")
    load_imagenet_weights(bent, tmp_path / "r50.pth")  # the offsets are new
    assert torch.equal(bent.layer2[0].conv2.weight, plain.layer2[0].conv2.weight)
    torch.save({"conv1.weight": plain.conv1.weight}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="missing"):
        load_imagenet_weights(bent, tmp_path / "part.pth")


@pytest.mark.parametrize(("depth", "stages", "message"), [(18, STAGES, "bottleneck"), (50, ["p3"], "unknown")])
def test_impossible_deformable_stages(depth: int, stages: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageNetResNet(depth=depth, deformable_stages=stages)
