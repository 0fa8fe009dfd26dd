"""DeepSolo: let a transformer decoder with explicit points solo for text spotting (Ye et al., CVPR 2023)."""

from typing import Any

from fasttcm.layers.query_spotter import QuerySpotter
from fasttcm.projects.deepsolo.decoder import PointDecoder, PointHeads, PointStates
from fasttcm.projects.deepsolo.loss import SetCriterion
from fasttcm.projects.deepsolo.output import DeepSoloOutput, Proposals
from fasttcm.projects.deepsolo.postprocess import select, to_predictions
from fasttcm.projects.deepsolo.targets import TargetBuilder
from fasttcm.structures import TextPredictions

__all__ = ["DeepSolo"]


class DeepSolo(QuerySpotter):
    """Proposals as curves, and one decoder that finds and reads; the last class of the charset is the blank of CTC.

    Args:
        decoder: refines the points of the proposals.
        heads: predictions at every point.
        criterion: matching and losses.
        threshold: least score of a word.
        shared: see :class:`~fasttcm.layers.query_spotter.QuerySpotter`.
    """

    def __init__(
        self,
        *,
        decoder: PointDecoder,
        heads: PointHeads,
        criterion: SetCriterion | None = None,
        threshold: float = 0.4,
        **shared: Any,
    ) -> None:
        super().__init__(
            decoder=decoder,
            criterion=criterion or SetCriterion(),
            make_targets=lambda encode: TargetBuilder(num_points=decoder.num_points, encode=encode),
            threshold=threshold,
            **shared,
        )
        self.heads = heads

    def interpret(self, states: list[PointStates], proposals: Proposals) -> DeepSoloOutput:
        """Every point of every state."""
        return DeepSoloOutput([self.heads(state) for state in states], proposals)

    def words(self, output: DeepSoloOutput, image: int, size: tuple[int, int]) -> TextPredictions:
        """The queries of one image that are text, read."""
        found = select(output.layers[-1], image, threshold=self.threshold, output_size=size)
        return to_predictions(found, charset=self.charset, output_size=size)
