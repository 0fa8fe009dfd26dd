import json

import numpy as np
import torch
from tiny import targets

from fasttcm.structures import TextPredictions, TextTargets


def predictions() -> TextPredictions:
    polygons = [
        np.array([[1.234, 2], [9, 2], [9, 6], [1, 6]], np.float32),
        np.array([[0, 0], [4, 0], [2, 3]], np.float32),
    ]
    return TextPredictions(
        height=20,
        width=30,
        polygons=list(polygons),
        boxes=torch.tensor([[1, 2, 9, 6], [0, 0, 4, 3]]).float(),
        scores=torch.tensor([0.9, 0.25]),
        texts=["Ä, b", ""],
        text_scores=torch.tensor([0.5, 1.0]),
        beziers=torch.arange(32.0).reshape(2, 16),
    )


def test_targets_select_by_mask_and_by_index() -> None:
    every = targets("ab", "c", "d")
    some = every[torch.tensor([True, False, True])]
    assert some.texts == ["ab", "d"] and len(some.polygons) == 2 and torch.equal(some.boxes, every.boxes[[0, 2]])
    turned = every[torch.tensor([2, 0])]
    assert turned.texts == ["d", "ab"] and torch.equal(turned.beziers[1], every.beziers[0])
    assert len(every[torch.zeros(3, dtype=torch.bool)]) == 0


def test_an_image_without_text_has_empty_tensors() -> None:
    empty = TextTargets.empty().to("cpu")
    assert len(empty) == 0 and empty.beziers.shape == (0, 16) and empty.boxes.shape == (0, 4)
    assert empty.ignore.dtype == torch.bool
    nothing = TextPredictions.empty(4, 5)
    assert (nothing.height, nothing.width, len(nothing)) == (4, 5, 0)


def test_json_round_trip() -> None:
    entry = json.loads(json.dumps(predictions().to_json(image_id=7, file_name="a.jpg")))
    assert (entry["id"], entry["file_name"], entry["width"], entry["height"]) == (7, "a.jpg", 30, 20)
    assert entry["words"][0]["points"][0] == [1.23, 2.0] and entry["words"][0]["text"] == "Ä, b"
    again = TextPredictions.from_json(entry)
    assert again.texts == ["Ä, b", ""] and torch.allclose(again.scores, torch.tensor([0.9, 0.25]))
    assert torch.allclose(again.beziers, predictions().beziers)
    assert again.boxes[1].tolist() == [0, 0, 4, 3]
    assert again.to_json(image_id=7, file_name="a.jpg") == entry


def test_json_without_words() -> None:
    entry = TextPredictions.empty(3, 4).to_json(image_id="x")
    assert entry["words"] == [] and len(TextPredictions.from_json(entry)) == 0
