"""The sizes of a CLIP model with a ResNet image tower, and how to read them off its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

from fasttcm.errors import CheckpointError, ConfigError

__all__ = ["HEAD_CHANNELS", "STAGE_EXPANSION", "TRUNK_STRIDE", "ClipSizes"]

HEAD_CHANNELS = 64
"""Channels of one attention head in every published CLIP tower."""
TRUNK_STRIDE = 32
"""Input pixels per cell of the last stage."""
_STAGES = (1, 2, 3, 4)
STAGE_EXPANSION = (4, 8, 16, 32)
"""Channels of ``layer1`` .. ``layer4`` as multiples of the width."""


@dataclass(frozen=True)
class ClipSizes:
    """Widths and depths of both towers. The defaults are those of the published RN50.

    Attributes:
        embed_dim: E, channels of the embedding space that both towers share.
        layers: bottleneck blocks of ``layer1`` .. ``layer4``.
        width: channels of the stem's output; even.
        image_resolution: side in pixels of the square training image, a multiple of 32. The attention pool's table of
            positions has (image_resolution / 32)^2 + 1 rows.
        context_length: rows of the text tower's table of positions, the longest text in tokens.
        vocab_size: rows of the token table; the end token is its last row.
        text_width: D, channels inside the text tower.
        text_heads: attention heads of a text block; divides ``text_width``.
        text_layers: blocks of the text tower.

    Raises:
        ConfigError: a size is not positive, or two of them do not fit together.
    """

    embed_dim: int = 1024
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    image_resolution: int = 224
    context_length: int = 77
    vocab_size: int = 49408
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12

    def __post_init__(self) -> None:
        if len(self.layers) != len(_STAGES):
            raise ConfigError(f"CLIP layers must name the blocks of 4 stages, got {self.layers}")
        object.__setattr__(self, "layers", tuple(int(blocks) for blocks in self.layers))
        for field in fields(self):
            value = getattr(self, field.name)
            if min(value if field.name == "layers" else (value,)) < 1:
                raise ConfigError(f"CLIP {field.name} must be positive, got {value}")
        if self.width % 2:
            raise ConfigError(f"CLIP width must be even (the stem starts with half of it), got {self.width}")
        if self.image_resolution % TRUNK_STRIDE:
            raise ConfigError(
                f"CLIP image_resolution must be a multiple of {TRUNK_STRIDE}, got {self.image_resolution}"
            )
        if self.text_width % self.text_heads:
            raise ConfigError(f"CLIP text_width {self.text_width} is not divisible by text_heads {self.text_heads}")

    @property
    def pool_heads(self) -> int:
        """Heads of the attention pool: one per 64 channels of the last stage."""
        return self.stage_channels[-1] // HEAD_CHANNELS

    @property
    def stage_channels(self) -> tuple[int, int, int, int]:
        """Channels of ``layer1`` .. ``layer4`` (256, 512, 1024, 2048 for width 64)."""
        first, second, third, fourth = (self.width * factor for factor in STAGE_EXPANSION)
        return first, second, third, fourth

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the attention pool's table of positions."""
        side = self.image_resolution // TRUNK_STRIDE
        return side, side

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "ClipSizes":
        """Read the sizes off weights under OpenAI's names (``visual.*``, ``transformer.*``, ...).

        The number of text heads is not stored: CLIP uses one per 64 channels.

        Raises:
            CheckpointError: a tensor that tells a size is missing, or the table of positions is not square.
        """

        def shape(key: str) -> tuple[int, ...]:
            if key not in state:
                raise CheckpointError(f"not the weights of a CLIP ResNet: {key} is missing")
            return tuple(state[key].shape)

        def blocks(prefix: str, part: int) -> int:
            return len({key.split(".")[part] for key in state if key.startswith(prefix + ".")})

        try:
            rows = shape("visual.attnpool.positional_embedding")[0]
            side = math.isqrt(rows - 1)
            if rows != 1 + side * side:
                raise CheckpointError(
                    f"visual.attnpool.positional_embedding has {rows} rows; expected 1 + a square number"
                )
            first, second, third, fourth = (blocks(f"visual.layer{stage}", 2) for stage in _STAGES)
            text_width = shape("ln_final.weight")[0]
            return cls(
                embed_dim=shape("text_projection")[1],
                layers=(first, second, third, fourth),
                width=shape("visual.layer1.0.conv1.weight")[0],
                image_resolution=side * TRUNK_STRIDE,
                context_length=shape("positional_embedding")[0],
                vocab_size=shape("token_embedding.weight")[0],
                text_width=text_width,
                text_heads=max(1, text_width // HEAD_CHANNELS),
                text_layers=blocks("transformer.resblocks", 2),
            )
        except CheckpointError:
            raise
        except (ValueError, IndexError) as error:
            raise CheckpointError(f"not the weights of a CLIP ResNet: {error}") from error

    def contradictions(self, other: "ClipSizes") -> list[str]:
        """Fields in which two models differ, as ``"name: own value against other value"``; empty when equal."""
        return [
            f"{field.name}: {getattr(self, field.name)} against {getattr(other, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]
