"""Average precision of the ICDAR 2015 script with confidences (SPEC ``evaluation`` section 4)."""

import numpy as np
import numpy.typing as npt

__all__ = ["ranked_precision"]


def ranked_precision(scores: npt.NDArray[np.floating], hits: npt.NDArray[np.bool_], ground_truth: int) -> float:
    """Sum, over the hits by falling score, of hits so far per rank, divided by what had to be found.

    Args:
        scores: (m,) of the detections that count; among equal ones the order given is kept.
        hits: (m,) whether each found a ground truth.
        ground_truth: ground truths that count.

    Returns:
        In [0, 1]; 0 when nothing had to be found.
    """
    if not ground_truth:
        return 0.0
    ranks = np.flatnonzero(hits[np.argsort(-scores, kind="stable")]) + 1
    return float(np.sum(np.arange(1, len(ranks) + 1) / ranks)) / ground_truth
