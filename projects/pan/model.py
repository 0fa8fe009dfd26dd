"""PAN: text regions, kernels and similarity vectors, and kernels that grow into texts (Wang et al., ICCV 2019)."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fasttcm.errors import DataError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.projects.pan.head import PANHead
from fasttcm.projects.pan.loss import PANLoss
from fasttcm.projects.pan.neck import FPEMFFM
from fasttcm.projects.pan.postprocess import PANPostprocessor
from fasttcm.projects.pan.targets import GRID_STRIDE, PANTargetMaker
from fasttcm.structures import ILLEGIBLE, Sample, TextPredictions, TextTargets
from fasttcm.tcm import upsample_logits

__all__ = ["LEVELS", "PAN"]

_LOG = logging.getLogger(__name__)

LEVELS = ("res2", "res3", "res4", "res5")
"""Levels of the backbone that the neck fuses."""

MapLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits, region and mask of one shape (N, K, H, W) to a scalar."""


class PAN(nn.Module):
    """Backbone, FPEM and FFM, one convolution, pixel aggregation.

    Args:
        backbone: has :data:`LEVELS`, strides 4 to 32.
        batcher: normalises and pads.
        neck: fuses the levels at stride 4.
        head: predicts the six maps.
        target_maker: draws the targets.
        criterion: losses of the head.
        postprocessor: maps to outlines.
        matching_loss: on the matching map at input size against the text regions, used when the backbone returns
            ``text_logits``.
        matching_weight: its factor.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        batcher: ImageBatcher,
        neck: FPEMFFM,
        head: PANHead,
        target_maker: PANTargetMaker | None = None,
        criterion: PANLoss | None = None,
        postprocessor: PANPostprocessor | None = None,
        matching_loss: MapLoss | None = None,
        matching_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.batcher = batcher
        self.neck = neck
        self.head = head
        self.target_maker = target_maker or PANTargetMaker()
        self.criterion = criterion or PANLoss()
        self.postprocessor = postprocessor or PANPostprocessor()
        self.matching_loss = matching_loss
        self.matching_weight = matching_weight

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, outlines in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.

        Returns:
            In training scalars ``loss_text``, ``loss_kernel``, ``loss_aggregation``, ``loss_discrimination`` and, with
            a matching loss, ``loss_match``; their sum is the total. In evaluation one :class:`TextPredictions` a
            sample, in pixels of the original image, with empty texts.

        Raises:
            DataError: a training sample without targets.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        output = self.backbone(images)
        maps = self.head(self.neck([output.features[level] for level in LEVELS]))
        if not self.training:
            arrays = maps.float().cpu().numpy()
            step = self.batcher.size_divisibility
            return [
                self._predict(array, size, step, sample)
                for array, size, sample in zip(arrays, sizes, samples, strict=True)
            ]
        padded = (int(images.shape[-2]), int(images.shape[-1]))
        targets = self.target_maker([_prepared(sample) for sample in samples], sizes, padded, images.device)
        losses = self.criterion(maps, targets.grid)
        if output.text_logits is not None and self.matching_loss is not None:
            logits = upsample_logits(output.text_logits, padded)
            region, mask = targets.region.expand_as(logits), targets.mask.expand_as(logits)
            losses["loss_match"] = self.matching_weight * self.matching_loss(logits, region, mask)
        return losses

    def _predict(self, maps: np.ndarray, size: tuple[int, int], step: int, sample: Sample) -> TextPredictions:
        """Texts of one image; the padding that only the batch asked for is cut off."""
        rows, columns = (-(-side // step) * step // GRID_STRIDE for side in size)
        maps = np.ascontiguousarray(maps[:, :rows, :columns])
        broken = int((~np.isfinite(maps).all(0)).sum())
        if broken:
            _LOG.warning(
                "%s: %d of %d cells of the maps are not finite and count as background; the weights have probably "
                "diverged",
                _name(sample),
                broken,
                rows * columns,
            )
        outlines, scores = self.postprocessor(maps)
        height, width = int(sample["height"]), int(sample["width"])
        scale = np.asarray([GRID_STRIDE * width / size[1], GRID_STRIDE * height / size[0]], np.float32)
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
