"""Score predicted words against the ground truth of a set: detection, and detection with reading (end-to-end)."""

from collections.abc import Mapping, Sequence

import numpy as np

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.detection_protocol import DetectionProtocol
from fasttcm.evaluation.detection_score import score_places
from fasttcm.evaluation.flavours import Flavour, Prepared, find_flavour, prepare, read_back
from fasttcm.evaluation.formats import align_ids, as_document
from fasttcm.evaluation.lexicon import Lexicon
from fasttcm.evaluation.matching import match_greedily
from fasttcm.evaluation.polygons import Regions, coverage, intersection_areas, iou_matrix, valid_outlines
from fasttcm.evaluation.protocol import Protocol, find_rules
from fasttcm.evaluation.records import ImageWords, Source, Word, read_images
from fasttcm.evaluation.result import Figures, ImagePass, ImageResult, Match, Result, total
from fasttcm.evaluation.text_rules import is_dont_care, is_right, reference_text

__all__ = ["score"]


def score(
    ground_truth: Source,
    predictions: Source,
    *,
    protocol: str | Protocol | DetectionProtocol = "totaltext",
    flavour: str | None = None,
    lexicon: Lexicon | Mapping[str, Lexicon] | None = None,
    confidence: float | None = None,
) -> Result:
    """Score a set.

    "None" and "Full" of the papers are two calls, without and with a lexicon. A prediction that stands for no
    lexicon word is left out altogether, also of that call's detection figures (as published); quote detection from
    the call without a lexicon.

    Args:
        ground_truth: ``{"images": [{"id", "width", "height", "words": [{"points", "text"}]}]}`` or a path,
            see :mod:`fasttcm.evaluation.formats`; the text ``###`` marks what nobody has to find.
        predictions: the same with ``score`` per word (1 when missing). The order of the words matters: the first
            detection that overlaps enough takes the ground truth. An image left out has no detections.
        protocol: a name of ``PROTOCOLS`` or such a value. Under a detection-only protocol (``db*``, ``mmocr*``) texts
            only mark what nobody has to find, and the result has no end-to-end figures.
        flavour: ``None``: polygons as they are, repaired where they cross themselves, in either direction of travel,
            no threshold but ``confidence``. ``"adelaidet"``, ``"deepsolo"`` or ``"testr"``: that project's whole
            path. ``"script"``: the published script on words that stand in finished archives.
        lexicon: one for the set, or one per image id (as text); its rule, or else that of the flavour, decides how
            far a word may be.
        confidence: predictions with a lower score are left out; ``None``: none is.

    Raises:
        DataError: for input that cannot be scored: malformed words, an id that occurs twice, predictions for an
            image without ground truth, an image without lexicon, and under a flavour of a curve protocol a
            ground-truth outline that crosses itself, or of ICDAR 2015 an empty transcription that was found with
            another text (the published scripts end there).
        ConfigError: for an unknown protocol or flavour, or a flavour or lexicon with a detection-only protocol.
    """
    chosen = find_rules(protocol)
    if isinstance(chosen, DetectionProtocol):
        _refuse_texts(chosen, flavour=flavour, lexicon=lexicon)
        return score_places(*_read_both(ground_truth, predictions), rules=chosen, confidence=confidence)
    path = find_flavour(flavour)
    rules = path.rules(chosen)
    references, found = _read_both(ground_truth, predictions)
    if path.script and rules.simple_polygons:
        _refuse_invalid(references, role="ground truth")
        if not path.archives:
            _refuse_invalid(found, role="predictions")
    prepared: list[Prepared] = []
    for key, image in references.items():
        answer = found.get(key, ImageWords(image.id, []))
        size = answer.size or image.size
        table = None if lexicon is None else _lexicon_of(lexicon, key)
        prepared.append(
            prepare(answer.words, flavour=path, protocol=rules, confidence=confidence, lexicon=table, size=size)
        )
    outlines = ([word.points for word in image.words] for image in references.values())
    sides = zip(
        references.items(),
        prepared,
        Regions.of_groups(outlines, repaired_areas=not path.script),
        Regions.of_groups((one.polygons for one in prepared), repaired_areas=not path.script),
        strict=True,
    )
    images = {
        key: _score_image(image.words, one, regions, detected, rules=rules, path=path)
        for (key, image), one, regions, detected in sides
    }
    return Result(
        total(image.detection.counts for image in images.values()),
        total(image.end_to_end.counts for image in images.values() if image.end_to_end is not None),
        images,
        rules.name,
        flavour,
        lexicon is not None,
    )


