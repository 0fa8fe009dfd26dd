"""Published evaluation protocols on plain JSON, without a model: detection and end-to-end text spotting."""

from fasttcm.evaluation.archives import read_archive, write_archive
from fasttcm.evaluation.detection_protocol import DetectionProtocol
from fasttcm.evaluation.dota import DOTA_VERSIONS, DotaResult, score_dota
from fasttcm.evaluation.dota_merge import MERGE_RULES, merge_tiles
from fasttcm.evaluation.flavours import FLAVOURS
from fasttcm.evaluation.lexicon import LEXICON_RULES, Lexicon, LexiconRule
from fasttcm.evaluation.protocol import PROTOCOLS, Protocol
from fasttcm.evaluation.recognition import RecognitionFigures, combine, count_ocr, score_recognition
from fasttcm.evaluation.records import predictions_to_json, targets_to_json
from fasttcm.evaluation.report import results_markdown, results_table
from fasttcm.evaluation.result import Figures, ImageResult, Result
from fasttcm.evaluation.score import score

__all__ = [
    "DOTA_VERSIONS",
    "FLAVOURS",
    "LEXICON_RULES",
    "MERGE_RULES",
    "PROTOCOLS",
    "DetectionProtocol",
    "DotaResult",
    "Figures",
    "ImageResult",
    "Lexicon",
    "LexiconRule",
    "Protocol",
    "RecognitionFigures",
    "Result",
    "combine",
    "count_ocr",
    "merge_tiles",
    "predictions_to_json",
    "read_archive",
    "results_markdown",
    "results_table",
    "score",
    "score_dota",
    "score_recognition",
    "targets_to_json",
    "write_archive",
]
