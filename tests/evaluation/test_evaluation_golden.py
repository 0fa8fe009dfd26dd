"""Figures of the published scripts, equal and not merely close."""

import json

import numpy as np
import pytest
from reference import golden_root

from fasttcm.evaluation import Lexicon, score
from fasttcm.evaluation.polygons import Regions, intersection_areas, iou_matrix
from fasttcm.geometry import sample_sides

pytestmark = pytest.mark.golden

PROTOCOL_OF = {"ic15": "icdar2015"}
AWKWARD_CONFIDENCE = {"adelaidet": 0.3, "deepsolo": None}
LEXICON_OF = {1: "icdar2015_generic", 2: "icdar2015_weak", 3: "icdar2015_strong"}


def load(name):
    return json.loads((golden_root() / "evaluation" / f"{name}.json").read_text(encoding="utf-8"))


def spotting_runs():
    path = golden_root() / "evaluation" / "text.spotting.golden.json"
    if not path.is_file():
        return []
    figures = load("text.spotting.golden")
    return [
        pytest.param(flavour, run, id=f"evaluation-{flavour}-{run['dataset_name']}-{run['lexicon_type']}-{number}")
        for flavour, runs in figures.items()
        for number, run in enumerate(runs)
    ]


@pytest.fixture(scope="module")
def cases():
    return load("text.cases")


def make_lexicon(entry):
    return Lexicon.from_pairs(entry["words"], entry["pairs"]) if "pairs" in entry else Lexicon(entry["words"])


def lexicon_for(cases, run):
    if run["cases"] != "icdar2015":
        return make_lexicon(cases["lexicons"][f"{run['cases']}_full"])
    entry = cases["lexicons"][LEXICON_OF[run["lexicon_type"]]]
    return make_lexicon(entry) if "words" in entry else {key: make_lexicon(one) for key, one in entry.items()}


def documents(images):
    return tuple({"images": [{"id": image["id"], "words": image[side]} for image in images]} for side in ("gt", "pred"))


def assert_figures(actual, expected):
    for name in ("precision", "recall", "hmean"):
        assert getattr(actual, name) == pytest.approx(float(expected[name]), abs=1e-12), name


@pytest.mark.parametrize(("flavour", "run"), spotting_runs())
def test_evaluation_spotting_figures(cases, flavour, run):
    ground_truth, predictions = documents(cases["datasets"][run["cases"]]["images"])
    protocol = PROTOCOL_OF.get(run["dataset_name"], run["dataset_name"])
    for archive, lexicon in (("none", None), ("lexicon", lexicon_for(cases, run))):
        result = score(
            ground_truth, predictions, protocol=protocol, flavour=flavour, lexicon=lexicon, confidence=run["confidence"]
        )
        assert_figures(result.detection, run[archive]["det"])
        assert_figures(result.end_to_end, run[archive]["e2e"])
        assert sum(len(image.removed["invalid_polygon"]) for image in result.images.values()) == run["invalid_removed"]
        for key, image in run[archive].get("images", {}).items():
            assert_image(result.images[str(int(key))], image)
        if archive == "none":
            for file, content in run.get("none_files", {}).items():
                assert result.images[image_key(file)].read == archived_texts(content, run["cases"])
        if archive == "lexicon":
            for file, texts in run["lexicon_texts"].items():
                assert result.images[image_key(file)].read == texts


def image_key(file):
    return str(int("".join(c for c in file if c.isdigit())))


def archived_texts(content, cases):
    lines = content.rstrip("\n").split("\n") if content else []
    if cases == "icdar2015":
        return [line.split(",", 8)[8] for line in lines]
    return [line.split(",####")[1].strip() for line in lines]


