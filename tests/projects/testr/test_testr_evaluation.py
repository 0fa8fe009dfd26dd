"""From the characters a model reads to the weighted lexicon search of the published evaluation, as `eval` runs it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny import tiny_config
from torch import nn

from fasttcm.charset import Charset
from fasttcm.engine.build import build_model, load_test_datasets
from fasttcm.engine.evaluate import evaluate_model
from fasttcm.errors import DataError
from fasttcm.projects.testr.output import LayerOutput
from fasttcm.projects.testr.postprocess import select, to_predictions

ASCII = Charset.named("ascii")
BOX = [8.0, 20.0, 56.0, 40.0]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One picture with the word HOUSE, scored as ICDAR 2015 with a generic lexicon."""
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.png"), np.zeros((64, 64, 3), np.uint8))
    x0, y0, x1, y1 = BOX
    word = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    word |= {"polys": [x0, y0, x1, y0, x1, y1, x0, y1], "text": "HOUSE"}
    images = [{"id": 1, "file_name": "1.png", "height": 64, "width": 64}]
    content = {"images": images, "annotations": [word], "categories": [{"id": 1, "name": "text"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "words.txt").write_text("MOUTH\nHOPES\nHOUSE\n")
    (tmp_path / "card.json").write_text(json.dumps({"protocol": "icdar2015", "lexicons": {"generic": "words.txt"}}))
    return tmp_path


class Reader(nn.Module):
    """Finds the word and reads H0UZE, with O and S close behind 0 and Z."""

    def __init__(self, char_scores: bool) -> None:
        super().__init__()
        self.char_scores = char_scores

    def forward(self, samples: list[dict[str, object]]) -> list[object]:
        logits = torch.full((1, 1, 8, ASCII.num_classes), -4.0)
        for position, (read, almost) in enumerate([("H", ""), ("0", "O"), ("U", ""), ("Z", "S"), ("E", "")]):
            logits[..., position, ASCII.characters.index(read)] = 6.0
            if almost:
                logits[..., position, ASCII.characters.index(almost)] = 5.0
        logits[..., 5:, ASCII.end] = 6.0
        x0, y0, x1, y1 = (value / 64 for value in BOX)
        points = torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])[None, None]
        found = select(LayerOutput(torch.full((1, 1, 4), 3.0), points, logits), 0, threshold=0.3, output_size=(64, 64))
        return [to_predictions(found, charset=ASCII, output_size=(64, 64), char_scores=self.char_scores)] * len(samples)


def evaluate(model: nn.Module, dataset: Path, flavour: str = "testr"):
    cfg = tiny_config(TEST__FLAVOUR=flavour, DATASETS__TEST=[str(dataset)])
    return evaluate_model(model, cfg, load_test_datasets(cfg))[str(dataset)]


def test_likely_characters_make_the_right_word_the_nearest(dataset):
    results = evaluate(Reader(char_scores=True), dataset).results
    assert results["none"].detection.hmean == 1.0 and results["none"].end_to_end.hmean == 0.0
    assert results["generic"].end_to_end.hmean == 1.0
    # Without weights two letters are wrong, which our own rule does not mend.
    assert evaluate(Reader(char_scores=True), dataset, flavour="").results["generic"].end_to_end.hmean == 0.0


def test_scores_that_are_missing_are_asked_for(dataset):
    with pytest.raises(DataError, match="testr_weighted_nearest needs 'char_scores' of 'H0UZE'"):
        evaluate(Reader(char_scores=False), dataset)


def test_a_model_from_the_configuration_is_scored_whatever_it_reads(dataset):
    torch.manual_seed(0)
    changes = {"MODEL__META_ARCHITECTURE": "TESTR", "MODEL__BACKBONE__NAME": "clip_r50"}
    changes |= {"MODEL__TESTR__INFERENCE_TH_TEST": 0.0, "MODEL__TESTR__CHAR_SCORES": True}
    evaluation = evaluate(build_model(tiny_config(**changes)), dataset)
    assert set(evaluation.results) == {"none", "generic"}
    words = evaluation.predictions["images"][0]["words"]
    assert len(words) == 8 and all(len(w["char_scores"]["rows"]) == len(w["text"]) for w in words)
