"""TESTR: boxes from a transformer encoder, outlines and characters from two decoders (Zhang et al., CVPR 2022)."""

from typing import Any

from torch import Tensor, nn

from fasttcm.layers.mlp import MLP, logit
from fasttcm.layers.query_spotter import QuerySpotter
from fasttcm.projects.testr.decoder import DualDecoder
from fasttcm.projects.testr.loss import SetCriterion
from fasttcm.projects.testr.output import LayerOutput, Proposals, TESTROutput
from fasttcm.projects.testr.postprocess import select, to_predictions
from fasttcm.projects.testr.proposals import prior_bias_
from fasttcm.projects.testr.targets import TargetBuilder
from fasttcm.structures import TextPredictions

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


class TESTR(QuerySpotter):
    """Proposals as boxes, and two decoders, one for outlines and one for characters.

    Args:
        decoder: outline and character states of every box.
        head: states to predictions.
        criterion: matching and losses.
        threshold: least score of a word.
        char_scores: whether predictions keep the probabilities of every character.
        shared: see :class:`~fasttcm.layers.query_spotter.QuerySpotter`.
    """

    def __init__(
        self,
        *,
        decoder: DualDecoder,
        head: PredictionHead,
        criterion: SetCriterion | None = None,
        threshold: float = 0.45,
        char_scores: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(
            decoder=decoder,
            criterion=criterion or SetCriterion(),
            make_targets=lambda encode: TargetBuilder(encode=encode, num_points=decoder.num_points),
            threshold=threshold,
            **shared,
        )
        self.head = head
        self.char_scores = char_scores

    def interpret(self, states: list[tuple[Tensor, Tensor]], proposals: Proposals) -> TESTROutput:
        """Outline and characters of every box."""
        return TESTROutput([self.head(*state, proposals.references) for state in states], proposals)

    def words(self, output: TESTROutput, image: int, size: tuple[int, int]) -> TextPredictions:
        """The boxes of one image that are text, read."""
        found = select(output.layers[-1], image, threshold=self.threshold, output_size=size)
        return to_predictions(found, charset=self.charset, output_size=size, char_scores=self.char_scores)