def assert_image(image, expected):
    end_to_end = image.end_to_end
    assert_figures(end_to_end, expected)
    assert end_to_end.gt_dont_care == expected["gt_dont_care"]
    assert [image.kept.index(d) for d in end_to_end.det_dont_care] == expected["det_dont_care"]
    assert image.references == expected["gt_text"]
    overlaps = [(g, image.kept.index(d), iou) for g, d, iou in image.overlaps if iou > 1e-9]
    assert [pair[:2] for pair in overlaps] == [tuple(pair[:2]) for pair in expected.get("iou", [])]
    wanted = [pair[2] for pair in expected.get("iou", [])]
    np.testing.assert_allclose([pair[2] for pair in overlaps], wanted, rtol=0, atol=1e-12)
    if "pairs" in expected:
        matches = {(m.gt, image.kept.index(m.det), m.text_correct) for m in end_to_end.matches}
        assert matches == {tuple(pair) for pair in expected["pairs"]}


def test_evaluation_polygon_arithmetic():
    for pair in load("functions.golden")["gpc"]:
        first, second = Regions.of([np.array(pair["a"])]), Regions.of([np.array(pair["b"])])
        actual = [first.areas[0], second.areas[0], intersection_areas(first, second)[0, 0]]
        expected = [float(pair[name]) for name in ("area_a", "area_b", "intersection")]
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-11)
        assert iou_matrix(first, second)[0, 0] == pytest.approx(float(pair["iou"]), abs=1e-11)


def test_evaluation_bezier_to_polygon():
    for control, polygon in load("functions.golden")["bezier_to_polygon"]:
        np.testing.assert_allclose(sample_sides(np.array(control)), polygon, rtol=0, atol=1e-9)


def curve_archive(files):
    """What the curve script reads from archive members; keys are the digits of their names."""
    images = []
    for name, content in files.items():
        if not name[:-4].isdigit():
            continue
        words = []
        for line in filter(None, content.replace("\r", "").split("\n")):
            numbers, text = line.strip().split(",####")[:2]
            text = text.strip()
            if len(text) > 1 and text[0] == text[-1] == '"':
                text = text[1:-1].replace("\\\\", "\\").replace('\\"', '"')
            words.append({"points": np.array(numbers.split(","), float).reshape(-1, 2).tolist(), "text": text})
        images.append({"id": name[:-4], "words": words})
    return {"images": images}


def curve_cases():
    path = golden_root() / "evaluation" / "scripts.golden.json"
    runs = load("scripts.golden")["curve"] if path.is_file() else []
    scored = [run for run in runs if "e2e" in run["outcome"]]
    return [pytest.param(run, id=f"evaluation-{number}-{run['title']}") for number, run in enumerate(scored)]


@pytest.mark.parametrize("run", curve_cases())
def test_evaluation_curve_script(run):
    protocol = "totaltext" if run["word_spotting"] else "custom"
    result = score(curve_archive(run["gt"]), curve_archive(run["det"]), protocol=protocol)
    assert_figures(result.detection, run["outcome"]["det"])
    assert_figures(result.end_to_end, run["outcome"]["e2e"])
    for key, image in run["outcome"]["images"].items():
        assert_figures(result.images[key].end_to_end, image)
        assert result.images[key].end_to_end.gt_dont_care == image["gt_dont_care"]
        assert result.images[key].end_to_end.det_dont_care == image["det_dont_care"]
        assert result.images[key].references == image["gt_text"]


@pytest.mark.parametrize("dataset", ["totaltext", "ctw1500", "icdar2015"])
@pytest.mark.parametrize("flavour", ["adelaidet", "deepsolo"])
def test_evaluation_awkward_predictions(flavour, dataset):
    awkward = load("scripts.golden")["awkward_predictions"]
    name = "ic15" if (flavour, dataset) == ("deepsolo", "icdar2015") else dataset
    (content,) = awkward["files"][f"{flavour}/{name}"].values()
    documents = {"images": [{"id": 7, "words": awkward["predictions"]}]}
    result = score(
        {"images": [{"id": 7, "words": []}]},
        documents,
        protocol=dataset,
        flavour=flavour,
        confidence=AWKWARD_CONFIDENCE[flavour],
    )
    assert result.images["7"].read == archived_texts(content, dataset)
