"""Score predicted words against the ground truth of a set: detection, and detection with reading (end-to-end)."""

from collections.abc import Mapping, Sequence

import numpy as np

from fasttcm.errors import DataError
from fasttcm.evaluation.flavours import Flavour, Prepared, find_flavour, prepare, read_back
from fasttcm.evaluation.lexicon import Lexicon
from fasttcm.evaluation.matching import match_greedily
from fasttcm.evaluation.polygons import Regions, coverage, intersection_areas, iou_matrix, valid_outlines
from fasttcm.evaluation.protocol import Protocol, find_protocol
from fasttcm.evaluation.records import ImageWords, Source, Word, read_images
from fasttcm.evaluation.result import Figures, ImagePass, ImageResult, Match, Result, total
from fasttcm.evaluation.text_rules import is_dont_care, is_right, reference_text

__all__ = ["score"]


def score(
    ground_truth: Source,
    predictions: Source,
    *,
    protocol: str | Protocol = "totaltext",
    flavour: str | None = None,
    lexicon: Lexicon | Mapping[str, Lexicon] | None = None,
    confidence: float | None = None,
) -> Result:
    """Score a set.

    "None" and "Full" of the papers are two calls, without and with a lexicon. A prediction that stands for no
    lexicon word is left out altogether, also of that call's detection figures (as published); quote detection from
    the call without a lexicon.

    Args:
        ground_truth: ``{"images": [{"id", "width", "height", "words": [{"points", "text"}]}]}`` or the path of such a
            JSON file; the text ``###`` marks what nobody has to find.
        predictions: the same with ``score`` per word (1 when missing). The order of the words matters: the first
            detection that overlaps enough takes the ground truth. An image left out has no detections.
        protocol: a name of ``PROTOCOLS`` or a :class:`Protocol`.
        flavour: ``None``: polygons as they are, repaired where they cross themselves, in either direction of travel,
            no threshold but ``confidence``. ``"adelaidet"`` or ``"deepsolo"``: that project's whole path.
        lexicon: one for the set, or one per image id (as text).
        confidence: predictions with a lower score are left out; ``None``: none is.

    Raises:
        DataError: for input that cannot be scored: malformed words, an id that occurs twice, predictions for an
            image without ground truth, an image without lexicon, and under a flavour of a curve protocol a
            ground-truth outline that crosses itself (the published scripts refuse it).
        ConfigError: for an unknown protocol or flavour.
    """
    rules, path = find_protocol(protocol), find_flavour(flavour)
    references = read_images(ground_truth, role="ground truth", text_required=True)
    found = read_images(predictions, role="predictions", text_required=False)
    unknown = [key for key in found if key not in references]
    if unknown:
        raise DataError(f"predictions for {len(unknown)} images that the ground truth lacks, the first is {unknown[0]}")
    if path.archives and rules.simple_polygons:
        _refuse_invalid(references)
    images: dict[str, ImageResult] = {}
    for key, image in references.items():
        words = found[key].words if key in found else []
        prepared = prepare(words, flavour=path, protocol=rules, confidence=confidence)
        if lexicon is not None:
            prepared = _replace_by_lexicon(prepared, _lexicon_of(lexicon, key))
        images[key] = _score_image(image.words, prepared, rules, path)
    return Result(
        total(image.detection.counts for image in images.values()),
        total(image.end_to_end.counts for image in images.values()),
        images,
        rules.name,
        flavour,
        lexicon is not None,
    )


def _score_image(ground_truth: Sequence[Word], prepared: Prepared, rules: Protocol, path: Flavour) -> ImageResult:
    """Both passes over one image; they share the overlaps."""
    wanted = [read_back(word.text, flavour=path, protocol=rules) for word in ground_truth]
    read = [read_back(text, flavour=path, protocol=rules) for text in prepared.texts]
    references = [reference_text(text, rules) for text in wanted]
    regions = Regions.of([word.points for word in ground_truth], repaired_areas=not path.archives)
    detected = Regions.of(prepared.polygons, repaired_areas=not path.archives)
    common = intersection_areas(regions, detected)
    iou = iou_matrix(regions, detected, common)
    covered = coverage(common, detected.areas)

    def run(end_to_end: bool) -> ImagePass:
        dont_care = np.array([is_dont_care(text, rules, end_to_end=end_to_end) for text in wanted], bool)
        matching = match_greedily(
            iou, covered, dont_care, iou_threshold=rules.iou_threshold, dont_care_overlap=rules.dont_care_overlap
        )
        right = [is_right(references[g], read[d], rules) for g, d in matching.pairs]
        counts = Figures(
            sum(right) if end_to_end else len(right),
            int((~matching.gt_dont_care).sum()),
            int((~matching.det_dont_care).sum()),
        )
        kept = prepared.kept
        pairs = zip(matching.pairs, right, strict=True)
        return ImagePass(
            counts,
            [Match(g, kept[d], float(iou[g, d]), correct) for (g, d), correct in pairs],
            np.flatnonzero(matching.gt_dont_care).tolist(),
            [kept[d] for d in np.flatnonzero(matching.det_dont_care)],
            matching.misses,
            [kept[d] for d in matching.false_alarms],
        )

    overlaps = [(int(g), prepared.kept[d], float(iou[g, d])) for g, d in zip(*iou.nonzero(), strict=True)]
    return ImageResult(run(False), run(True), references, prepared.kept, read, prepared.removed, overlaps)


def _replace_by_lexicon(prepared: Prepared, lexicon: Lexicon) -> Prepared:
    """The detections that stand for a lexicon word, with that word's spelling."""
    words = [lexicon.match(text) for text in prepared.texts]
    rows = [row for row, word in enumerate(words) if word is not None]
    foreign = [prepared.kept[row] for row, word in enumerate(words) if word is None]
    return Prepared(
        [prepared.kept[row] for row in rows],
        [prepared.polygons[row] for row in rows],
        [word for word in words if word is not None],
        {**prepared.removed, "not_in_lexicon": foreign},
    )


def _lexicon_of(lexicon: Lexicon | Mapping[str, Lexicon], key: str) -> Lexicon:
    """The lexicon of one image."""
    if isinstance(lexicon, Lexicon):
        return lexicon
    if key not in lexicon:
        raise DataError(f"no lexicon for image {key}; give one per image id or one for the whole set")
    return lexicon[key]


def _refuse_invalid(images: Mapping[str, ImageWords]) -> None:
    """Raise for the first ground truth whose outline the published scripts refuse."""
    places = [(key, i) for key, image in images.items() for i in range(len(image.words))]
    valid = valid_outlines([word.points for image in images.values() for word in image.words])
    for (key, i), good in zip(places, valid, strict=True):
        if not good:
            raise DataError(
                f"ground truth: image {key}, word {i + 1}: the outline crosses itself or has no area, which the "
                "published scripts refuse; mend it, or score without a flavour"
            )
