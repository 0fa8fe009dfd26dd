"""The ordinary ImageNet ResNet (He et al., CVPR 2016) as a backbone: torchvision's, without its classifier."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from fasttcm.errors import CheckpointError, ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.layers.deformable_conv import DeformableConv2d
from fasttcm.layers.resnet_keys import from_detectron2

__all__ = ["ImageNetResNet", "load_imagenet_weights"]

_ARCHITECTURES: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
}
"""Depth to block and blocks per stage (table 1 of the paper)."""

_STAGES = {"res2": "layer1", "res3": "layer2", "res4": "layer3", "res5": "layer4"}
_STEM = ("conv1", "bn1")
_STEM_CHANNELS = 64
_NEW_WITHOUT_FILE = ("num_batches_tracked", "conv_offset.weight", "conv_offset.bias")
"""Entries that an ImageNet file need not have: they start at zero."""
_NAMED_IN_MESSAGE = 6
"""Keys written out in an error before "and N more"."""


class ImageNetResNet(Backbone):
    """``res2`` .. ``res5`` (strides 4 .. 32) of a ResNet; state-dict names are torchvision's.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stride_in_1x1: put the stride of a bottleneck into its first 1x1 convolution (the original MSRA weights, on
            which AdelaiDet's models rest) instead of the 3x3 one (torchvision). Only for depth 50 and more.
        frozen_batch_norm: every normalisation keeps its stored statistics and weights and gets no gradient.
        freeze_at: freeze this many parts, counted as in detectron2: 0 nothing, 1 the stem, 2 stem and ``res2``, ...
            5 everything. Frozen parts get no gradient and their normalisations stay in eval mode.
        deformable_stages: levels whose bottlenecks have a modulated deformable 3x3 convolution (DCNv2; published
            DBNets: ``res3``, ``res4``, ``res5``). Only for depth 50 and more.
        width: channels of the stem; every stage is as wide in proportion. Only 64 fits published weights.

    Raises:
        ConfigError: an argument outside its range.
    """

    def __init__(
        self,
        *,
        depth: int = 50,
        stride_in_1x1: bool = False,
        frozen_batch_norm: bool = True,
        freeze_at: int = 2,
        deformable_stages: Sequence[str] = (),
        width: int = _STEM_CHANNELS,
    ) -> None:
        super().__init__()
        if depth not in _ARCHITECTURES:
            raise ConfigError(f"unknown ResNet depth {depth}; known: {', '.join(map(str, _ARCHITECTURES))}")
        if width < 1:
            raise ConfigError(f"the width of a ResNet must be at least 1 channel, got {width}")
        block, blocks = _ARCHITECTURES[depth]
        whole = ResNet(block, blocks)
        if width != _STEM_CHANNELS:
            _rebuild(whole, block, blocks, width)
        self.width = width
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.expansion = block.expansion
        self.frozen_batch_norm = frozen_batch_norm
        self.freeze_at = 0
        if stride_in_1x1:
            self._move_strides()
        self._deform(deformable_stages)
        self.freeze(freeze_at)

    def forward(self, images: Tensor) -> BackboneOutput:
        """Features of normalised images (B, 3, H, W): ``res2`` .. ``res5``, each (B, C, H / stride, W / stride)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = {}
        for level, name in _STAGES.items():
            x = features[level] = self.get_submodule(name)(x)
        return BackboneOutput(features)

    def output_shape(self) -> dict[str, FeatureShape]:
        """Channels and stride of ``res2`` .. ``res5``."""
        return {level: FeatureShape(self.width * 2**i * self.expansion, 4 * 2**i) for i, level in enumerate(_STAGES)}

    def train(self, mode: bool = True) -> "ImageNetResNet":
        """As in PyTorch, but frozen parts stay in eval mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def freeze(self, freeze_at: int) -> None:
        """Freeze at least the first ``freeze_at`` parts, see the class; what is frozen stays so."""
        if not 0 <= freeze_at <= 1 + len(_STAGES):
            raise ConfigError(f"freeze_at must be 0 .. {1 + len(_STAGES)}, got {freeze_at}")
        self.freeze_at = max(freeze_at, self.freeze_at)
        for module in self._frozen():
            module.requires_grad_(False)
        self.train(self.training)

    def _frozen(self) -> list[nn.Module]:
        """Modules that never train."""
        parts = [_STEM, *((name,) for name in _STAGES.values())]
        frozen = [self.get_submodule(name) for part in parts[: self.freeze_at] for name in part]
        if self.frozen_batch_norm:
            frozen.extend(module for module in self.modules() if isinstance(module, nn.BatchNorm2d))
        return frozen

    def _move_strides(self) -> None:
        blocks = [module for module in self.modules() if isinstance(module, Bottleneck)]
        if not blocks:
            raise ConfigError("stride_in_1x1 needs bottleneck blocks: ResNet depth 50, 101 or 152")
        for block in blocks:
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride

    def _deform(self, stages: Sequence[str]) -> None:
        unknown = [stage for stage in stages if stage not in _STAGES]
        if unknown:
            raise ConfigError(f"unknown deformable stage {', '.join(unknown)}; known: {', '.join(_STAGES)}")
        for stage in stages:
            for block in self.get_submodule(_STAGES[stage]).children():
                if not isinstance(block, Bottleneck):
                    raise ConfigError("deformable_stages needs bottleneck blocks: ResNet depth 50, 101 or 152")
                plain = block.conv2
                block.conv2 = DeformableConv2d(  # type: ignore[assignment]
                    plain.in_channels, plain.out_channels, 3, stride=plain.stride[0], padding=1
                )


def _rebuild(whole: ResNet, block: type[BasicBlock | Bottleneck], blocks: list[int], width: int) -> None:
    """Replace the convolutions of a ResNet by those of another width, initialised as torchvision does."""
    whole.inplanes = width
    whole.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    whole.bn1 = nn.BatchNorm2d(width)
    for i, (name, count) in enumerate(zip(_STAGES.values(), blocks, strict=True)):
        setattr(whole, name, whole._make_layer(block, width * 2**i, count, stride=min(i, 1) + 1))
    for module in whole.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def load_imagenet_weights(backbone: ImageNetResNet, path: str | os.PathLike[str]) -> None:
    """Load a local state-dict file under torchvision's names (``resnet50-*.pth``) or detectron2's.

    Nothing is ever downloaded. The classifier (``fc.*``) is ignored, and files without ``num_batches_tracked`` (before
    PyTorch 0.4.1, detectron2) are accepted. detectron2's may lie under ``model``; its MSRA weights need
    ``stride_in_1x1`` and BGR pixels of standard deviation 1.

    Raises:
        CheckpointError: the file is missing, holds more than plain tensors, or does not fit, by name of the tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"ResNet weights {str(path)!r} do not exist: give a local torchvision file or 'random'")
    if path.suffix == ".pkl":
        raise CheckpointError(
            f"ResNet weights {str(path)!r} are a pickle, which runs code when it is read; where you trust it, store "
            "its state dict (names stem.conv1.weight, res2.0.conv1.weight, ...) with torch.save"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"ResNet weights {str(path)!r} cannot be read safely: {reason}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"ResNet weights {str(path)!r} are not a plain state dict of tensors")
    content = {from_detectron2(key) or key: value for key, value in content.items()}
    _check(backbone.state_dict(), content, path)
    backbone.load_state_dict({key: value for key, value in content.items() if not key.startswith("fc.")}, strict=False)


def _check(own: Mapping[str, Tensor], content: Mapping[str, Any], path: Path) -> None:
    faults = {
        "missing": [key for key in own if key not in content and not key.endswith(_NEW_WITHOUT_FILE)],
        "left over": [key for key in content if key not in own and not key.startswith("fc.")],
        "of another shape": [key for key in own if key in content and own[key].shape != content[key].shape],
    }
    found = [
        f"{fault}: {', '.join(keys[:_NAMED_IN_MESSAGE])}"
        + (f" and {len(keys) - _NAMED_IN_MESSAGE} more" if len(keys) > _NAMED_IN_MESSAGE else "")
        for fault, keys in faults.items()
        if keys
    ]
    if found:
        raise CheckpointError(f"ResNet weights {str(path)!r} do not fit; {'; '.join(found)}")
