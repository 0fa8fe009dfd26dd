import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.layers.bifpn import BiFPN

CHANNELS = {"res2": 8, "res3": 5, "res4": 6, "res5": 7}


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
    ("top_levels", "levels"), [(2, "p2 p3 p4 p5 p6 p7"), (1, "p2 p3 p4 p5 p6"), (0, "p2 p3 p4 p5")]
)
def test_levels_are_as_declared(top_levels: int, levels: str) -> None:
    pyramid = BiFPN(bottom_up=Trunk(), out_channels=8, top_levels=top_levels)
    output = pyramid(torch.randn(2, 3, 96, 160))
    assert list(output.features) == list(pyramid.output_shape()) == levels.split()
    for name, shape in pyramid.output_shape().items():
        assert output.features[name].shape == (2, 8, -(-96 // shape.stride), -(-160 // shape.stride))
    assert output.text_logits.shape == (2, 1, 3, 5)


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (64, 32), (32, 160)])
def test_the_smallest_images_pass(size: tuple[int, int]) -> None:
    output = BiFPN(bottom_up=Trunk(), out_channels=8).eval()(torch.randn(1, 3, *size))
    assert output.features["p7"].shape == (1, 8, 1, -(-size[1] // 128))
    assert all(torch.isfinite(x).all() for x in output.features.values())


def node(pyramid: BiFPN, name: str, *inputs: Tensor) -> Tensor:
    """The published formula, written out."""
    module = pyramid.cells[0].get_submodule(name)
    weights = module.weights.clamp(min=0)
    weights = weights / (weights.sum() + 1e-4)
    fused = sum(w * x for w, x in zip(weights, inputs, strict=True))
    return F.conv2d(fused * fused.sigmoid(), module.conv.weight, module.conv.bias, padding=1)


@torch.no_grad()
def test_two_levels_by_hand() -> None:
    torch.manual_seed(0)
    pyramid = BiFPN(bottom_up=Trunk(), in_levels=("res4", "res5"), out_channels=6, repeats=1, top_levels=0, norm="none")
    pyramid.cells[0].down4.weights.copy_(torch.tensor([2.0, 1.0]))
    pyramid.cells[0].up5.weights.copy_(torch.tensor([-1.0, 3.0]))  # a negative weight counts as none
    images = torch.randn(1, 3, 96, 64)
    below = pyramid.bottom_up(images).features
    lateral = pyramid.cells[0].lateral5
    top = F.conv2d(below["res5"], lateral.weight, lateral.bias)
    p4 = node(pyramid, "down4", below["res4"], top.repeat_interleave(2, 2).repeat_interleave(2, 3))
    p5 = node(pyramid, "up5", top, F.max_pool2d(p4, 3, 2, 1))
    features = pyramid(images).features
    torch.testing.assert_close(features["p4"], p4)
    torch.testing.assert_close(features["p5"], p5)
    assert not hasattr(pyramid.cells[0], "lateral4")  # as many channels as the pyramid


@torch.no_grad()
def test_added_levels_are_reduced_once_then_pooled() -> None:
    pyramid = BiFPN(bottom_up=Trunk(), out_channels=8).eval()
    below = list(pyramid.bottom_up(torch.randn(1, 3, 160, 160)).features.values())
    maps = pyramid.with_top(below)
    p6 = F.max_pool2d(pyramid.reduction(below[-1]), 3, 2, 1)
    torch.testing.assert_close(maps[4], p6)
    torch.testing.assert_close(maps[5], F.max_pool2d(p6, 3, 2, 1))


def test_every_parameter_gets_a_gradient_and_norms_have_the_published_place() -> None:
    pyramid = BiFPN(bottom_up=Trunk(), out_channels=8)
    sum(x.square().sum() for x in pyramid(torch.randn(2, 3, 256, 256)).features.values()).backward()
    assert not [name for name, p in pyramid.named_parameters() if p.grad is None]
    cell = pyramid.cells[0]
    assert cell.lateral3.bias is not None and isinstance(cell.lateral3.norm, nn.BatchNorm2d)
    assert pyramid.reduction.bias is None and cell.down2.conv.bias is None
    assert not [name for name, _ in pyramid.cells[1].named_children() if name.startswith("lateral")]
    assert cell.up7.weights.shape == (2,) and cell.up6.weights.shape == (3,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_levels": ("res4", "res6")}, "res2, res3, res4, res5"),
        ({"in_levels": ("res2", "res4")}, r"\[4, 16\]"),
        ({"norm": "LN"}, "none, GN, BN"),
        ({"repeats": 0}, "at least one repeat"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BiFPN(bottom_up=Trunk(), **options)
