"""Published evaluation protocols on plain JSON, without a model: detection and end-to-end text spotting."""

from fasttcm.evaluation.flavours import FLAVOURS
from fasttcm.evaluation.lexicon import Lexicon
from fasttcm.evaluation.protocol import PROTOCOLS, Protocol
from fasttcm.evaluation.records import predictions_to_json, targets_to_json
from fasttcm.evaluation.report import results_markdown, results_table
from fasttcm.evaluation.result import Figures, ImageResult, Result
from fasttcm.evaluation.score import score

__all__ = [
    "FLAVOURS",
    "PROTOCOLS",
    "Figures",
    "ImageResult",
    "Lexicon",
    "Protocol",
    "Result",
    "predictions_to_json",
    "results_markdown",
    "results_table",
    "score",
    "targets_to_json",
]
