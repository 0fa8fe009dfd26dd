"""Our evaluation as a detectron2 evaluator: the same figures as ``fasttcm eval``."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from fasttcm.charset import Charset
from fasttcm.d2.instances import instances_to_predictions
from fasttcm.data.catalog import load_dataset, resolve_dataset
from fasttcm.engine.evaluate import figures, load_lexicons, score_predictions

__all__ = ["TextEvaluator"]


class TextEvaluator(DatasetEvaluator):
    """Scores what any detectron2 model found by every protocol and lexicon of a dataset.

    Args:
        dataset_name: a registered name, or the path under which the dataset was registered.
        cfg: reads ``MODEL.TEXT.CHARSET`` (meaning of ``recs``), ``TEST.CONFIDENCE`` and ``TEST.FLAVOUR``.

    Raises:
        DataError: the dataset or one of its lexicons is missing.
    """

    def __init__(self, dataset_name: str, cfg: CfgNode) -> None:
        self.entry = resolve_dataset(dataset_name)
        self.charset = Charset.named(cfg.MODEL.TEXT.CHARSET)
        self.confidence = cfg.TEST.CONFIDENCE
        self.flavour = cfg.TEST.FLAVOUR or None
        self.dataset = load_dataset(dataset_name, charset=self.charset)
        self.lexicons = load_lexicons(self.entry, self.dataset, self.flavour)
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._predictions: dict[Any, dict[str, Any]] = {}
        self._failed: list[str] = []

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Collect ``outputs[i]["instances"]`` (our models': ``["words"]``) of ``inputs[i]``."""
        for sample, output in zip(inputs, outputs, strict=True):
            if "error" in sample:
                self._failed.append(sample["error"])
                continue
            words = output.get("words") or instances_to_predictions(output["instances"], self.charset)
            image_id = sample["image_id"]
            self._predictions[image_id] = words.to_json(image_id=image_id, file_name=str(sample.get("file_name", "")))

    def evaluate(self) -> "OrderedDict[str, dict[str, float]] | None":
        """Group (``detection``, ``end_to_end``, ``end_to_end_full``, ...) to precision, recall and hmean in [0, 1].

        Gathers the parts of all processes; every process but the first returns ``None``.
        """
        parts = comm.gather((self._predictions, self._failed))
        if not comm.is_main_process():
            return None
        predictions = {key: value for part, _ in parts for key, value in part.items()}
        failed = [line for _, part in parts for line in part]
        result = score_predictions(
            self.entry,
            self.dataset,
            predictions,
            self.lexicons,
            failed=failed,
            confidence=self.confidence,
            flavour=self.flavour,
        )
        groups: OrderedDict[str, dict[str, float]] = OrderedDict()
        for name, value in figures(result).items():
            group, _, figure = name.rpartition("/")
            groups.setdefault(group, {})[figure] = value
        return groups
