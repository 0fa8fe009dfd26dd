"""DOTA task 1: figures of the published scripts, rules in small, and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from reference import golden_root

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.dota import DOTA_VERSIONS, average_precision, score_dota
from fasttcm.evaluation.dota_files import (
    Annotations,
    Detections,
    GroundTruth,
    read_dota_ground_truth,
    read_task1,
    task1_lines,
    write_task1,
)
from fasttcm.evaluation.dota_json import dota_detections_from_json, dota_ground_truth_from_json
from fasttcm.evaluation.dota_merge import MERGE_RULES, MergeRule, Tile, merge_tiles, parse_tile_name, suppress

METRICS = {True: "voc07", False: "area"}
RULE_OF = {f"{rule.threshold}": name for name, rule in MERGE_RULES.items()}


def load(name):
    return json.loads((golden_root() / "evaluation" / f"{name}.json").read_text(encoding="utf-8"))


def detections_of(rows):
    return Detections(
        [row[0] for row in rows],
        np.array([row[2] for row in rows], float).reshape(-1, 4, 2),
        np.array([row[1] for row in rows], float),
    )


def write_cases(folder, cases):
    """The cases as the files that the published scripts read, headers included."""
    (folder / "labels").mkdir()
    for image in cases["images"]:
        lines = ["imagesource:GoogleEarth", "gsd:0.15"]
        for entry in image["gt"]:
            corners = " ".join(repr(value) for corner in entry["poly"] for value in corner)
            lines.append(f"{corners} {entry['class']} {entry['difficult']}")
        (folder / "labels" / f"{image['name']}.txt").write_text("\n".join(lines) + "\n")
    (folder / "images.txt").write_text("".join(f"{image['name']}\n" for image in cases["images"]))
    for name in ("detections", "tiles"):
        write_task1(folder / name, {label: detections_of(rows) for label, rows in cases[name].items()})


@pytest.fixture(scope="module")
def dota(tmp_path_factory):
    cases, folder = load("dota.cases"), tmp_path_factory.mktemp("dota")
    write_cases(folder, cases)
    merged = {rule: merge_tiles(folder / "tiles", rule=rule) for rule in MERGE_RULES}
    return folder, cases["classes"], merged


def figures():
    path = golden_root() / "evaluation" / "dota.golden.json"
    return [
        pytest.param(
            run, id=f"evaluation-dota-{run['detections']}-{run['version']}-{run['use_07_metric']}-{run['ovthresh']}"
        )
        for run in (load("dota.golden")["figures"] if path.is_file() else [])
    ]


@pytest.mark.golden
@pytest.mark.parametrize("run", figures())
def test_evaluation_dota_figures(dota, run):
    folder, classes, merged = dota
    source, _, threshold = run["detections"].partition("_")
    result = score_dota(
        folder / "labels",
        merged[RULE_OF[threshold]] if source == "merged" else folder / "detections",
        version=run["version"],
        metric=METRICS[run["use_07_metric"]],
        iou_threshold=run["ovthresh"],
        classes=classes,
        images=folder / "images.txt",
    )
    for label, expected in run["ap"].items():
        assert result.classes[label].average_precision == pytest.approx(float(expected), abs=1e-12), label
    assert result.mean_average_precision == pytest.approx(float(run["map"]), abs=1e-12)
    for label, expected in run.get("details", {}).items():
        actual = result.classes[label]
        assert len(actual.order) == expected["detections"]
        assert actual.final_recall == pytest.approx(float(expected["final_recall"]), abs=1e-12)
        assert actual.final_precision == pytest.approx(float(expected["final_precision"]), abs=1e-12)


@pytest.mark.golden
def test_evaluation_dota_merged_files(dota):
    _, classes, merged = dota
    expected = load("dota.golden")["merged"]
    for threshold, rule in RULE_OF.items():
        assert {label: len(found.scores) for label, found in merged[rule].items()} == expected[threshold]
        first = list(task1_lines(merged[rule][classes[0]]))
        wanted = expected[f"first_lines_{threshold}"]
        assert first[: len(wanted)] == wanted


def square(x, y, side=10.0):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def annotations(quads, difficult=(), image="a"):
    flags = np.zeros(len(quads), bool)
    flags[list(difficult)] = True
    return Annotations([image] * len(quads), np.array(quads, float).reshape(-1, 4, 2), flags)


def scored(objects, rows, **options):
    truth = GroundTruth(("a", "b"), {"plane": objects})
    return score_dota(truth, {"plane": detections_of(rows)}, classes=["plane"], **options).classes["plane"]


def flat(quad):
    return [value for corner in quad for value in corner]


def test_one_object_is_found_once_and_difficult_ones_do_not_count() -> None:
    objects = annotations([square(0, 0), square(50, 0)], difficult=[1])
    rows = [("a", 0.7, flat(square(1, 0))), ("a", 0.9, flat(square(0, 0))), ("a", 0.8, flat(square(50, 1)))]
    result = scored(objects, rows)
    assert result.order.tolist() == [1, 2, 0] and result.outcomes.tolist() == [1, -1, 0]
    assert result.objects.tolist() == [0, 1, 0] and result.ground_truth == 1
    assert result.recall.tolist() == [1, 1, 1] and result.precision.tolist() == [1, 1, 0.5]
    counted = scored(objects, rows, version="1.5")
    assert counted.outcomes.tolist() == [1, 1, 0] and counted.ground_truth == 2


def test_overlap_has_to_exceed_the_threshold_and_lie_in_the_same_image() -> None:
    objects = annotations([square(0, 0, 16)])
    half = [[0, 0], [16, 0], [16, 8], [0, 8]]
    assert scored(objects, [("a", 0.9, flat(half))]).outcomes.tolist() == [0]
    assert scored(objects, [("a", 0.9, flat(half))], iou_threshold=0.49).outcomes.tolist() == [1]
    assert scored(objects, [("b", 0.9, flat(square(0, 0, 16)))]).outcomes.tolist() == [0]


def test_the_best_object_decides_even_when_it_is_taken() -> None:
    objects = annotations([square(0, 0), square(0, 3)])
    rows = [("a", 0.9, flat(square(0, 0))), ("a", 0.8, flat(square(0, 1)))]
    assert scored(objects, rows).outcomes.tolist() == [1, 0]


def test_average_precision_by_hand() -> None:
    recall, precision = np.array([0.25, 0.25, 0.5]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recall, precision) == pytest.approx((3 * 1.0 + 3 * 2 / 3) / 11, abs=1e-15)
    assert average_precision(recall, precision, metric="area") == pytest.approx(0.25 + 0.25 * 2 / 3, abs=1e-15)
    # Exactly 0.3 does not reach the fourth point, 0.30000000000000004.
    assert average_precision(np.array([0.3]), np.array([1.0])) == pytest.approx(3 / 11, abs=1e-15)


def test_nothing_to_find_and_nothing_found_give_zero() -> None:
    assert scored(annotations([]), [("a", 0.9, flat(square(0, 0)))]).average_precision == 0
    assert scored(annotations([square(0, 0)]), []).average_precision == 0
    both = scored(annotations([]), [], metric="area")
    assert both.average_precision == both.final_recall == both.final_precision == 0


def test_a_box_without_area_is_a_false_alarm_even_on_an_object_without_area() -> None:
    line = [[0, 0], [10, 0], [10, 0], [0, 0]]
    assert scored(annotations([line]), [("a", 0.9, flat(line))]).outcomes.tolist() == [0]


def test_perfect_detections_give_one_in_any_order_of_images() -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 400, (40, 2)).tolist()
    rows = [(f"i{i % 4}", 1 - i / 100, flat(square(x, y, 12))) for i, (x, y) in enumerate(corners)]
    for shift in (0, 17):
        some = rows[shift:] + rows[:shift]
        truth = detections_of(some)
        objects = Annotations(truth.images, truth.quads, np.zeros(len(some), bool))
        ground_truth = GroundTruth(tuple(sorted(set(truth.images))), {"ship": objects})
        for metric in ("voc07", "area"):
            result = score_dota(ground_truth, {"ship": truth}, metric=metric, classes=["ship"])
            assert result.mean_average_precision == pytest.approx(1.0, abs=1e-12)


def test_missing_classes_count_zero_in_the_mean_of_all() -> None:
    truth = GroundTruth(("a",), {"plane": annotations([square(0, 0)])})
    found = {"plane": detections_of([("a", 0.9, flat(square(0, 0)))])}
    for version, rules in DOTA_VERSIONS.items():
        result = score_dota(truth, found, version=version)
        assert list(result.classes) == list(rules.classes)
        assert result.mean_average_precision == pytest.approx(1 / len(rules.classes), abs=1e-15)
    assert result.to_dict()["classes"]["plane"]["matched"] == 1


def test_a_tile_is_moved_and_scaled_back() -> None:
    assert parse_tile_name("P0001__0.5__824___0") == Tile("P0001", 0.5, 824, 0)
    tiles = {"plane": detections_of([("P1__0.5__100___20", 0.5, flat(square(1, 2)))])}
    merged = merge_tiles(tiles)["plane"]
    assert merged.images == ["P1"]
    np.testing.assert_array_equal(merged.quads[0], [[202, 44], [222, 44], [222, 64], [202, 64]])


def test_suppression_keeps_the_best_of_a_group_and_order_of_scores() -> None:
    quads = [square(0, 0), square(0, 1), square(100, 0), square(0, 8)]
    scores = np.array([0.5, 0.9, 0.7, 0.6])
    strict, mild = MERGE_RULES["result_merge_multi_process"], MERGE_RULES["result_merge"]
    assert suppress(np.array(quads), scores, strict).tolist() == [1, 2]  # IoU 3/17 with the fourth
    assert suppress(np.array(quads), scores, mild).tolist() == [1, 2, 3]
    assert suppress(np.zeros((0, 4, 2)), np.zeros(0), mild).tolist() == []


def test_suppression_over_many_boxes_equals_the_plain_loop() -> None:
    from fasttcm.geometry import polyiou_matrix

    rng = np.random.default_rng(5)
    quads = np.array([square(x, y, side) for x, y, side in rng.uniform(4, [120, 120, 30], (700, 3))])
    scores = rng.permutation(700) / 700
    iou = polyiou_matrix(quads, quads)
    for threshold in (0.1, 0.3):
        left, kept = list(np.argsort(-scores)), []
        while left:
            kept.append(left.pop(0))
            left = [j for j in left if iou[kept[-1], j] <= threshold]
        for first in (True, False):
            assert suppress(quads, scores, MergeRule("test", threshold, first)).tolist() == kept


def test_the_scripts_differ_on_boxes_without_area() -> None:
    lines = np.array([[[0, y], [10, y], [10, y], [0, y]] for y in (0.0, 0.0, 500.0)])
    scores = np.array([0.9, 0.8, 0.7])
    assert suppress(lines, scores, MERGE_RULES["result_merge"]).tolist() == [0]
    assert suppress(lines, scores, MERGE_RULES["result_merge_multi_process"]).tolist() == [0, 1, 2]


def test_detections_survive_a_round_trip_through_files(tmp_path: Path) -> None:
    found = detections_of([("a", 0.1 + 0.2, [1 / 3] * 8), ("b", 1e-7, list(range(8)))])
    write_task1(tmp_path, {"ship": found, "harbor": detections_of([])})
    back = read_task1(tmp_path)
    assert back["ship"].images == found.images and back["harbor"].images == []
    np.testing.assert_array_equal(back["ship"].quads, found.quads)
    np.testing.assert_array_equal(back["ship"].scores, found.scores)


GOOD = "0 0 10 0 10 10 0 10 plane 0"
BAD_ANNOTATIONS = {
    GOOD + " 1": "11 pieces",
    "0 0 10 0 10 10 0 nan plane 0": "no finite number",
    "0 0 10 0 10 10 0 x plane 0": "no finite number",
    "0 0 10 0 10 10 0 1e300 plane 0": "beyond",
    "0 0 10 0 10 10 0 10 plain 0": "unknown class 'plain'",
    "0 0 10 0 10 10 0 10 plane 0.5": "whole number",
}


@pytest.mark.parametrize("line", BAD_ANNOTATIONS)
def test_a_bad_annotation_is_named_with_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "P1.txt").write_text(f"imagesource:x\n{GOOD}\n{line}\n")
    with pytest.raises(DataError, match=r"P1\.txt, line 3: .*" + BAD_ANNOTATIONS[line]):
        read_dota_ground_truth(tmp_path)


def test_annotation_lines_are_read_as_published(tmp_path: Path) -> None:
    text = f"\ufeffimagesource:x\r\ngsd:null\r\n{GOOD}\r\n0 0 10 0 10 10 0 10 ship\r\n1 2 3\r\n{GOOD[:-1]}2\r\n\r\n"
    (tmp_path / "P1.txt").write_bytes(text.encode())
    truth = read_dota_ground_truth(tmp_path)
    assert truth.images == ("P1",) and set(truth.classes) == {"plane", "ship"}
    assert truth.classes["plane"].difficult.tolist() == [False, True]
    np.testing.assert_array_equal(truth.classes["ship"].quads[0], square(0, 0))
    with pytest.raises(DataError, match=r"P1\.txt, line 5: .*got 3 pieces"):
        read_dota_ground_truth(tmp_path, strict=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("P1 0.5 0 0 10 0 10 10 0", "got 9 pieces"),
        ("P1 0.5 0 0 10 0 10 10 0 10 3", "got 11 pieces"),
        ("P1 inf 0 0 10 0 10 10 0 10", "no finite number"),
        ("P2 0.5 0 0 10 0 10 10 0 10", "'P2' is not in the ground truth"),
    ],
)
def test_a_bad_detection_is_named_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "P1.txt").write_text(GOOD)
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "Task1_plane.txt").write_text(f"P1 0.5 0 0 10 0 10 10 0 10\n\n{line}\n")
    with pytest.raises(DataError, match=r"Task1_plane\.txt, line 3: .*" + message):
        score_dota(tmp_path, tmp_path / "found")


def test_a_bad_tile_name_is_named_with_file_and_line(tmp_path: Path) -> None:
    for name in ("P1", "P1__1__0", "P1__0__0___0", "P1__1.2.3__0___0"):
        (tmp_path / "Task1_ship.txt").write_text(f"{name} 0.5 0 0 10 0 10 10 0 10\n")
        with pytest.raises(DataError, match=r"Task1_ship\.txt, line 1: tile name"):
            merge_tiles(tmp_path)


def test_bad_folders_lists_and_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "P1.txt").write_text(GOOD)
    truth, empty = GroundTruth(("P1",), {}), tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "Task1_boat.txt").write_text("")
    cases = [
        (DataError, "no folder", lambda: read_dota_ground_truth(tmp_path / "none")),
        (DataError, "listed twice", lambda: read_dota_ground_truth(tmp_path, ["P1", "P1"])),
        (DataError, "no annotation P2", lambda: read_dota_ground_truth(tmp_path, ["P2"])),
        (DataError, "no annotation", lambda: read_dota_ground_truth(tmp_path, ["../P1"])),
        (DataError, "holds no Task1_", lambda: read_task1(empty)),
        (DataError, "unknown class 'boat'", lambda: read_task1(tmp_path)),
        (DataError, "not in the ground truth", lambda: score_dota(truth, {"ship": detections_of([("X", 1, [0] * 8)])})),
        (ConfigError, "unknown DOTA version", lambda: score_dota(truth, {}, version="3")),
        (ConfigError, "unknown metric", lambda: score_dota(truth, {}, metric="coco")),
        (ConfigError, "only once", lambda: score_dota(truth, {}, classes=["ship", "ship"])),
        (ConfigError, "unknown merge rule", lambda: merge_tiles({}, rule="best")),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()


def test_json_documents_score_like_the_text_files(dota, tmp_path: Path) -> None:
    folder, classes, _ = dota
    truth, found = read_dota_ground_truth(folder / "labels", folder / "images.txt"), read_task1(folder / "detections")
    images = {name: {"id": name, "objects": []} for name in truth.images}
    answers = {name: {"id": name, "objects": []} for name in truth.images}
    for label in classes:
        some = truth.classes[label]
        for image, quad, difficult in zip(some.images, some.quads.tolist(), some.difficult.tolist(), strict=True):
            images[image]["objects"].append({"points": quad, "class": label, "difficult": int(difficult)})
        boxes = found[label]
        for image, quad, score in zip(boxes.images, boxes.quads.tolist(), boxes.scores.tolist(), strict=True):
            answers[image]["objects"].append({"points": quad, "class": label, "score": score})
    for name, document in (("gt.json", images), ("found.json", answers)):
        (tmp_path / name).write_text(json.dumps({"images": list(document.values())}))
    expected = score_dota(truth, found, classes=classes).to_dict()
    assert score_dota(tmp_path / "gt.json", tmp_path / "found.json", classes=classes).to_dict() == expected
    assert expected["mean_average_precision"] > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[0, 0], [1, 0], [1, 1]]}, "four"),
        ({"points": [[0, 0], [1, 0], [1, 1], [0, float("nan")]]}, "finite"),
        ({"points": None}, "four"),
        ({"class": "boat"}, "unknown class 'boat'"),
        ({"score": "high"}, "number 'score'"),
    ],
)
def test_a_bad_json_object_is_named(change: dict, message: str) -> None:
    good = {"points": square(0, 0), "class": "ship", "score": 0.5}
    document = {"images": [{"id": 1, "objects": [good]}, {"id": "b", "objects": [good, {**good, **change}]}]}
    with pytest.raises(DataError, match=rf"predictions: image b.*{message}"):
        dota_detections_from_json(document)


def test_bad_json_documents_are_refused() -> None:
    image = {"id": 1, "objects": []}
    for document, message in (
        ({"images": [image, {"id": "1", "objects": []}]}, "occurs twice"),
        ({"images": [{"objects": []}]}, "no 'id'"),
        ({"images": [{"id": 1}]}, "no list 'objects'"),
        ({}, "expected"),
    ):
        with pytest.raises(DataError, match=message):
            dota_ground_truth_from_json(document)
