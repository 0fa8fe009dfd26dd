import re

import pytest
import torch
import torchvision
from torch import nn

from fasttcm.errors import CheckpointError, ConfigError
from fasttcm.layers.resnet import ImageNetResNet, load_imagenet_weights


@torch.no_grad()
@pytest.mark.parametrize(("depth", "build"), [(18, torchvision.models.resnet18), (50, torchvision.models.resnet50)])
def test_torchvision_weights_compute_what_torchvision_computes(depth, build, tmp_path):
    reference = build(weights=None).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    backbone = ImageNetResNet(depth=depth)
    load_imagenet_weights(backbone, tmp_path / "weights.pth")
    images = torch.randn(1, 3, 64, 96)
    features = backbone.eval()(images).features
    logits = reference.fc(features["res5"].mean(dim=(2, 3)))
    torch.testing.assert_close(logits, reference(images))
    for name, shape in backbone.output_shape().items():
        assert features[name].shape == (1, shape.channels, 64 // shape.stride, 96 // shape.stride)


def test_stride_moves_into_the_first_convolution():
    ordinary, msra = ImageNetResNet(), ImageNetResNet(stride_in_1x1=True)
    assert [ordinary.layer2[0].conv1.stride, ordinary.layer2[0].conv2.stride] == [(1, 1), (2, 2)]
    assert [msra.layer2[0].conv1.stride, msra.layer2[0].conv2.stride] == [(2, 2), (1, 1)]
    msra.load_state_dict(ordinary.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        first, second = ordinary.eval()(images).features, msra.eval()(images).features
    torch.testing.assert_close(first["res2"], second["res2"])
    assert first["res5"].shape == second["res5"].shape
    assert not torch.allclose(first["res3"], second["res3"])


@pytest.mark.parametrize("freeze_at", range(6))
def test_frozen_parts_do_not_train(freeze_at):
    backbone = ImageNetResNet(depth=18, frozen_batch_norm=False, freeze_at=freeze_at).train()
    parts = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]
    frozen = {name for part in parts[:freeze_at] for name in part}
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (name.split(".")[0] not in frozen), name
    for name, module in backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == (name.split(".")[0] not in frozen), name


def test_frozen_batch_norm_never_changes():
    backbone = ImageNetResNet(depth=18, frozen_batch_norm=True, freeze_at=0)
    before = {name: value.clone() for name, value in backbone.state_dict().items() if "running" in name}
    output = backbone.train()(torch.randn(2, 3, 64, 64))
    sum(feature.square().sum() for feature in output.features.values()).backward()
    after = backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert not [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("depth", [18, 50])
def test_narrow_trunks_are_as_wide_in_proportion_and_train(depth):
    backbone = ImageNetResNet(depth=depth, width=8, frozen_batch_norm=False, freeze_at=0).train()
    features = backbone(torch.randn(2, 3, 64, 64)).features
    expansion = 4 if depth == 50 else 1
    assert [f.shape[1] for f in features.values()] == [8 * expansion * 2**i for i in range(4)]
    assert [shape.channels for shape in backbone.output_shape().values()] == [f.shape[1] for f in features.values()]
    assert [f.shape[-1] for f in features.values()] == [16, 8, 4, 2]
    sum(feature.square().mean() for feature in features.values()).backward()
    assert not [name for name, p in backbone.named_parameters() if p.grad is None]
    whole = torchvision.models.get_model(f"resnet{depth}", weights=None).state_dict()
    assert set(backbone.state_dict()) == {key for key in whole if not key.startswith("fc.")}
    assert backbone.layer4[0].conv2.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigError, match="at least 1 channel, got 0"):
        ImageNetResNet(width=0)
    with pytest.raises(ConfigError, match="18, 34, 50, 101, 152"):
        ImageNetResNet(depth=26)
    with pytest.raises(ConfigError, match=r"0 \.\. 5"):
        ImageNetResNet(depth=18, freeze_at=6)
    with pytest.raises(ConfigError, match="bottleneck"):
        ImageNetResNet(depth=18, stride_in_1x1=True)


def test_wrong_weight_files_are_named(tmp_path):
    backbone = ImageNetResNet(depth=18)
    good = {**backbone.state_dict(), "fc.weight": torch.zeros(1)}
    path = tmp_path / "w.pth"

    def load(content: object) -> None:
        torch.save(content, path)
        load_imagenet_weights(backbone, path)

    load({key: value for key, value in good.items() if not key.endswith("num_batches_tracked")})
    with pytest.raises(CheckpointError, match=r"missing: conv1\.weight"):
        load({key: value for key, value in good.items() if key != "conv1.weight"})
    with pytest.raises(CheckpointError, match=r"left over: layer5\.0\.weight"):
        load({**good, "layer5.0.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"of another shape: conv1\.weight"):
        load({**good, "conv1.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="plain state dict"):
        load([1, 2])
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        load(backbone)
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        load_imagenet_weights(backbone, path)
    with pytest.raises(CheckpointError, match="do not exist"):
        load_imagenet_weights(backbone, "resnet50")


def detectron2_names(state):
    """The names that detectron2 gives to torchvision's weights; it has no counters and no classifier."""
    names = {}
    for key in state:
        if key.startswith("fc.") or key.endswith("num_batches_tracked"):
            continue
        stage = re.match(r"layer(\d)\.(\d+)\.(conv(\d)|bn(\d)|downsample\.(\d))\.", key)
        if stage is None:
            names[key] = key.replace("conv1.", "stem.conv1.").replace("bn1.", "stem.conv1.norm.")
            continue
        part = f"conv{stage[4] or stage[5]}" if not stage[6] else "shortcut"
        norm = "norm." if stage[5] or stage[6] == "1" else ""
        names[key] = f"res{int(stage[1]) + 1}.{stage[2]}.{part}.{norm}{key[stage.end() :]}"
    return names


@pytest.mark.parametrize("wrapped", [False, True])
def test_detectron2_names_are_the_same_weights(wrapped, tmp_path):
    reference = torchvision.models.resnet50(weights=None).state_dict()
    names = detectron2_names(reference)
    assert {"stem.conv1.norm.running_var", "res2.0.shortcut.norm.weight", "res5.2.conv3.weight"} <= set(names.values())
    state = {names[key]: value for key, value in reference.items() if key in names}
    torch.save({"model": state} if wrapped else state, tmp_path / "R-50.pth")
    backbone = ImageNetResNet(stride_in_1x1=True)
    load_imagenet_weights(backbone, tmp_path / "R-50.pth")
    assert all(torch.equal(value, reference[key]) for key, value in backbone.state_dict().items() if key in names)


def test_a_pickle_is_refused(tmp_path):
    (tmp_path / "R-50.pkl").write_bytes(b"\x80\x02}.")
    with pytest.raises(CheckpointError, match=r"R-50\.pkl' are a pickle"):
        load_imagenet_weights(ImageNetResNet(depth=18), tmp_path / "R-50.pkl")
