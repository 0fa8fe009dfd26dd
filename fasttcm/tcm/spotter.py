"""TCM on a spotter's own trunk: the score is added to one feature map instead of concatenated (TCM section 4)."""

import os
from typing import Any

import torch
from torch import Tensor, nn

from fasttcm.clip import ClipSizes, TextTower, load_clip
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.tcm.matching import InstanceLanguageMatching, MatchingOutput, build_matching

__all__ = ["SpotterMatchedBackbone", "SpotterMatching", "build_spotter_matched"]

INITIAL_SCORE_GAMMA = 1e-3
"""Initial weight of the score in the sum, when it is learned."""


class SpotterMatching(nn.Module):
    """Match a feature map with the class text and add the score to all its channels.

    The dense embeddings are the map itself, or its projection into CLIP's space by two 1x1 convolutions; the global
    embedding is their spatial mean. ABCNet projects ``p4`` (256 channels), TESTR takes ``res4`` (1024) as it is.

    Args:
        matching: a matching of one class.
        in_channels: C, channels of the map.
        embed_dim: E of the matching.
        project: put the projection in front; without, C must be E.
        learned_gamma: add gamma * score with a learned scalar gamma (initially 1e-3) instead of the score.

    Raises:
        ConfigError: more than one class, or an unprojected map of the wrong width.
    """

    def __init__(
        self,
        *,
        matching: InstanceLanguageMatching,
        in_channels: int,
        embed_dim: int,
        project: bool,
        learned_gamma: bool = False,
    ) -> None:
        super().__init__()
        if matching.num_classes != 1:
            raise ConfigError(f"the spotter form adds a single score map: one class text, not {matching.num_classes}")
        if not project and in_channels != embed_dim:
            raise ConfigError(
                f"a map of {in_channels} channels cannot be matched with texts of {embed_dim} without a projection"
            )
        self.matching = matching
        self.visual_embedding_proj = _projection(in_channels, embed_dim) if project else None
        self.score_map_concat_gamma = nn.Parameter(torch.tensor(INITIAL_SCORE_GAMMA)) if learned_gamma else None

    def forward(self, features: Tensor) -> tuple[Tensor, MatchingOutput]:
        """Return the map (N, C, h, w) with the score added, and the matching of its (h, w) cells."""
        visual = features if self.visual_embedding_proj is None else self.visual_embedding_proj(features)
        matched: MatchingOutput = self.matching(visual.mean(dim=(2, 3)), visual)
        gamma = 1.0 if self.score_map_concat_gamma is None else self.score_map_concat_gamma
        return features + gamma * matched.score, matched


def _projection(in_channels: int, embed_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, embed_dim, 1),
        nn.BatchNorm2d(embed_dim),
        nn.ReLU(),
        nn.Conv2d(embed_dim, embed_dim, 1),
        nn.BatchNorm2d(embed_dim),
    )


class SpotterMatchedBackbone(Backbone):
    """Any backbone, one level of which goes through a :class:`SpotterMatching`.

    Args:
        bottom_up: network below: a pyramid for ABCNet's form, a trunk for TESTR's.
        level: name of its level to match.
        spotter_matching: the matching of that level.

    Raises:
        ConfigError: the network below has no such level.
    """

    def __init__(self, *, bottom_up: Backbone, level: str, spotter_matching: SpotterMatching) -> None:
        super().__init__()
        if level not in bottom_up.output_shape():
            raise ConfigError(f"matched level {level!r} is not one of {', '.join(bottom_up.output_shape())}")
        self.bottom_up = bottom_up
        self.level = level
        self.clip_pix_cls = spotter_matching
        self.size_divisibility = bottom_up.size_divisibility

    def forward(self, images: Tensor) -> BackboneOutput:
        """Levels of ``bottom_up`` with the matched one changed, and ``text_logits`` (B, 1, h, w) of that level."""
        features = dict(self.bottom_up(images).features)
        features[self.level], matched = self.clip_pix_cls(features[self.level])
        return BackboneOutput(features, matched.logits)

    def output_shape(self) -> dict[str, FeatureShape]:
        """As ``bottom_up``: adding the score changes no shape."""
        return self.bottom_up.output_shape()

    def reset_text_cache(self) -> None:
        """Forget FastTCM's kept texts, after weights were edited in place by hand."""
        self.clip_pix_cls.matching.reset_text_cache()

    def freeze_text(self) -> None:
        """Keep FastTCM's texts as a constant and drop the text tower, for export."""
        self.clip_pix_cls.matching.freeze_text()


def build_spotter_matched(
    *,
    bottom_up: Backbone,
    level: str,
    image_conditioned: bool,
    weights: str | os.PathLike[str],
    sizes: ClipSizes | None = None,
    text_layers: int = 0,
    learned_gamma: bool = False,
    **matching: Any,
) -> SpotterMatchedBackbone:
    """TCM or FastTCM on one level of a spotter's own trunk or pyramid; only the text tower is CLIP's.

    The level is projected into CLIP's space when it has another number of channels (ABCNet's ``p4``) and taken as it is
    otherwise (TESTR's ``res4``).

    Args:
        bottom_up: network below.
        level: name of its level to match.
        image_conditioned: TCM (true) or FastTCM (false).
        weights: RN50.pt or another file that :func:`~fasttcm.clip.load_clip` reads, or ``random``.
        sizes: what the weights must be; ``None``: whatever they are.
        text_layers: blocks kept of the text tower, the first ones; 0: all (published for ICDAR 2015: 3).
        learned_gamma: as in :class:`SpotterMatching`.
        **matching: further arguments of :func:`~fasttcm.tcm.matching.build_matching`.

    Raises:
        ConfigError: an unknown level, or arguments that do not fit together.
        CheckpointError: weights that cannot be used.
    """
    shapes = bottom_up.output_shape()
    if level not in shapes:
        raise ConfigError(f"matched level {level!r} is not one of {', '.join(shapes)}")
    towers = load_clip(weights, sizes=sizes)
    embed_dim = towers.sizes.embed_dim
    inner = build_matching(
        image_conditioned=image_conditioned,
        tower=_first_layers(towers.text, text_layers),
        embed_dim=embed_dim,
        **matching,
    )
    channels = shapes[level].channels
    spotter_matching = SpotterMatching(
        matching=inner,
        in_channels=channels,
        embed_dim=embed_dim,
        project=channels != embed_dim,
        learned_gamma=learned_gamma,
    )
    return SpotterMatchedBackbone(bottom_up=bottom_up, level=level, spotter_matching=spotter_matching)


def _first_layers(tower: TextTower, count: int) -> TextTower:
    """The tower with its first ``count`` blocks; 0: all."""
    blocks = tower.transformer.resblocks
    if not 0 <= count <= len(blocks):
        raise ConfigError(f"the text tower has {len(blocks)} blocks; {count} cannot be kept")
    tower.transformer.resblocks = blocks[: count or None]
    return tower
