"""CLIP's ResNet with an instance-language matching as a backbone."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fasttcm.clip import DenseAttentionPool
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.tcm.matching import InstanceLanguageMatching

__all__ = ["TCMBackbone"]


class TCMBackbone(Backbone):
    """CLIP's trunk and dense pool with an instance-language matching: TCM or FastTCM.

    Args:
        trunk: image trunk; its last level is pooled.
        pool: from that level to global and dense embeddings.
        matching: compares them with the class texts.
        matched_level: level that gets the K score maps as extra channels, resized when its stride is another.
        concat: ``False`` leaves the features as they are and only returns the logits.

    Raises:
        ConfigError: the trunk has no level ``matched_level``.
    """

    def __init__(
        self,
        *,
        trunk: Backbone,
        pool: DenseAttentionPool,
        matching: InstanceLanguageMatching,
        matched_level: str = "res5",
        concat: bool = True,
    ) -> None:
        super().__init__()
        levels = list(trunk.output_shape())
        if matched_level not in levels:
            raise ConfigError(f"matched level {matched_level!r} is not one of {', '.join(levels)}")
        self.trunk = trunk
        self.pool = pool
        self.matching = matching
        self.matched_level = matched_level
        self.concat = concat
        self.size_divisibility = trunk.size_divisibility
        self._pooled_level = levels[-1]

    def forward(self, images: Tensor) -> BackboneOutput:
        """Features of normalised images (B, 3, H, W) and ``text_logits`` (B, K, H / 32, W / 32)."""
        features = dict(self.trunk(images).features)
        matched = self.matching(*self.pool(features[self._pooled_level]))
        if self.concat:
            stage = features[self.matched_level]
            score = matched.score
            if score.shape[-2:] != stage.shape[-2:]:
                score = F.interpolate(score, stage.shape[-2:], mode="bilinear", align_corners=False)
            features[self.matched_level] = torch.cat([stage, score.to(stage.dtype)], dim=1)
        return BackboneOutput(features, matched.logits)

    def output_shape(self) -> dict[str, FeatureShape]:
        """The trunk's levels, the matched one with K more channels."""
        shapes = self.trunk.output_shape()
        if self.concat:
            plain = shapes[self.matched_level]
            shapes[self.matched_level] = FeatureShape(plain.channels + self.matching.num_classes, plain.stride)
        return shapes

    def reset_text_cache(self) -> None:
        """Forget FastTCM's kept texts, after weights were edited in place by hand."""
        self.matching.reset_text_cache()

    def freeze_text(self) -> None:
        """Keep FastTCM's texts as a constant and drop the text tower, for export."""
        self.matching.freeze_text()
