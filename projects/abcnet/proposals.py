"""From dense predictions to a few scored curves an image."""

from dataclasses import dataclass

import numpy as np
import shapely
import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from fasttcm.geometry import beziers_to_polygons
from fasttcm.projects.abcnet.fuse_ends import fuse_ends
from fasttcm.projects.abcnet.head import HeadOutput

__all__ = ["ProposalSelector", "Proposals", "uncovered"]


@dataclass
class Proposals:
    """Detected texts of one image, by descending score, in input pixels.

    Attributes:
        boxes: (n, 4) float32 x0 y0 x1 y1, neither clipped nor of positive area for sure.
        scores: (n,) float32 geometric mean of text probability and centre-ness.
        labels: (n,) int64 classes.
        locations: (n, 2) float32 position that predicted each.
        beziers: (n, 16) float32 control points.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    locations: Tensor
    beziers: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Tensor) -> "Proposals":
        """The texts chosen by a mask or an index tensor."""
        return Proposals(
            self.boxes[index], self.scores[index], self.labels[index], self.locations[index], self.beziers[index]
        )

    @classmethod
    def cat(cls, parts: list["Proposals"]) -> "Proposals":
        """Several sets, one after the other."""
        return cls(
            torch.cat([p.boxes for p in parts]),
            torch.cat([p.scores for p in parts]),
            torch.cat([p.labels for p in parts]),
            torch.cat([p.locations for p in parts]),
            torch.cat([p.beziers for p in parts]),
        )


def uncovered(beziers: Tensor, most: float) -> Tensor:
    """Which texts are not mostly the same place as a better one.

    Boxes that overlap little can still be a word and a piece of it, and boxes that overlap much can be two lines of
    slanted text: only the outlines tell.

    Args:
        beziers: (n, 16) control points, best text first.
        most: a text goes when it and a better one that stays share more than this part of the smaller one's area. An
            outline that crosses itself counts with what ``buffer(0)`` leaves of it; one without area goes.

    Returns:
        (n,) bool, on the device of ``beziers``.
    """
    rings = shapely.polygons(beziers_to_polygons(beziers.detach().double().cpu(), 7).numpy())
    shapes = shapely.buffer(rings, 0)
    areas = shapely.area(shapes)
    stays = areas > 0
    pairs = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    worse, better = pairs[:, pairs[0] > pairs[1]]
    shared = shapely.area(shapely.intersection(shapes[worse], shapes[better]))
    covered = shared > most * np.minimum(areas[worse], areas[better])
    for row, other in sorted(zip(worse[covered].tolist(), better[covered].tolist(), strict=True)):
        stays[row] &= not stays[other]  # rows ascend, so what is better has been decided
    return torch.from_numpy(stays).to(beziers.device)


class ProposalSelector(nn.Module):
    """Threshold, rank and suppress; without parameters, a module because train and eval mode differ.

    Args:
        threshold_train: a location counts when its class probability is greater, in train mode.
        threshold_test: likewise in eval mode. Centre-ness takes no part in the test.
        pre_nms_topk: locations kept a level and image.
        post_nms_topk: texts kept an image; ties with the last are kept too.
        nms_threshold: a box is dropped when its IoU with a better one is greater.
        fuses_ends: then :func:`~fasttcm.projects.abcnet.fuse_ends.fuse_ends` moves the corners of the curves.
        most_covered: see :func:`uncovered`, which follows; 1 or more: it does not.
    """

    def __init__(
        self,
        *,
        threshold_train: float = 0.7,
        threshold_test: float = 0.45,
        pre_nms_topk: int = 1000,
        post_nms_topk: int = 100,
        nms_threshold: float = 0.5,
        fuses_ends: bool = False,
        most_covered: float = 1.0,
    ) -> None:
        super().__init__()
        self.threshold_train = threshold_train
        self.threshold_test = threshold_test
        self.pre_nms_topk = pre_nms_topk
        self.post_nms_topk = post_nms_topk
        self.nms_threshold = nms_threshold
        self.fuses_ends = fuses_ends
        self.most_covered = most_covered

    @torch.no_grad()
    def forward(self, output: HeadOutput) -> list[Proposals]:
        """One set an image; see :class:`Proposals`."""
        locations = output.locations()
        found = []
        for image in range(len(output.logits[0])):
            levels = [self._candidates(output, level, image, at) for level, at in enumerate(locations)]
            found.append(self._suppress(Proposals.cat(levels)))
        return found

    def _candidates(self, output: HeadOutput, level: int, image: int, locations: Tensor) -> Proposals:
        """The best locations of one level of one image, in no order."""
        stride = output.strides[level]

        def rows(tensors: list[Tensor]) -> Tensor:
            return tensors[level][image].flatten(1).T.float()

        classes = rows(output.logits).sigmoid()
        threshold = self.threshold_train if self.training else self.threshold_test
        cell, label = (classes > threshold).nonzero(as_tuple=True)
        product = classes[cell, label] * rows(output.ctrness).sigmoid()[cell, 0]
        if len(product) > self.pre_nms_topk:
            product, best = product.topk(self.pre_nms_topk, sorted=False)
            cell, label = cell[best], label[best]
        at = locations[cell]
        sides = rows(output.reg)[cell] * stride
        return Proposals(
            torch.cat([at - sides[:, :2], at + sides[:, 2:]], 1),
            product.sqrt(),
            label,
            at,
            at.repeat(1, output.beziers[level].shape[1] // 2) + rows(output.beziers)[cell] * stride,
        )

    def _suppress(self, found: Proposals) -> Proposals:
        kept = found[batched_nms(found.boxes, found.scores, found.labels, self.nms_threshold)]
        if len(kept) > self.post_nms_topk:
            kept = kept[kept.scores >= kept.scores[self.post_nms_topk - 1]]
        if self.fuses_ends:
            kept.beziers = fuse_ends(kept.beziers, found.beziers, found.scores, found.locations)
            outlines = beziers_to_polygons(kept.beziers)
            kept.boxes = torch.cat([outlines.amin(1), outlines.amax(1)], 1)
        return kept[uncovered(kept.beziers, self.most_covered)] if self.most_covered < 1 else kept
