"""ABCNet: find text along curves and read it, in one network (Liu et al., CVPR 2020)."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from fasttcm.charset import Charset, TextEncoder, TooLong
from fasttcm.errors import ConfigError, DataError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.image_pyramid import ImagePyramid
from fasttcm.projects.abcnet.ctc_reader import CtcReader
from fasttcm.projects.abcnet.head import BezierFCOSHead
from fasttcm.projects.abcnet.loss import DetectionLoss
from fasttcm.projects.abcnet.postprocess import to_predictions
from fasttcm.projects.abcnet.proposals import Proposals, ProposalSelector
from fasttcm.projects.abcnet.recognizer import Reading, RecognizerBranch
from fasttcm.projects.abcnet.regions import Regions, add_predicted, jitter_curves, legible, widen_curves
from fasttcm.projects.abcnet.targets import TargetAssigner
from fasttcm.structures import ILLEGIBLE, Sample, TextPredictions, TextTargets

__all__ = ["ABCNet", "Trained"]

Trained = Literal["all", "detection", "recognition"]
"""Which part of the model trains; the other one is frozen, and not run."""


class ABCNet(nn.Module):
    """Backbone, dense head, BezierAlign and recogniser.

    Args:
        backbone: any backbone that has ``head_levels`` and ``pooler_levels``.
        batcher: normalises and pads.
        head: predicts on ``head_levels``.
        recognizer: reads curves from ``pooler_levels``, or from ``pixels``.
        charset: character classes of the recogniser.
        max_length: longest text in characters.
        too_long: what to do with longer texts in training; see :class:`~fasttcm.charset.TextEncoder`.
        head_levels: feature maps of the head, finest first.
        pooler_levels: feature maps of the recogniser, finest first.
        assigner: targets of the head.
        criterion: losses of the head.
        selector: dense predictions to proposals.
        rec_loss_weight: factor of the recognition loss.
        adaptive_training: train the recogniser also on the curves that the head predicts (ABCNet v2's adaptive
            end-to-end training), each with the text of the nearest annotated curve.
        curve_jitter: strength of :func:`~fasttcm.projects.abcnet.regions.jitter_curves` on the annotated curves that
            the recogniser trains on; 0 as published.
        reading_room: text heights at the ends and at the sides by which predicted curves are widened to be read; see
            :func:`~fasttcm.projects.abcnet.regions.widen_curves`. The predictions keep their curves.
        threshold_text: a word counts when the score of its reading reaches it.
        pixels: the recogniser reads from the picture at several sizes instead of the pyramid's levels.
        trained: ``all``; ``detection`` or ``recognition`` freezes the other part. Recognition alone wants ``pixels``.
        stop_at_end: drop characters read after the first end; the published decoding keeps them.
        matching_loss: the instance-language matching loss, used when the backbone returns ``text_logits``.

    Attributes:
        encode: training texts to classes; it counts those that were too long or have foreign characters.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        batcher: ImageBatcher,
        head: BezierFCOSHead,
        recognizer: RecognizerBranch | CtcReader,
        charset: Charset,
        max_length: int = 25,
        too_long: TooLong = "cut",
        head_levels: Sequence[str] = ("p3", "p4", "p5", "p6", "p7"),
        pooler_levels: Sequence[str] = ("p2", "p3", "p4"),
        assigner: TargetAssigner | None = None,
        criterion: DetectionLoss | None = None,
        selector: ProposalSelector | None = None,
        rec_loss_weight: float = 0.05,
        adaptive_training: bool = False,
        curve_jitter: float = 0.0,
        reading_room: tuple[float, float] = (0.0, 0.0),
        threshold_text: float = 0.0,
        pixels: ImagePyramid | None = None,
        trained: Trained = "all",
        stop_at_end: bool = False,
        matching_loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if trained not in get_args(Trained) or (trained == "recognition" and pixels is None):
            raise ConfigError(
                f"the part that trains is one of {', '.join(get_args(Trained))}, and recognition alone must read from "
                f"the picture (POOLER_LEVELS image, ...); got {trained!r}"
            )
        self.backbone = backbone
        self.batcher = batcher
        self.head = head
        self.recognizer = recognizer
        self.charset = charset
        self.max_length = max_length
        self.head_levels = tuple(head_levels)
        self.pooler_levels = tuple(pooler_levels)
        self.assigner = assigner or TargetAssigner(num_classes=head.num_classes)
        self.criterion = criterion or DetectionLoss()
        self.selector = selector or ProposalSelector()
        self.rec_loss_weight = rec_loss_weight
        self.adaptive_training = adaptive_training
        self.curve_jitter = curve_jitter
        self.reading_room = reading_room
        self.threshold_text = threshold_text
        self.pixels = pixels
        self.trained = trained
        self.stop_at_end = stop_at_end
        self.matching_loss = matching_loss
        self.encode = TextEncoder(charset, max_length=max_length, too_long=too_long)
        for part in self._resting():
            part.requires_grad_(False)

    def _resting(self) -> list[nn.Module]:
        """The parts that do not train."""
        if self.trained == "all":
            return []
        return [self.recognizer] if self.trained == "detection" else [self.backbone, self.head]

    def forward(
        self, samples: Sequence[Sample], *, teacher: Tensor | None = None
    ) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, words in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.
            teacher: pins the draws of teacher forcing; see
                :meth:`~fasttcm.projects.abcnet.decoder.AttentionDecoder.forward`.

        Returns:
            In training scalars ``loss_fcos_cls``, ``loss_fcos_loc``, ``loss_fcos_ctr``, ``loss_fcos_bezier``,
            ``loss_rec`` and, with a matching loss, ``loss_match``; their sum is the total. In evaluation one
            :class:`TextPredictions` a sample, in pixels of the original image.

        Raises:
            DataError: a training sample without targets, or with a text that is too long where that is refused.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        if self.training and self.trained == "recognition":
            targets = [_prepared(sample, images.device) for sample in samples]
            regions = [self._regions(*image, None) for image in zip(samples, targets, strict=True)]
            return {"loss_rec": self._recognition_loss(self._pooled(images, {}), regions, teacher)}
        output = self.backbone(images)
        head_features = [output.features[name] for name in self.head_levels]
        if not self.training:
            return self._predict(head_features, self._pooled(images, output.features), samples, sizes)
        targets = [_prepared(sample, images.device) for sample in samples]
        predictions = self.head(head_features)
        dense = self.assigner(predictions.locations(), predictions.strides, targets)
        losses = self.criterion(predictions, dense)
        if self.trained == "all":
            found = self.selector(predictions) if self.adaptive_training else [None] * len(samples)
            regions = [self._regions(*image) for image in zip(samples, targets, found, strict=True)]
            losses["loss_rec"] = self._recognition_loss(self._pooled(images, output.features), regions, teacher)
        if output.text_logits is not None and self.matching_loss is not None:
            losses["loss_match"] = self.matching_loss(output.text_logits, targets, sizes, tuple(images.shape[-2:]))
        return losses

    def _pooled(self, images: Tensor, features: dict[str, Tensor]) -> list[Tensor]:
        """What the recogniser reads from."""
        return [features[name] for name in self.pooler_levels] if self.pixels is None else self.pixels(images)

    def _regions(self, sample: Sample, targets: TextTargets, found: Proposals | None) -> Regions:
        """What the recogniser reads in one training image."""
        texts = targets[legible(targets)]
        rows = self.encode(texts.texts, _name(sample))
        classes = torch.tensor(rows, dtype=torch.int64, device=texts.beziers.device).reshape(-1, self.max_length)
        regions = Regions(jitter_curves(texts.beziers, self.curve_jitter), classes)
        return regions if found is None else add_predicted(regions, found.beziers, targets)

    def _recognition_loss(self, features: list[Tensor], regions: list[Regions], teacher: Tensor | None) -> Tensor:
        classes = torch.cat([image.classes for image in regions])
        curves = [image.beziers for image in regions]
        return self.rec_loss_weight * self.recognizer.loss(features, curves, classes, teacher)

    def _predict(
        self,
        head_features: list[Tensor],
        pooler_features: list[Tensor],
        samples: Sequence[Sample],
        sizes: list[tuple[int, int]],
    ) -> list[TextPredictions]:
        proposals = self.selector(self.head(head_features))
        ends, sides = self.reading_room
        curves = [widen_curves(p.beziers, ends=ends, sides=sides) for p in proposals]
        reading = self.recognizer.read(pooler_features, curves)
        kept = reading.scores >= self.threshold_text
        parts = kept.split([len(p) for p in proposals])
        proposals = [p[part] for p, part in zip(proposals, parts, strict=True)]
        counts = [len(p) for p in proposals]
        readings = map(Reading, reading.tokens[kept].split(counts), reading.scores[kept].split(counts))
        return [
            to_predictions(
                found,
                read,
                charset=self.charset,
                input_size=size,
                output_size=(int(sample["height"]), int(sample["width"])),
                stop_at_end=self.stop_at_end,
            )
            for found, read, size, sample in zip(proposals, readings, sizes, samples, strict=True)
        ]


def _name(sample: dict[str, Any]) -> str:
    """What messages call an image."""
    return str(sample.get("file_name") or sample.get("image_id", "(unnamed)"))


def _prepared(sample: dict[str, Any], device: torch.device) -> TextTargets:
    """The targets of a sample on ``device``, with every ``###`` marked as ignored."""
    if "targets" not in sample:
        raise DataError(f"training sample {_name(sample)} has no targets; use a dataset with annotations")
    targets: TextTargets = sample["targets"].to(device)
    illegible = torch.tensor([text == ILLEGIBLE for text in targets.texts], dtype=torch.bool, device=device)
    targets.ignore = targets.ignore | illegible
    return targets
