"""TCM on a spotter's own trunk: the score is added to one feature map instead of concatenated (TCM section 4)."""

import torch
from torch import Tensor, nn

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.tcm.matching import InstanceLanguageMatching, MatchingOutput

__all__ = ["SpotterMatchedBackbone", "SpotterMatching"]

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
