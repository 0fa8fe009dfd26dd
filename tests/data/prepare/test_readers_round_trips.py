"""Our JSON -> what the publishers' servers take -> back: the same outlines and texts, in the same order."""

import json

import numpy as np
import pytest

from fasttcm.data.prepare.run import prepare_dataset
from fasttcm.evaluation.archives import read_archive, write_archive
from fasttcm.evaluation.dota_files import Detections, read_task1, write_task1
from fasttcm.evaluation.dota_json import dota_detections_from_json
from fasttcm.evaluation.dota_merge import merge_tiles
from fasttcm.evaluation.formats import load_words
from fasttcm.evaluation.score import score

TEXTS = ["CAFE", "Bread, Milk", '"quoted"', '"', "back\\slash", "Zoé 3/4", "a: b", "don't", "北京", "#tag"]
SIZE = (640, 480)


def arcs(count, points_a_side, seed):
    """(p, 2) outlines of curved words side by side, clockwise from the first character's top-left corner."""
    rng = np.random.default_rng(seed)
    outlines = []
    for number in range(count):
        left, top = 20 + 120 * (number % 5), 60 + 130 * (number // 5)
        x = np.linspace(left, left + 100, points_a_side)
        y = top + rng.uniform(-20, 20) * np.sin((x - left) / 100 * np.pi)
        outlines.append(np.concatenate([np.stack([x, y], 1), np.stack([x, y + 30], 1)[::-1]]).round(2))
    return outlines


def prepared(tmp_path, write_source, outlines):
    """A dataset as ``fasttcm prepare`` writes it, two images with the same words."""
    words = [{"points": o.tolist(), "transcription": t} for o, t in zip(outlines, TEXTS, strict=True)]
    lines = [f"images/{i}.jpg\t{json.dumps(words)}" for i in (1, 2)]
    source = write_source({"Label.txt": "\n".join(lines), "images/1.jpg": SIZE, "images/2.jpg": SIZE})
    (result, *_) = [one for one in prepare_dataset("paddleocr", source, tmp_path / "out") if not one.missing]
    assert not len(result.problems)
    return result.path


@pytest.mark.parametrize(
    "protocol, points_a_side", [("totaltext", 5), ("totaltext", 2), ("ctw1500", 7), ("icdar2015", 2)]
)
def test_text_submissions_come_back(tmp_path, write_source, protocol, points_a_side):
    outlines = arcs(len(TEXTS), points_a_side, seed=points_a_side)
    if protocol == "icdar2015":
        outlines = [np.rint(outline) for outline in outlines]
    truth = load_words(prepared(tmp_path, write_source, outlines), role="ground truth")
    removed = write_archive(tmp_path / "submission.zip", truth, protocol=protocol)
    assert all(not positions for reasons in removed.values() for positions in reasons.values())
    back = read_archive(tmp_path / "submission.zip", role="predictions", strict=True)
    assert not back["repairs"] and [image["id"] for image in truth["images"]] == [1, 2]
    assert [int(image["id"]) for image in back["images"]] == [1, 2]
    for image in back["images"]:
        assert [word["text"] for word in image["words"]] == TEXTS
        for word, outline in zip(image["words"], outlines, strict=True):
            ring = np.array(word["points"])
            # The curve layout wants the points the other way round.
            np.testing.assert_array_equal(ring if protocol == "icdar2015" else ring[::-1], outline)
    figures = score(truth, read_archive(tmp_path / "submission.zip", role="predictions"), protocol=protocol)
    assert figures.detection.hmean == 1.0
    if protocol != "totaltext":  # which compares with the normalised text: "don't" is never right there
        assert figures.end_to_end.hmean == 1.0


def test_dota_submissions_come_back(tmp_path, write_source):
    """Prepared tiles -> detections -> Task1 files -> read again bit for bit -> merged into the scene."""
    rng = np.random.default_rng(0)
    quads = []
    for number in range(8):
        middle, angle = np.array([60 + 100 * (number % 4), 70 + 120 * (number // 4)]), rng.uniform(0, 3)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        quads.append((middle + np.array([[-25, -9], [25, -9], [25, 9], [-25, 9]]) @ turn).round(1))
    labels = ["ship" if number % 2 else "small-vehicle" for number in range(8)]
    lines = [" ".join(map(str, q.ravel())) + f" {label} 0" for q, label in zip(quads, labels, strict=True)]
    source = write_source({"train/images/P0.png": (430, 260), "train/labelTxt/P0.txt": "\n".join(lines)})
    options = {"tile_size": 160, "tile_overlap": 70}
    prepare_dataset("dota", source, tmp_path / "out", splits=("train",), options=options)
    index = json.loads((tmp_path / "out" / "train" / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in index["categories"]}
    images = [
        {
            "id": image["file_name"].removesuffix(".png"),
            "objects": [
                {
                    "points": np.reshape(one["polys"], (4, 2)).tolist(),
                    "class": names[one["category_id"]],
                    "score": 0.5 + one["id"] / 1000,
                }
                for one in index["annotations"]
                if one["image_id"] == image["id"]
            ],
        }
        for image in index["images"]
    ]
    found = dota_detections_from_json({"images": images})
    write_task1(tmp_path / "submission", found)
    back = read_task1(tmp_path / "submission")
    assert set(back) == set(found) == {"ship", "small-vehicle"}
    for label, one in found.items():
        assert back[label].images == one.images
        np.testing.assert_array_equal(back[label].quads, one.quads)
        np.testing.assert_array_equal(back[label].scores, one.scores)
    merged = merge_tiles(back)
    assert isinstance(merged["ship"], Detections)
    assert sum(len(one.images) for one in merged.values()) == len(quads) < sum(len(one.images) for one in back.values())
    for quad, label in zip(quads, labels, strict=True):
        assert np.isclose(merged[label].quads, quad, atol=0.01).all((1, 2)).sum() == 1
