"""TESTR: boxes from a transformer encoder, outlines and characters from two decoders (Zhang et al., CVPR 2022)."""

from collections.abc import Sequence

from torch import Tensor, nn

from fasttcm.charset import Charset, TextEncoder, TooLong
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.deformable_encoder import DeformableEncoder
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.mlp import MLP, logit
from fasttcm.layers.multi_scale import MultiScaleProjection
from fasttcm.projects.testr.decoder import DualDecoder
from fasttcm.projects.testr.loss import SetCriterion
from fasttcm.projects.testr.output import LayerOutput, TESTROutput
from fasttcm.projects.testr.postprocess import select, to_predictions
from fasttcm.projects.testr.proposals import BoxProposals, prior_bias_
from fasttcm.projects.testr.targets import TargetBuilder, annotations, image_name
from fasttcm.structures import Sample, TextPredictions

__all__ = ["TESTR", "PredictionHead"]

_POINT_LAYERS = 3


class PredictionHead(nn.Module):
    """Score, outline and characters from the states of a decoder layer; one set of weights for all layers.

    Args:
        channels: model width.
        num_classes: character classes with "unknown" and "end".
    """

    def __init__(self, *, channels: int = 256, num_classes: int = 97) -> None:
        super().__init__()
        self.classifier = prior_bias_(nn.Linear(channels, 1))
        self.point = MLP(in_channels=channels, channels=channels, out_channels=2, layers=_POINT_LAYERS).zero_last()
        self.text = nn.Linear(channels, num_classes)

    def forward(self, points: Tensor, texts: Tensor, boxes: Tensor) -> LayerOutput:
        """Predict.

        Args:
            points: (B, Q, N, channels) outline states.
            texts: (B, Q, T, channels) character states.
            boxes: (B, Q, 4) reference boxes; outline points are offsets from their centres, in logits.
        """
        centre = logit(boxes[:, :, None, :2])
        return LayerOutput(
            self.classifier(points)[..., 0], (self.point(points).float() + centre).sigmoid(), self.text(texts)
        )


class TESTR(nn.Module):
    """Backbone, deformable encoder, dual decoder.

    Args:
        backbone: any backbone that has ``in_levels``.
        batcher: normalises and pads.
        projection: feature maps to tokens.
        encoder: tokens to memory.
        proposals: memory to reference boxes.
        decoder: outline and character states of every box.
        head: states to predictions.
        charset: character classes.
        in_levels: feature maps of the projection, finest first.
        max_length: longest text in characters.
        too_long: what to do with longer texts in training; see :class:`~fasttcm.charset.TextEncoder`.
        criterion: matching and losses.
        threshold: lowest score of a word in eval mode.
        char_scores: whether predictions keep the probabilities of every character.
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
        proposals: BoxProposals,
        decoder: DualDecoder,
        head: PredictionHead,
        charset: Charset,
        in_levels: Sequence[str] = ("res3", "res4", "res5"),
        max_length: int = 25,
        too_long: TooLong = "cut",
        criterion: SetCriterion | None = None,
        threshold: float = 0.45,
        char_scores: bool = False,
        matching_loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.batcher = batcher
        self.projection = projection
        self.encoder = encoder
        self.proposals = proposals
        self.decoder = decoder
        self.head = head
        self.charset = charset
        self.in_levels = tuple(in_levels)
        self.encode = TextEncoder(charset, max_length=max_length, too_long=too_long)
        self.target_builder = TargetBuilder(encode=self.encode, num_points=decoder.num_points)
        self.criterion = criterion or SetCriterion()
        self.threshold = threshold
        self.char_scores = char_scores
        self.matching_loss = matching_loss

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, words in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.

        Returns:
            In training the scalars of :class:`~fasttcm.projects.testr.loss.SetCriterion` and, with a matching loss,
            ``loss_match``; their sum is the total. In evaluation one :class:`TextPredictions` a sample, in pixels of
            the original image.

        Raises:
            DataError: a training sample without targets, or with a text that is too long where that is refused.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        given = annotations(samples) if self.training else []  # before the work, should there be none
        output = self.backbone(images)
        predictions = self.predict([output.features[level] for level in self.in_levels], sizes)
        if not self.training:
            return self._words(predictions, samples)
        targets = self.target_builder(given, sizes, [image_name(sample) for sample in samples], images.device)
        losses = self.criterion(predictions, targets)
        if output.text_logits is not None and self.matching_loss is not None:
            losses["loss_match"] = self.matching_loss(output.text_logits, given, sizes, tuple(images.shape[-2:]))
        return losses

    def predict(self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> TESTROutput:
        """From feature maps to what every decoder layer says (in eval mode: the last one).

        Args:
            features: (B, C_l, H_l, W_l) of ``in_levels``.
            sizes: unpadded height and width of each image in pixels.
        """
        tokens = self.projection(features, sizes)
        memory = tokens.with_tokens(self.encoder(tokens))
        proposals = self.proposals(memory)
        states = self.decoder(proposals.references, memory)
        used = states if self.training else states[-1:]
        return TESTROutput([self.head(*state, proposals.references) for state in used], proposals)

    def _words(self, output: TESTROutput, samples: Sequence[Sample]) -> list[TextPredictions]:
        words = []
        for image, sample in enumerate(samples):
            size = int(sample["height"]), int(sample["width"])
            found = select(output.layers[-1], image, threshold=self.threshold, output_size=size)
            words.append(to_predictions(found, charset=self.charset, output_size=size, char_scores=self.char_scores))
        return words
