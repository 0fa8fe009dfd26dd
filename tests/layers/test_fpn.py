import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.layers.fpn import FPN

CHANNELS = {"res2": 3, "res3": 5, "res4": 6, "res5": 7}


class Trunk(Backbone):
    """Averages of the image, repeated to the declared channels."""

    def forward(self, images: Tensor) -> BackboneOutput:
        features = {}
        for i, (name, channels) in enumerate(CHANNELS.items()):
            features[name] = F.avg_pool2d(images.mean(1, keepdim=True), 4 * 2**i).repeat(1, channels, 1, 1)
        return BackboneOutput(features, text_logits=features["res5"][:, :1])

    def output_shape(self) -> dict[str, FeatureShape]:
        return {name: FeatureShape(channels, 4 * 2**i) for i, (name, channels) in enumerate(CHANNELS.items())}


@pytest.mark.parametrize(
    ("top_block", "levels"),
    [("conv", "p2 p3 p4 p5 p6 p7"), ("maxpool", "p2 p3 p4 p5 p6"), ("none", "p2 p3 p4 p5")],
)
def test_levels_are_as_declared(top_block, levels):
    fpn = FPN(bottom_up=Trunk(), out_channels=8, top_block=top_block)
    output = fpn(torch.randn(2, 3, 128, 256))
    assert list(output.features) == list(fpn.output_shape()) == levels.split()
    for name, shape in fpn.output_shape().items():
        assert output.features[name].shape == (2, 8, 128 // shape.stride, 256 // shape.stride)
    assert output.text_logits.shape == (2, 1, 4, 8)


@torch.no_grad()
def test_pyramid_is_lateral_plus_upsampled_then_smoothed():
    fpn = FPN(bottom_up=Trunk(), in_levels=("res4", "res5"), out_channels=4, top_block="conv")
    images = torch.randn(1, 3, 64, 64)
    below, pyramid = fpn.bottom_up(images).features, fpn(images).features
    top = fpn.lateral5(below["res5"])
    merged = fpn.lateral4(below["res4"]) + top.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(pyramid["p5"], F.conv2d(top, fpn.output5.weight, fpn.output5.bias, padding=1))
    torch.testing.assert_close(pyramid["p4"], F.conv2d(merged, fpn.output4.weight, fpn.output4.bias, padding=1))
    p6 = F.conv2d(pyramid["p5"], fpn.top6.weight, fpn.top6.bias, stride=2, padding=1)
    torch.testing.assert_close(pyramid["p6"], p6)
    p7 = F.conv2d(p6.clamp_min(0), fpn.top7.weight, fpn.top7.bias, stride=2, padding=1)
    torch.testing.assert_close(pyramid["p7"], p7)


def test_maxpool_takes_every_second_cell():
    features = FPN(bottom_up=Trunk(), out_channels=4, top_block="maxpool")(torch.randn(1, 3, 128, 128)).features
    torch.testing.assert_close(features["p6"], features["p5"][..., ::2, ::2])


@pytest.mark.parametrize(("norm", "kind"), [("GN", nn.GroupNorm), ("BN", nn.BatchNorm2d)])
def test_normalisation_replaces_the_bias(norm, kind):
    fpn = FPN(bottom_up=Trunk(), out_channels=48, norm=norm, top_block="none")
    for name in ("lateral2", "output5"):
        conv = fpn.get_submodule(name)
        assert conv.bias is None and isinstance(conv.norm, kind)
    if norm == "GN":
        assert fpn.lateral2.norm.num_groups == 16  # 48 channels do not divide into 32 groups
    assert "lateral2.norm.weight" in fpn.state_dict()


def test_names_initialisation_and_gradients():
    fpn = FPN(bottom_up=Trunk(), out_channels=16)
    names = {name.split(".")[0] for name in fpn.state_dict()}
    assert names == {f"{kind}{level}" for kind in ("lateral", "output") for level in (2, 3, 4, 5)} | {"top6", "top7"}
    bound = (3 / (16 * 9)) ** 0.5  # Kaiming-uniform, a = 1
    assert 0.9 * bound < float(fpn.output3.weight.detach().abs().max()) <= bound
    assert float(fpn.output3.bias.detach().abs().max()) == 0
    sum(feature.square().sum() for feature in fpn(torch.randn(1, 3, 128, 128)).features.values()).backward()
    assert not [name for name, p in fpn.named_parameters() if p.grad is None or not float(p.grad.abs().sum()) > 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_levels": ("res4", "res6")}, "res2, res3, res4, res5"),
        ({"in_levels": ()}, "not among"),
        ({"in_levels": ("res2", "res4")}, r"\[4, 16\]"),
        ({"top_block": "p6"}, "conv, maxpool, none"),
        ({"norm": "LN"}, "none, GN, BN"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        FPN(bottom_up=Trunk(), **options)


def test_levels_may_come_as_a_list():
    assert list(FPN(bottom_up=Trunk(), in_levels=["res3", "res4"], top_block="none").output_shape()) == ["p3", "p4"]
