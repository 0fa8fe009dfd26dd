"""Dense head: text score, centre-ness, box and two Bezier curves at every location (ABCNet, section 3.1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BEZIER_NUMBERS", "BezierFCOSHead", "HeadOutput", "compute_locations", "group_norm"]

BEZIER_NUMBERS = 16
"""Two cubic curves: 8 control points (x, y)."""

_INIT_STD = 0.01
"""Standard deviation of the initial weights of towers and predictors (FCOS)."""

_MAX_GROUPS = 32
_MIN_CHANNELS_PER_GROUP = 8
"""Published: 32 groups of 256 channels. Narrower layers keep 8 channels a group instead of the 32 groups: on the 1 x 2
cells of a coarse level, a group of one channel has no variance to normalise."""


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with the published 32 groups for 256 channels and fewer for fewer."""
    most = max(1, min(_MAX_GROUPS, channels // _MIN_CHANNELS_PER_GROUP))
    groups = next(count for count in range(most, 0, -1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)


@dataclass
class HeadOutput:
    """Predictions of N images, one tensor a level, finest first; geometry in units of the level's stride.

    Attributes:
        logits: (N, num_classes, h, w), before the sigmoid.
        ctrness: (N, 1, h, w), before the sigmoid.
        reg: (N, 4, h, w) float32 distances to the left, top, right and bottom side, not negative.
        beziers: (N, 16, h, w) float32 offsets (x, y) of the control points from the location.
        strides: input pixels per cell of each level.
    """

    logits: list[Tensor]
    ctrness: list[Tensor]
    reg: list[Tensor]
    beziers: list[Tensor]
    strides: tuple[int, ...]

    def locations(self) -> list[Tensor]:
        """(h * w, 2) pixel positions of every level; see :func:`compute_locations`."""
        return [
            compute_locations(logits.shape[-2], logits.shape[-1], stride, logits.device)
            for logits, stride in zip(self.logits, self.strides, strict=True)
        ]


def compute_locations(height: int, width: int, stride: int, device: torch.device | str = "cpu") -> Tensor:
    """Positions x, y = stride * cell + stride // 2 in input pixels, row after row: (height * width, 2) float32."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device) * stride, torch.arange(width, device=device) * stride, indexing="ij"
    )
    return torch.stack([x.reshape(-1), y.reshape(-1)], 1).float() + stride // 2


class BezierFCOSHead(nn.Module):
    """FCOS's two towers, shared by all levels, with a Bezier predictor beside the box predictor.

    Args:
        in_channels: channels of every level.
        strides: input pixels per cell of each level, finest first.
        num_convs: 3 x 3 convolutions of each tower.
        num_classes: 1 for text.
        channels: width of the towers; ``None`` takes ``in_channels``.
        prior_prob: initial probability of the classes.

    Raises:
        ValueError: when ``prior_prob`` is not inside (0, 1).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        num_convs: int = 4,
        num_classes: int = 1,
        channels: int | None = None,
        prior_prob: float = 0.01,
    ) -> None:
        super().__init__()
        if not 0 < prior_prob < 1:
            raise ValueError(f"prior_prob must lie between 0 and 1, got {prior_prob}")
        width = channels or in_channels
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.cls_tower = _tower(in_channels, width, num_convs)
        self.box_tower = _tower(in_channels, width, num_convs)
        out_width = width if num_convs else in_channels
        self.cls_logits = nn.Conv2d(out_width, num_classes, 3, padding=1)
        self.box_pred = nn.Conv2d(out_width, 4, 3, padding=1)
        self.ctrness = nn.Conv2d(out_width, 1, 3, padding=1)
        self.bezier_pred = nn.Conv2d(out_width, BEZIER_NUMBERS, 3, padding=1)
        self._initialise(prior_prob)

    def _initialise(self, prior_prob: float) -> None:
        # The curve predictor keeps PyTorch's own initialisation, as published.
        for module in [*self.cls_tower, *self.box_tower, self.cls_logits, self.box_pred, self.ctrness]:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=_INIT_STD)
                nn.init.zeros_(module.get_parameter("bias"))
        nn.init.constant_(self.cls_logits.get_parameter("bias"), -math.log((1 - prior_prob) / prior_prob))

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predictions of every location.

        Args:
            features: one (N, in_channels, h, w) map a stride.

        Raises:
            ValueError: when the number of maps is not that of the strides.
        """
        if len(features) != len(self.strides):
            raise ValueError(f"the head has {len(self.strides)} levels, got {len(features)} feature maps")
        output = HeadOutput([], [], [], [], self.strides)
        for feature in features:
            output.logits.append(self.cls_logits(self.cls_tower(feature)))
            tower = self.box_tower(feature)
            output.ctrness.append(self.ctrness(tower))
            # bfloat16 has 8 bits: a corner 60 strides away would be half a stride off.
            with torch.autocast(feature.device.type, enabled=False):
                exact = tower.float()
                output.reg.append(F.relu(self.box_pred(exact)))
                output.beziers.append(self.bezier_pred(exact))
        return output


def _tower(in_channels: int, width: int, num_convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(num_convs):
        layers += [nn.Conv2d(width if i else in_channels, width, 3, padding=1), group_norm(width), nn.ReLU()]
    return nn.Sequential(*layers)
