import json

import numpy as np
import pytest
import torch

from fasttcm.charset import UNKNOWN_CHARACTER, Charset
from fasttcm.evaluation import Lexicon
from fasttcm.evaluation.edit_distance import weighted_distance
from fasttcm.evaluation.records import predictions_to_json, read_images
from fasttcm.projects.testr.output import LayerOutput
from fasttcm.projects.testr.postprocess import Instances, ascii_scores, select, to_predictions
from fasttcm.structures import TextPredictions

ASCII = Charset.named("ascii")


def spelled(*rows: list[int], classes: int = 97, sure: float = 8.0) -> torch.Tensor:
    """(n, T, classes) logits of the given classes."""
    return sure * torch.nn.functional.one_hot(torch.tensor(rows), classes).float()


def layer(scores: list[float], texts: torch.Tensor) -> LayerOutput:
    """One image whose i-th query has a square of side 0.1 i."""
    logits = torch.tensor(scores).logit()[None, :, None] + torch.tensor([-1.0, 0.0, 1.0, 0.0])
    corner = torch.tensor([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])
    points = 0.1 * torch.arange(1, len(scores) + 1)[:, None, None] * corner
    return LayerOutput(logits, points[None], texts[None])


def test_the_score_is_that_of_the_mean_logit_and_the_order_that_of_the_queries():
    found = select(layer([0.3, 0.9, 0.5], spelled([33], [34], [35])), 0, threshold=0.5, output_size=(200, 100))
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.5]))
    torch.testing.assert_close(found.points[0, 2], torch.tensor([20.0, 40.0]))


def test_words_come_by_score_in_pixels_of_the_output_unclipped():
    found = select(layer([0.6, 0.9], spelled([33], [34])), 0, threshold=0.0, output_size=(200, 100))
    found.points[0] -= 50
    words = to_predictions(found, charset=ASCII, output_size=(200, 100))
    assert words.texts == ["B", "A"] and words.scores.tolist() == pytest.approx([0.9, 0.6])
    assert words.boxes.tolist() == [[0, 0, pytest.approx(20), pytest.approx(40)], [-50, -50, -40, -30]]
    assert words.polygons[0].shape == (4, 2) and words.char_scores is None and words.beziers is None


def test_padding_inside_a_text_is_passed_over_and_unknown_is_shown():
    texts = spelled([33, 33, 96, 34, 95, 96])
    words = to_predictions(
        select(layer([0.9], texts), 0, threshold=0.5, output_size=(10, 10)), charset=ASCII, output_size=(10, 10)
    )
    assert words.texts == ["AAB" + UNKNOWN_CHARACTER]
    probability = float(texts.softmax(2).amax(2).prod())
    assert words.text_scores.tolist() == [pytest.approx(probability, rel=1e-4)]


def test_nothing_above_the_threshold_is_an_empty_result():
    found = select(layer([0.3], spelled([33])), 0, threshold=0.5, output_size=(10, 10))
    words = to_predictions(found, charset=ASCII, output_size=(10, 10), char_scores=True)
    assert len(words) == 0 and words.boxes.shape == (0, 4) and words.char_scores == []
    assert TextPredictions.from_json(words.to_json(image_id=1)).texts == []


def words_with_scores() -> TextPredictions:
    torch.manual_seed(0)
    texts = torch.randn(2, 25, 97)
    texts[:, 4:, 96] = 20
    texts[0, :4, [34, 33, 50, 51]] += 6
    found = select(layer([0.9, 0.8], texts), 0, threshold=0.5, output_size=(10, 10))
    return to_predictions(found, charset=ASCII, output_size=(10, 10), char_scores=True)


def test_character_scores_survive_json_up_to_its_rounding():
    words = words_with_scores()
    assert [s.shape for s in words.char_scores] == [(len(t), 97) for t in words.texts]
    entry = json.loads(json.dumps(words.to_json(image_id=1)))
    again = TextPredictions.from_json(entry)
    assert again.texts == words.texts
    for first, second in zip(words.char_scores, again.char_scores, strict=True):
        np.testing.assert_allclose(second[:, :96], first[:, :96], atol=1e-6)
    for word, scores in zip(entry["words"], words.char_scores, strict=True):
        word["char_scores"] = scores.tolist()
    np.testing.assert_array_equal(TextPredictions.from_json(entry).char_scores[0], words.char_scores[0])


def test_predictions_without_character_scores_are_written_as_before():
    words = words_with_scores()
    words.char_scores = None
    assert set(words.to_json(image_id=1)["words"][0]) == {"points", "text", "score", "text_score"}
    assert TextPredictions.from_json(words.to_json(image_id=1)).char_scores is None


def test_the_weighted_lexicon_search_reads_what_the_model_writes():
    words = words_with_scores()
    document = json.loads(json.dumps(predictions_to_json([(1, words)])))
    (image,) = read_images(document, role="predictions", text_required=True).values()
    for word, text, scores in zip(image.words, words.texts, words.char_scores, strict=True):
        entry = text[:-1].upper() + "Z"
        exact = weighted_distance(text, entry, scores)
        assert weighted_distance(word.text, entry, word.char_scores) == pytest.approx(exact, abs=1e-4)
    lexicon = Lexicon(["FAR AWAY", words.texts[0][:3] + "#"], rule="testr_weighted")
    assert lexicon.match(image.words[0].text, char_scores=image.words[0].char_scores) == words.texts[0][:3] + "#"


def test_scores_of_a_smaller_alphabet_stand_in_the_ascii_columns():
    lower = Charset.named("lower36")
    probs = np.random.default_rng(0).random((6, lower.num_classes)).astype(np.float32)
    scores = ascii_scores(probs, 4, lower)
    assert scores.shape == (4, 97)
    for character in "az09":
        column = ASCII.characters.index(character)
        np.testing.assert_array_equal(scores[:, column], probs[:4, lower.characters.index(character)])
    assert scores[:, ASCII.characters.index("A")].sum() == 0
    np.testing.assert_array_equal(scores[:, [95, 96]], probs[:4, [lower.unknown, lower.end]])


def test_a_half_precision_layer_gives_single_precision_words():
    half = layer([0.9], spelled([33]))
    found = select(
        LayerOutput(half.logits.bfloat16(), half.points, half.texts.bfloat16()), 0, threshold=0.5, output_size=(10, 10)
    )
    assert isinstance(found, Instances)
    assert found.scores.dtype == found.text_probs.dtype == found.points.dtype == torch.float32


def test_a_score_that_is_not_a_number_is_no_word():
    broken = layer([0.9, 0.8], spelled([33], [34]))
    broken.logits[0, 0, 0] = float("nan")
    found = select(broken, 0, threshold=0.0, output_size=(10, 10))
    assert found.scores.tolist() == [pytest.approx(0.8)]
