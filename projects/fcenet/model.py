"""FCENet: at every cell of three levels the contour of its text as a Fourier series (Zhu et al., CVPR 2021)."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fasttcm.errors import DataError
from fasttcm.layers.fpn import FPN
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.projects.fcenet.head import FCEHead
from fasttcm.projects.fcenet.loss import FCELoss
from fasttcm.projects.fcenet.postprocess import FCEPostprocessor
from fasttcm.projects.fcenet.targets import EVERY_SIZE, FCETargetMaker
from fasttcm.structures import ILLEGIBLE, Sample, TextPredictions, TextTargets

__all__ = ["FCENet"]

_LOG = logging.getLogger(__name__)

MapLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits, region and mask of one shape (N, K, h, w) to a scalar."""


class FCENet(nn.Module):
    """Backbone and pyramid, two shared convolutions, inverse Fourier transform.

    Args:
        backbone: a pyramid whose levels are those of ``target_maker`` and ``postprocessor``.
        batcher: normalises and pads.
        head: predicts on every level.
        target_maker: draws the targets.
        criterion: losses of the head.
        postprocessor: maps to outlines.
        matching_loss: on the matching map, at its own size, against the regions of all texts; used when the backbone
            returns ``text_logits``.
        matching_weight: its factor.
    """

    def __init__(
        self,
        *,
        backbone: FPN,
        batcher: ImageBatcher,
        head: FCEHead,
        target_maker: FCETargetMaker | None = None,
        criterion: FCELoss | None = None,
        postprocessor: FCEPostprocessor | None = None,
        matching_loss: MapLoss | None = None,
        matching_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.batcher = batcher
        self.head = head
        self.target_maker = target_maker or FCETargetMaker(degree=head.degree)
        self.criterion = criterion or FCELoss(degree=head.degree)
        self.postprocessor = postprocessor or FCEPostprocessor()
        self.matching_loss = matching_loss
        self.matching_weight = matching_weight

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, outlines in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.

        Returns:
            In training scalars ``loss_text``, ``loss_center``, ``loss_reg_x``, ``loss_reg_y`` and, with a matching
            loss, ``loss_match``; their sum is the total. In evaluation one :class:`TextPredictions` a sample, in
            pixels of the original image, with empty texts.

        Raises:
            DataError: a training sample without targets.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        output = self.backbone(images)
        logits, series = self.head(list(output.features.values()))
        if not self.training:
            return self._predict(logits, series, sizes, samples)
        padded = (int(images.shape[-2]), int(images.shape[-1]))
        targets = [_prepared(sample) for sample in samples]
        losses = self.criterion(logits, series, self.target_maker(targets, sizes, padded, images.device))
        if output.text_logits is not None and self.matching_loss is not None:
            matched = output.text_logits.float()
            stride = padded[0] // matched.shape[-2]
            masks = self.target_maker.level(targets, sizes, padded, stride, EVERY_SIZE, images.device).masks
            region, mask = (masks[:, channel, None].expand_as(matched) for channel in (0, 2))
            losses["loss_match"] = self.matching_weight * self.matching_loss(matched, region, mask)
        return losses

    def _predict(
        self,
        logits: Sequence[Tensor],
        series: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        samples: Sequence[Sample],
    ) -> list[TextPredictions]:
        """Texts of every image; the padding that only the batch asked for is cut off."""
        maps = [[level.float().cpu().numpy() for level in levels] for levels in (logits, series)]
        step = self.batcher.size_divisibility
        results = []
        for n, ((rows, columns), sample) in enumerate(zip(sizes, samples, strict=True)):
            own = (-(-rows // step) * step, -(-columns // step) * step)
            cut = [
                [
                    level[n, :, : own[0] // stride, : own[1] // stride]
                    for level, stride in zip(levels, self.postprocessor.strides, strict=True)
                ]
                for levels in maps
            ]
            broken = sum(int((~np.isfinite(level).all(0)).sum()) for levels in cut for level in levels)
            if broken:
                _LOG.warning(
                    "%s: %d cells of the maps are not finite and draw nothing; the weights have probably diverged",
                    _name(sample),
                    broken,
                )
            outlines, scores = self.postprocessor(*cut)
            height, width = int(sample["height"]), int(sample["width"])
            scale = np.asarray([width / columns, height / rows], np.float32)
            results.append(TextPredictions.from_polygons(height, width, list(outlines * scale), scores))
        return results


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
