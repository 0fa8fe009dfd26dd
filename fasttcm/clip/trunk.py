"""CLIP's ResNet without its attention pool, as a backbone with four named levels."""

from collections.abc import Sequence

from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from fasttcm.clip.sizes import STAGE_EXPANSION, TRUNK_STRIDE
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape

__all__ = ["ClipResNet"]

_STAGE_STRIDES = (4, 8, 16, 32)
"""Input pixels per cell of ``layer1`` .. ``layer4``."""
_MAX_FREEZE = 1 + len(_STAGE_STRIDES)


class ClipResNet(Backbone):
    """open_clip's ``ModifiedResNet`` up to ``layer4``: three-convolution stem, average pools instead of strides.

    State-dict names are CLIP's without ``visual.`` (``conv1.weight``, ``layer1.0.conv1.weight``, ...). A new trunk has
    PyTorch's Kaiming initialisation and zero for the last normalisation weight of every bottleneck, as in CLIP.

    Args:
        layers: bottleneck blocks of ``layer1`` .. ``layer4``.
        width: channels of the stem's output; even.
        frozen_batch_norm: every normalisation keeps its running statistics and affine weights, also after ``train()``.
        freeze_at: freeze this many parts, counted as in detectron2: 0 none, 1 the stem, 2 stem and ``layer1``, ...,
            5 everything. Frozen parts get no gradients and their normalisations stay in eval mode.

    Raises:
        ValueError: ``layers`` does not name four stages, ``width`` is odd, or ``freeze_at`` is not 0 .. 5.
    """

    size_divisibility = TRUNK_STRIDE
    stem = ModifiedResNet.stem
    """(B, 3, H, W) to (B, width, H/4, W/4). The library's method: it uses only the parts that __init__ takes over."""

    def __init__(
        self, *, layers: Sequence[int], width: int, frozen_batch_norm: bool = False, freeze_at: int = 0
    ) -> None:
        super().__init__()
        if len(layers) != len(_STAGE_STRIDES):
            raise ValueError(f"layers must name the blocks of 4 stages, got {tuple(layers)}")
        if width < 2 or width % 2:
            raise ValueError(f"width must be even and positive, got {width}")
        # The pool of the library's class is dropped, hence the smallest one.
        whole = ModifiedResNet(list(layers), output_dim=1, heads=1, image_size=TRUNK_STRIDE, width=width)
        for name, part in whole.named_children():
            if name != "attnpool":
                self.add_module(name, part)
        self.width = width
        self.frozen_batch_norm = frozen_batch_norm
        self.freeze_at = 0
        self.freeze(freeze_at)

    def forward(self, images: Tensor) -> BackboneOutput:
        """Features of normalised RGB images (B, 3, H, W).

        Returns:
            ``res2`` .. ``res5`` = ``layer1`` .. ``layer4``: (B, C, H / stride, W / stride) for strides 4, 8, 16, 32.

        Raises:
            ValueError: a side is not a positive multiple of 32 (the average pools would drop its last cells).
        """
        height, width = images.shape[-2:]
        if height % TRUNK_STRIDE or width % TRUNK_STRIDE or not height or not width:
            raise ValueError(f"image sides must be positive multiples of {TRUNK_STRIDE}, got {height} x {width}")
        x = self.stem(images)
        features = {}
        for level, stage in self._stages().items():
            x = features[level] = stage(x)
        return BackboneOutput(features)

    def output_shape(self) -> dict[str, FeatureShape]:
        """Channels and stride of ``res2`` .. ``res5``."""
        shapes = zip(self._stages(), STAGE_EXPANSION, _STAGE_STRIDES, strict=True)
        return {level: FeatureShape(self.width * factor, stride) for level, factor, stride in shapes}

    def train(self, mode: bool = True) -> "ClipResNet":
        """As in PyTorch, but frozen normalisations stay in eval mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def freeze(self, freeze_at: int) -> None:
        """Freeze at least the first ``freeze_at`` parts, see the class; what is frozen stays so."""
        if not 0 <= freeze_at <= _MAX_FREEZE:
            raise ValueError(f"freeze_at must be 0 .. {_MAX_FREEZE}, got {freeze_at}")
        self.freeze_at = max(freeze_at, self.freeze_at)
        for module in self._frozen_modules():
            module.requires_grad_(False)
        self.train(self.training)

    def _stages(self) -> dict[str, nn.Module]:
        return {f"res{stage + 1}": self.get_submodule(f"layer{stage}") for stage in range(1, _MAX_FREEZE)}

    def _frozen_modules(self) -> list[nn.Module]:
        """Modules that never train: those of the first ``freeze_at`` parts, and frozen normalisations."""
        stages = self._stages().values()
        stem = [part for part in self.children() if part not in stages]
        parts = [stem, *([stage] for stage in stages)][: self.freeze_at]
        frozen = [module for part in parts for module in part]
        if self.frozen_batch_norm:
            frozen += [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        return frozen

    def extra_repr(self) -> str:
        """Settings shown by ``print``."""
        return f"frozen_batch_norm={self.frozen_batch_norm}, freeze_at={self.freeze_at}"
