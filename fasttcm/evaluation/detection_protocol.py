"""What a detection-only benchmark counts: one frozen value per published protocol (SPEC ``evaluation`` section 7)."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["DETECTION_PROTOCOLS", "Arithmetic", "DetEval", "DetectionProtocol", "GreedyIou"]

Arithmetic = Literal["valid_only", "repaired", "even_odd"]
"""How overlaps are computed, see :mod:`fasttcm.evaluation.overlaps`."""

MMOCR_SWEEP = tuple(k * 0.1 for k in range(3, 10))
"""Score thresholds that mmocr tries, as its floating-point loop makes them: 0.30000000000000004, 0.4, ..., 0.9."""


@dataclass(frozen=True)
class GreedyIou:
    """One ground truth, one detection: the first in file order whose IoU is strictly above ``threshold``."""

    threshold: float = 0.5


@dataclass(frozen=True)
class DetEval:
    """Matches of one to one, then of one ground truth to many detections, then of many to one (Wolf and Jolion 2006).

    Attributes:
        min_recall: share of a ground truth that has to be covered.
        min_precision: share of a detection that has to lie inside.
        strict: one-to-one needs shares above the bounds; otherwise reaching them is enough.
        center_distance: how the limit of one on the distance of centres, in units of the mean diagonal, is measured:
            ``"bounding_box"`` mean points and diagonals of bounding boxes, ``"quad"`` the diagonal from corner 0 to 2.
        count_partners: one-to-one needs a pair that overlaps nothing else that counts; the others at least two.
        sum_digits: decimals that the sum of shares is rounded to before it meets its bound; ``None``: not rounded.
        single_is_pair: a group of one ground truth and one detection earns 1 and 1 like any pair; otherwise it earns
            what the group rule says.
        split: what a ground truth found in k pieces adds to (recall, precision): ``"linear"`` (0.8, 0.8 k),
            ``"logarithmic"`` (1, k / (1 + ln k)).
        merge: what a detection that holds k ground truths adds: ``"linear"`` (k, 1),
            ``"logarithmic"`` (k / (1 + ln k), 1).
    """

    min_recall: float = 0.8
    min_precision: float = 0.4
    strict: bool = False
    center_distance: Literal["bounding_box", "quad"] = "bounding_box"
    count_partners: bool = False
    sum_digits: int | None = 4
    single_is_pair: bool = True
    split: Literal["linear", "logarithmic"] = "linear"
    merge: Literal["linear", "logarithmic"] = "linear"


@dataclass(frozen=True)
class DetectionProtocol:
    """The rules of one benchmark that looks at places only.

    Attributes:
        name: key in ``PROTOCOLS``.
        matching: who finds whom.
        arithmetic: of overlaps, see :mod:`fasttcm.evaluation.overlaps`: ``"valid_only"`` (outlines that cross
            themselves are left out on both sides), ``"repaired"``, or ``"even_odd"``.
        dont_care_overlap: a detection is not counted when more than this share of it lies in one don't-care area.
        dont_care_text: transcription of an area that nobody has to find.
        fewest_points: predictions with fewer points are left out, ground truths with fewer are an error.
        most_points: outlines with more points are an error; ``None``: no limit.
        whole_pixels: coordinates lose their fractions, and detections whose net direction of travel is
            counter-clockwise as seen are left out, because the script refuses them.
        sweep: score thresholds that are tried; the best harmonic mean is the result, the lowest threshold among
            equals. Empty: no sweep, a detection needs the confidence asked for.
        sweep_floor: with a sweep, the confidence when none is asked for: a score has to exceed it.
        ranked: detections are taken by falling score and an average precision is reported.
        vacuous: with no ground truth that counts, the recall of the set is 1, and its precision 1 or 0 as nothing
            or something was found.
        empty_image: figures of an image in which nothing counts or nothing is found: ``"counts"`` as they follow from
            the counts, ``"deteval"`` as DB's DetEval classes have them.
    """

    name: str
    matching: GreedyIou | DetEval
    arithmetic: Arithmetic = "valid_only"
    dont_care_overlap: float = 0.5
    dont_care_text: str = "###"
    fewest_points: int = 3
    most_points: int | None = None
    whole_pixels: bool = False
    sweep: tuple[float, ...] = ()
    sweep_floor: float = 0.3
    ranked: bool = False
    vacuous: bool = False
    empty_image: Literal["counts", "deteval"] = "counts"


DETECTION_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        DetectionProtocol("db", GreedyIou()),
        DetectionProtocol("db_deteval", DetEval(count_partners=True), dont_care_overlap=0.4, empty_image="deteval"),
        DetectionProtocol("db_icdar2013", DetEval(), dont_care_overlap=0.4, empty_image="deteval"),
        DetectionProtocol(
            "db_mtwi2018",
            DetEval(min_recall=0.7, min_precision=0.7, split="logarithmic", merge="logarithmic"),
            empty_image="deteval",
        ),
        DetectionProtocol("db_script", GreedyIou(), "even_odd", whole_pixels=True),
        DetectionProtocol("db_script_ranked", GreedyIou(), "even_odd", whole_pixels=True, ranked=True),
        DetectionProtocol("mmocr", GreedyIou(), "repaired", fewest_points=4, sweep=MMOCR_SWEEP, vacuous=True),
        DetectionProtocol(
            "mmocr_ic13",
            DetEval(strict=True, center_distance="quad", sum_digits=None, single_is_pair=False),
            "repaired",
            dont_care_overlap=0.4,
            fewest_points=4,
            most_points=4,
            sweep=MMOCR_SWEEP,
            vacuous=True,
        ),
    )
}
"""The published protocols by name: ``db*`` of MhLiao/DB (``db_script`` is its copy of the ICDAR 2015 script, which
``db_script_ranked`` runs with confidences), ``mmocr`` is hmean-iou and ``mmocr_ic13`` hmean-ic13."""
