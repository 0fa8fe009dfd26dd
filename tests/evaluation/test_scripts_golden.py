"""The published scripts on small archives, errors included, and their helper functions."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from reference import golden_root

from fasttcm.charset import Charset, collapse_ctc, decode_ctc_adelaidet
from fasttcm.errors import DataError
from fasttcm.evaluation import PROTOCOLS, score
from fasttcm.evaluation.archives import read_archive, write_archive
from fasttcm.evaluation.rotated_box import polygon_to_box

pytestmark = pytest.mark.golden

PROTOCOL_OF = {"ic15": "icdar2015"}
CONFIDENCE_OF = {"adelaidet": 0.3, "testr": 0.3, "deepsolo": None}

LISTED_DETECTIONS = 100
"""The scripts leave out the overlaps of an image with more."""


def load(name):
    path = golden_root() / "evaluation" / f"{name}.golden.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def runs(layout):
    return [
        pytest.param(run, id=f"evaluation-{layout}-{number}-{run['title']}")
        for number, run in enumerate(load("scripts").get(layout, []))
    ]


def pack(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def unpack(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode("utf-8") for name in archive.namelist()}


def outcome(folder, run, layout, **options):
    """What the strict rules make of the two archives."""
    protocol = replace(PROTOCOLS[{"curve": "custom"}.get(layout, layout)], word_spotting=run["word_spotting"])
    sides = [
        read_archive(pack(folder / f"{side}.zip", run[side]), role=role, layout=layout, **options)
        for side, role in (("gt", "ground truth"), ("det", "predictions"))
    ]
    return score(*sides, protocol=protocol, flavour="script")


def assert_outcome(result, expected):
    for figures, wanted in ((result.detection, expected["det"]), (result.end_to_end, expected["e2e"])):
        assert_figures(figures, wanted)
    assert set(result.images) == set(expected["images"])
    for key, wanted in expected["images"].items():
        image = result.images[key]
        assert_figures(image.end_to_end, wanted)
        assert image.end_to_end.gt_dont_care == wanted["gt_dont_care"]
        assert image.end_to_end.det_dont_care == wanted["det_dont_care"]
        assert image.references == wanted["gt_text"]
        if len(image.kept) <= LISTED_DETECTIONS:
            overlaps = [overlap for overlap in image.overlaps if overlap[2] > 1e-9]
            assert [list(overlap[:2]) for overlap in overlaps] == [pair[:2] for pair in wanted.get("iou", [])]
            wanted_iou = [float(pair[2]) for pair in wanted.get("iou", [])]
            np.testing.assert_allclose([overlap[2] for overlap in overlaps], wanted_iou, rtol=0, atol=1e-12)
        if "pairs" in wanted:
            pairs = {(match.gt, match.det, match.text_correct) for match in image.end_to_end.matches}
            assert pairs == {tuple(pair) for pair in wanted["pairs"]}


def assert_figures(figures, wanted):
    for name in ("precision", "recall", "hmean"):
        assert getattr(figures, name) == pytest.approx(float(wanted[name]), abs=1e-12), name


@pytest.mark.parametrize("run", runs("curve"))
def test_evaluation_curve_script_strictly(tmp_path, run):
    check_strictly(tmp_path, run, "curve", run["outcome"])


@pytest.mark.parametrize("run", runs("icdar2015"))
def test_evaluation_icdar2015_script_strictly(tmp_path, run):
    check_strictly(tmp_path, run, "icdar2015", run["outcome"])


@pytest.mark.parametrize("run", runs("icdar2015"))
def test_evaluation_icdar2015_script_of_tcm(tmp_path, run):
    check_strictly(tmp_path, run, "icdar2015", run.get("outcome_tcm", run["outcome"]), sort_anticlockwise=True)


def check_strictly(folder, run, layout, expected, **options):
    if "e2e" in expected:
        assert_outcome(outcome(folder, run, layout, strict=True, **options), expected)
        return
    with pytest.raises(DataError) as caught:
        outcome(folder, run, layout, strict=True, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "run"),
    [pytest.param(layout, *run.values, id=run.id) for layout in ("curve", "icdar2015") for run in runs(layout)],
)
def test_evaluation_scripts_repaired(tmp_path, layout, run):
    """Without strict rules, what the script can score has the same figures, and nothing had to be put right."""
    expected = run["outcome"]
    if "e2e" in expected:
        result = outcome(tmp_path, run, layout)
        assert_outcome(result, expected)
        assert read_archive(tmp_path / "gt.zip", role="ground truth", layout=layout)["repairs"] == []
        assert read_archive(tmp_path / "det.zip", role="predictions", layout=layout)["repairs"] == []


def awkward():
    return load("scripts").get("awkward_predictions", {"files": {}})


@pytest.mark.parametrize("name", list(awkward()["files"]), ids="evaluation-{}".format)
def test_evaluation_awkward_predictions_become_the_published_archive(tmp_path, name):
    flavour, dataset = name.split("/")
    wanted = awkward()["files"][name]
    (image_id,) = {int("".join(filter(str.isdigit, file))) for file in wanted}
    protocol = PROTOCOL_OF.get(dataset, dataset)
    options = {"protocol": protocol, "flavour": flavour, "confidence": CONFIDENCE_OF[flavour]}
    predictions = {"images": [{"id": image_id, "words": awkward()["predictions"]}]}
    removed = write_archive(tmp_path / "det.zip", predictions, **options)
    assert unpack(tmp_path / "det.zip") == wanted
    lines = sum(content.count("\n") for content in wanted.values())
    assert lines + sum(map(len, removed[str(image_id)].values())) == len(awkward()["predictions"])


def spotting_archives():
    return [
        pytest.param(flavour, run, id=f"evaluation-{flavour}-{run['dataset_name']}-{number}")
        for flavour, flavour_runs in load("text.spotting").items()
        for number, run in enumerate(flavour_runs)
        if "none_files" in run
    ]


@pytest.mark.parametrize(("flavour", "run"), spotting_archives())
def test_evaluation_archives_are_the_published_ones(tmp_path, flavour, run):
    cases = json.loads((golden_root() / "evaluation" / "text.cases.json").read_text(encoding="utf-8"))
    images = cases["datasets"][run["cases"]]["images"]
    predictions = {"images": [{"id": image["id"], "words": image["pred"]} for image in images]}
    protocol = PROTOCOL_OF.get(run["dataset_name"], run["dataset_name"])
    write_archive(tmp_path / "det.zip", predictions, protocol=protocol, flavour=flavour, confidence=run["confidence"])
    assert unpack(tmp_path / "det.zip") == run["none_files"]
    again = read_archive(tmp_path / "det.zip", role="predictions")
    assert {str(image["id"]) for image in again["images"]} <= {str(image["id"]) for image in images}


def test_evaluation_polygon_to_box():
    for polygon, height, width, corners in load("functions")["polygon2rbox"]:
        assert polygon_to_box(np.array(polygon, float), (height, width)).tolist() == corners


def test_evaluation_decoders():
    ascii_set, lower = Charset.named("ascii"), Charset.named("lower36")
    for case in load("functions")["decode"]:
        codes = case["codes"]
        assert ascii_set.decode(codes) == case["adelaidet_decode"]
        assert decode_ctc_adelaidet(codes, ascii_set) == case["adelaidet_ctc"]
        for charset, name in ((lower, "deepsolo_ctc_37"), (ascii_set, "deepsolo_ctc_96")):
            blank = charset.unknown
            assert charset.decode(collapse_ctc([min(code, blank) for code in codes], blank)) == case[name]
