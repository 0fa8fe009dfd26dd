"""Our heads as detectron2 meta-architectures."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from fasttcm.charset import Charset
from fasttcm.d2.config import to_fasttcm_config
from fasttcm.d2.instances import instances_to_targets, predictions_to_instances
from fasttcm.engine.build import build_model

__all__ = ["FastTCMModel"]


class FastTCMModel(nn.Module):
    """The head named by ``MODEL.META_ARCHITECTURE`` on our backbone, taking and giving what detectron2 does.

    Args:
        cfg: from :func:`fasttcm.d2.load_d2_config`.

    Attributes:
        model: our module; its weights carry the prefix ``model.`` here.
        config: our configuration.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.config = to_fasttcm_config(cfg)
        # Weights that come from a checkpoint need no file of CLIP or ImageNet.
        self.model = build_model(self.config, weights=not cfg.MODEL.WEIGHTS)
        self.charset = Charset.named(self.config.MODEL.TEXT.CHARSET)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, instances in evaluation.

        Args:
            batched_inputs: ``image`` uint8 (3, H, W) in the order of ``INPUT.FORMAT``, ``height`` and ``width`` of the
                original; in training ``instances`` and, from :class:`~fasttcm.d2.mapper.TextMapper`, ``targets``.

        Returns:
            ``{name: scalar}``, or for every image ``{"instances": Instances, "words": TextPredictions}``, the instances
            with ``pred_boxes``, ``scores``, ``polygons``, ``beziers``, ``recs`` and ``pred_texts`` in original pixels.
        """
        samples = [self._sample(item) for item in batched_inputs]
        output = self.model(samples)
        if self.training:
            losses: dict[str, Tensor] = output
            return losses
        length = self.config.MODEL.TEXT.MAX_LENGTH
        return [
            {"instances": predictions_to_instances(found, self.charset, length), "words": found} for found in output
        ]

    def _sample(self, item: dict[str, Any]) -> dict[str, Any]:
        image = item["image"].to(self.device)
        if self.config.INPUT.FORMAT == "BGR":  # our models take RGB and turn it themselves
            image = image.flip(0)
        height, width = item.get("height", image.shape[-2]), item.get("width", image.shape[-1])
        sample = {**item, "image": image, "height": height, "width": width}
        if self.training and "targets" not in item:
            sample["targets"] = instances_to_targets(item["instances"], self.charset)
        return sample