def _read_both(ground_truth: Source, predictions: Source) -> tuple[dict[str, ImageWords], dict[str, ImageWords]]:
    """Both documents; DataError when predictions name an image that the ground truth lacks."""
    truth = as_document(ground_truth, role="ground truth")
    references = read_images(truth, role="ground truth", text_required=True)
    answers = align_ids(truth, as_document(predictions, role="predictions"))
    found = read_images(answers, role="predictions", text_required=False)
    unknown = [key for key in found if key not in references]
    if unknown:
        raise DataError(f"predictions for {len(unknown)} images that the ground truth lacks, the first is {unknown[0]}")
    return references, found


def _refuse_texts(rules: DetectionProtocol, **given: object) -> None:
    """Raise when something is asked for that only concerns transcriptions."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"protocol {rules.name!r} compares places only and takes no {name}; leave it out")


def _score_image(
    ground_truth: Sequence[Word],
    prepared: Prepared,
    regions: Regions,
    detected: Regions,
    *,
    rules: Protocol,
    path: Flavour,
) -> ImageResult:
    """Both passes over one image; they share the overlaps."""
    wanted = [read_back(word.text, flavour=path, protocol=rules) for word in ground_truth]
    read = [read_back(text, flavour=path, protocol=rules) for text in prepared.texts]
    references = [reference_text(text, rules) for text in wanted]
    common = intersection_areas(regions, detected)
    iou = iou_matrix(regions, detected, common)
    covered = coverage(common, detected.areas)

    def run(end_to_end: bool) -> ImagePass:
        dont_care = np.array([is_dont_care(text, rules, end_to_end=end_to_end) for text in wanted], bool)
        matching = match_greedily(
            iou, covered, dont_care, iou_threshold=rules.iou_threshold, dont_care_overlap=rules.dont_care_overlap
        )
        right = [is_right(references[g], read[d], rules) for g, d in matching.pairs]
        if end_to_end and path.script and not (rules.empty_texts or rules.word_spotting):
            _refuse_empty([references[g] for (g, _), good in zip(matching.pairs, right, strict=True) if not good])
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


def _refuse_empty(references: Sequence[str]) -> None:
    """Raise when one of the ground-truth texts that were misread is empty: the published script ends there."""
    if "" in references:
        raise DataError(
            "ground truth: an empty transcription was found with another text, which the published script cannot "
            "compare; write ### for words that cannot be read, or score without a flavour"
        )


def _lexicon_of(lexicon: Lexicon | Mapping[str, Lexicon], key: str) -> Lexicon:
    """The lexicon of one image."""
    if isinstance(lexicon, Lexicon):
        return lexicon
    if key not in lexicon:
        raise DataError(f"no lexicon for image {key}; give one per image id or one for the whole set")
    return lexicon[key]


def _refuse_invalid(images: Mapping[str, ImageWords], *, role: str) -> None:
    """Raise for the first word whose outline the published scripts refuse."""
    places = [(key, i) for key, image in images.items() for i in range(len(image.words))]
    valid = valid_outlines([word.points for image in images.values() for word in image.words])
    for (key, i), good in zip(places, valid, strict=True):
        if not good:
            raise DataError(
                f"{role}: image {key}, word {i + 1}: the outline crosses itself or has no area, which the "
                "published scripts refuse; mend it, or score without a flavour"
            )
