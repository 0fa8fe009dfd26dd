"""DBNet: backbone, fused pyramid, probability and threshold maps, outlines (Liao et al., AAAI 2020)."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fasttcm.errors import DataError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.projects.dbnet.head import DBHead
from fasttcm.projects.dbnet.loss import DBLoss
from fasttcm.projects.dbnet.neck import FPNC
from fasttcm.projects.dbnet.postprocess import DBPostprocessor
from fasttcm.projects.dbnet.targets import DBTargetMaker
from fasttcm.structures import ILLEGIBLE, Sample, TextPredictions, TextTargets
from fasttcm.tcm import upsample_logits

__all__ = ["DBNet"]

_LOG = logging.getLogger(__name__)

MapLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits, region and mask of one shape (N, K, H, W) to a scalar."""


class DBNet(nn.Module):
    """Detector of text kernels, which outlines texts but does not read them.

    Args:
        backbone: has ``levels``, the finest of stride 4.
        batcher: normalises and pads.
        neck: fuses the levels at stride 4.
        head: predicts the maps at input size.
        levels: feature maps that the neck fuses, finest first.
        target_maker: draws the targets.
        criterion: losses of the head.
        postprocessor: probability map to outlines.
        matching_loss: on the matching map, resized to the input, against the kernels; used when the backbone returns
            ``text_logits``.
        matching_weight: its factor.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        batcher: ImageBatcher,
        neck: FPNC,
        head: DBHead,
        levels: Sequence[str] = ("res2", "res3", "res4", "res5"),
        target_maker: DBTargetMaker | None = None,
        criterion: DBLoss | None = None,
        postprocessor: DBPostprocessor | None = None,
        matching_loss: MapLoss | None = None,
        matching_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.batcher = batcher
        self.neck = neck
        self.head = head
        self.levels = tuple(levels)
        self.target_maker = target_maker or DBTargetMaker()
        self.criterion = criterion or DBLoss()
        self.postprocessor = postprocessor or DBPostprocessor()
        self.matching_loss = matching_loss
        self.matching_weight = matching_weight

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, outlines in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.

        Returns:
            In training scalars ``loss_prob``, ``loss_db``, ``loss_thr`` and, with a matching loss, ``loss_match``;
            their sum is the total. In evaluation one :class:`TextPredictions` a sample, in pixels of the original
            image, with empty texts.

        Raises:
            DataError: a training sample without targets.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        output = self.backbone(images)
        fused = self.neck([output.features[level] for level in self.levels])
        if not self.training:
            maps = self.head.probability_logits(fused).sigmoid().cpu().numpy()
            return [self._predict(*image) for image in zip(maps, sizes, samples, strict=True)]
        padded = (int(images.shape[-2]), int(images.shape[-1]))
        targets = self.target_maker([_prepared(sample) for sample in samples], sizes, padded, images.device)
        losses = self.criterion(self.head(fused), targets)
        if output.text_logits is not None and self.matching_loss is not None:
            logits = upsample_logits(output.text_logits, padded)
            region, mask = targets.kernel[:, None].expand_as(logits), targets.mask[:, None].expand_as(logits)
            losses["loss_match"] = self.matching_weight * self.matching_loss(logits, region, mask)
        return losses

    def _predict(self, probability: np.ndarray, size: tuple[int, int], sample: Sample) -> TextPredictions:
        """Texts of one image; the padding that only the batch asked for is cut off."""
        step = self.batcher.size_divisibility
        rows, columns = (-(-side // step) * step for side in size)
        probability = np.ascontiguousarray(probability[:rows, :columns])
        if not np.isfinite(probability.sum()):
            broken = int((~np.isfinite(probability)).sum())
            _LOG.warning(
                "%s: %d of %d pixels of the probability map are not finite and count as background; "
                "the weights have probably diverged",
                _name(sample),
                broken,
                probability.size,
            )
        outlines, scores = self.postprocessor(probability)
        height, width = int(sample["height"]), int(sample["width"])
        scale = np.asarray([width / size[1], height / size[0]], np.float32)
        return TextPredictions.from_polygons(height, width, [outline * scale for outline in outlines], scores)


def _name(sample: Sample) -> str:
    """What messages call an image."""
    return str(sample.get("file_name") or sample.get("image_id", "(unnamed)"))


def _prepared(sample: Sample) -> TextTargets:
    """The targets of a sample, with every ``###`` marked as ignored."""
    if "targets" not in sample:
        raise DataError(f"training sample {_name(sample)} has no targets; use a dataset with annotations")
    targets: TextTargets = sample["targets"].to("cpu")
    targets.ignore = targets.ignore | torch.tensor([text == ILLEGIBLE for text in targets.texts], dtype=torch.bool)
    return targets
