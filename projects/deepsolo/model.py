"""DeepSolo: let a transformer decoder with explicit points solo for text spotting (Ye et al., CVPR 2023)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from fasttcm.charset import Charset, TextEncoder, TooLong
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.deformable_encoder import DeformableEncoder
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.multi_scale import MultiScaleProjection
from fasttcm.projects.deepsolo.decoder import PointDecoder, PointHeads
from fasttcm.projects.deepsolo.loss import SetCriterion
from fasttcm.projects.deepsolo.output import DeepSoloOutput
from fasttcm.projects.deepsolo.postprocess import select, to_predictions
from fasttcm.projects.deepsolo.proposals import CurveProposals
from fasttcm.projects.deepsolo.targets import TargetBuilder
from fasttcm.structures import ILLEGIBLE, Sample, TextPredictions, TextTargets

__all__ = ["DeepSolo"]


class DeepSolo(nn.Module):
    """Backbone, encoder over four scales, proposals as curves, and one decoder that finds and reads.

    Args:
        backbone: any backbone that has ``in_levels``.
        batcher: normalises and pads.
        projection: feature maps to tokens.
        encoder: lets the tokens look around.
        proposals: the best tokens as centre lines.
        decoder: refines their points.
        heads: predictions at every point.
        charset: character classes; its last class is the blank of CTC.
        in_levels: feature maps of the projection, finest first.
        max_length: longest text in characters.
        too_long: what to do with longer texts in training; see :class:`~fasttcm.charset.TextEncoder`.
        criterion: matching and losses.
        threshold: least score of a detection.
        matching_loss: the instance-language matching loss, used when the backbone returns ``text_logits``.

    Attributes:
        encode: training texts to classes; it counts those that were too long or have foreign characters.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        batcher: ImageBatcher,
        projection: MultiScaleProjection,
        encoder: DeformableEncoder,
        proposals: CurveProposals,
        decoder: PointDecoder,
        heads: PointHeads,
        charset: Charset,
        in_levels: Sequence[str] = ("res3", "res4", "res5"),
        max_length: int = 25,
        too_long: TooLong = "cut",
        criterion: SetCriterion | None = None,
        threshold: float = 0.4,
        matching_loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.batcher = batcher
        self.projection = projection
        self.encoder = encoder
        self.proposals = proposals
        self.decoder = decoder
        self.heads = heads
        self.charset = charset
        self.in_levels = tuple(in_levels)
        self.encode = TextEncoder(charset, max_length=max_length, too_long=too_long)
        self.target_builder = TargetBuilder(num_points=decoder.num_points, encode=self.encode)
        self.criterion = criterion or SetCriterion()
        self.threshold = threshold
        self.matching_loss = matching_loss

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, words in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.

        Returns:
            In training the scalars of :class:`~fasttcm.projects.deepsolo.loss.SetCriterion` and, with a matching
            loss, ``loss_match``; their sum is the total. In evaluation one :class:`TextPredictions` a sample, in
            pixels of the original image.

        Raises:
            DataError: a training sample without targets, or with a text that is too long where that is refused.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        output = self.backbone(images)
        predictions = self.predict([output.features[name] for name in self.in_levels], sizes)
        if not self.training:
            return self._words(predictions, samples)
        targets = self.target_builder(samples, sizes, images.device)
        losses = self.criterion(predictions, targets)
        if output.text_logits is not None and self.matching_loss is not None:
            annotated = [_without_illegible(sample["targets"]) for sample in samples]
            losses["loss_match"] = self.matching_loss(output.text_logits, annotated, sizes, tuple(images.shape[-2:]))
        return losses

    def predict(self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> DeepSoloOutput:
        """From feature maps to what every decoder layer says (in eval mode: the last one).

        Args:
            features: (B, C_l, H_l, W_l) of ``in_levels``.
            sizes: unpadded height and width of each image in pixels.
        """
        tokens = self.projection(features, sizes)
        memory = tokens.with_tokens(self.encoder(tokens))
        proposals = self.proposals(memory)
        states = self.decoder(proposals.references, memory)
        layers = [self.heads(state) for state in (states if self.training else states[-1:])]
        return DeepSoloOutput(layers, proposals)

    def _words(self, output: DeepSoloOutput, samples: Sequence[Sample]) -> list[TextPredictions]:
        words = []
        for image, sample in enumerate(samples):
            size = int(sample["height"]), int(sample["width"])
            found = select(output.layers[-1], image, threshold=self.threshold, output_size=size)
            words.append(to_predictions(found, charset=self.charset, output_size=size))
        return words


def _without_illegible(targets: TextTargets) -> TextTargets:
    """The same targets with every ``###`` marked as ignored."""
    illegible = torch.tensor([text == ILLEGIBLE for text in targets.texts], dtype=torch.bool)
    return replace(targets, ignore=targets.ignore | illegible.to(targets.ignore.device))
