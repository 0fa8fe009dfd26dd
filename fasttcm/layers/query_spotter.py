"""What DeepSolo and TESTR do alike: tokens, an encoder, its best tokens as proposals, a decoder that looks there."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from fasttcm.charset import Charset, TextEncoder, TooLong
from fasttcm.layers.annotations import annotations, image_name
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.deformable_encoder import DeformableEncoder
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.multi_scale import MultiScaleProjection
from fasttcm.structures import Sample, TextPredictions

__all__ = ["QuerySpotter"]


class QuerySpotter(nn.Module):
    """From samples to losses or words; a head says what its decoder's states mean (:meth:`interpret`, :meth:`words`).

    Args:
        backbone: any backbone that has ``in_levels``.
        batcher: normalises and pads.
        projection: feature maps to tokens.
        encoder: lets the tokens look around.
        proposals: tokens to proposals; what it returns has ``references``, where the decoder looks.
        decoder: (references, tokens) to one state a layer.
        charset: character classes.
        criterion: (what :meth:`interpret` returns, targets) to losses.
        make_targets: given :attr:`encode`, the function from one image's annotations, unpadded size, name and device
            to the head's targets.
        threshold: least score of a word.
        in_levels: feature maps of the projection, finest first.
        max_length: longest text in characters.
        too_long: what to do with longer texts in training; see :class:`~fasttcm.charset.TextEncoder`.
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
        proposals: nn.Module,
        decoder: nn.Module,
        charset: Charset,
        criterion: Callable[..., dict[str, Tensor]],
        make_targets: Callable[[TextEncoder], Callable[..., Any]],
        threshold: float,
        in_levels: Sequence[str] = ("res3", "res4", "res5"),
        max_length: int = 25,
        too_long: TooLong = "cut",
        matching_loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.batcher = batcher
        self.projection = projection
        self.encoder = encoder
        self.proposals = proposals
        self.decoder = decoder
        self.charset = charset
        self.criterion = criterion
        self.encode = TextEncoder(charset, max_length=max_length, too_long=too_long)
        self.target_builder = make_targets(self.encode)
        self.threshold = threshold
        self.in_levels = tuple(in_levels)
        self.matching_loss = matching_loss

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[TextPredictions]:
        """Losses in train mode, words in eval mode.

        Args:
            samples: each with ``image`` (3, H, W) RGB 0..255; in training ``targets`` in pixels of that image; in
                evaluation ``height`` and ``width`` of the original image in pixels.

        Returns:
            In training the scalars of the head's criterion and, with a matching loss, ``loss_match``; their sum is the
            total. In evaluation one :class:`TextPredictions` a sample, in pixels of the original image.

        Raises:
            DataError: a training sample without targets, or with a text that is too long where that is refused.
        """
        images, sizes = self.batcher([sample["image"] for sample in samples])
        given = annotations(samples) if self.training else []  # before the work, should there be none
        output = self.backbone(images)
        predictions = self.predict([output.features[level] for level in self.in_levels], sizes)
        if not self.training:
            wanted = [(int(sample["height"]), int(sample["width"])) for sample in samples]
            return [self.words(predictions, image, size) for image, size in enumerate(wanted)]
        annotated = zip(given, sizes, map(image_name, samples), strict=True)
        targets = [self.target_builder(*image, images.device) for image in annotated]
        losses = self.criterion(predictions, targets)
        if output.text_logits is not None and self.matching_loss is not None:
            losses["loss_match"] = self.matching_loss(output.text_logits, given, sizes, tuple(images.shape[-2:]))
        return losses

    def predict(self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> Any:
        """From feature maps to what every decoder layer says (in eval mode: the last one).

        Args:
            features: (B, C_l, H_l, W_l) of ``in_levels``.
            sizes: unpadded height and width of each image in pixels.
        """
        tokens = self.projection(features, sizes)
        memory = tokens.with_tokens(self.encoder(tokens))
        proposals = self.proposals(memory)
        states = self.decoder(proposals.references, memory)
        return self.interpret(states if self.training else states[-1:], proposals)

    def interpret(self, states: list[Any], proposals: Any) -> Any:
        """What the states of some decoder layers, and the proposals, say about a batch."""
        raise NotImplementedError

    def words(self, output: Any, image: int, size: tuple[int, int]) -> TextPredictions:
        """The words of one image of a batch; ``size`` is the original's height and width."""
        raise NotImplementedError
