"""The interface of every backbone: named feature maps with declared channels and strides."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["Backbone", "BackboneOutput", "FeatureShape"]


@dataclass(frozen=True)
class FeatureShape:
    """Channels and stride (input pixels per cell) of one feature map."""

    channels: int
    stride: int


@dataclass
class BackboneOutput:
    """What a backbone returns for B images.

    Attributes:
        features: level name (``res2`` .. ``res5`` or ``p2`` .. ``p7``) to (B, C, H / stride, W / stride), finest first.
        text_logits: (B, K, h, w) instance-language matching logits (before the sigmoid) of a TCM or FastTCM backbone
            with K text classes; ``None`` from the others.
    """

    features: dict[str, Tensor]
    text_logits: Tensor | None = None


class Backbone(nn.Module, ABC):
    """A network from normalised images to named feature maps."""

    size_divisibility: int = 32
    """Height and width of the input must be multiples of this."""

    @abstractmethod
    def forward(self, images: Tensor) -> BackboneOutput:
        """Feature maps of normalised images (B, 3, H, W), H and W multiples of ``size_divisibility``."""

    @abstractmethod
    def output_shape(self) -> dict[str, FeatureShape]:
        """Channels and stride of every level that :meth:`forward` returns, in its order."""
