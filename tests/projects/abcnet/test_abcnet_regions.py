import torch
from tiny import targets

from fasttcm.projects.abcnet.regions import Regions, add_predicted, legible, nearest_curve, widen_curves
from fasttcm.structures import TextTargets

LENGTH = 3


def regions_of(words: TextTargets) -> Regions:
    kept = words.beziers[legible(words)]
    return Regions(kept, torch.arange(len(kept))[:, None].expand(-1, LENGTH))


def test_nearest_is_by_the_sum_of_distances_along_the_axes_and_the_first_on_ties() -> None:
    annotated = torch.stack([torch.zeros(16), torch.zeros(16), torch.full((16,), 10.0)])
    # Sixteen times 6 from the first and 4 from the last; then one far point, which squares would let decide.
    curves = torch.stack([torch.full((16,), 6.0), torch.full((16,), 4.0), torch.full((16,), 4.0)])
    curves[2, 0] = 60.0
    assert nearest_curve(curves, annotated).tolist() == [2, 0, 0]


def test_predictions_follow_the_annotations_with_the_text_of_the_nearest() -> None:
    words = targets("one", "two", "three")
    predicted = torch.stack([words.beziers[2] + 1, words.beziers[0] - 2, words.beziers[2]])
    joint = add_predicted(regions_of(words), predicted, words)
    assert joint.classes[:, 0].tolist() == [0, 1, 2, 2, 0, 2]
    assert torch.equal(joint.beziers, torch.cat([words.beziers, predicted]))
    assert joint.classes.shape == (6, LENGTH)


def test_a_prediction_on_an_illegible_word_is_not_read() -> None:
    words = targets("one", "two", "three")
    words.ignore[0] = True
    words.texts[1] = ""
    assert legible(words).tolist() == [False, False, True]
    joint = add_predicted(regions_of(words), words.beziers + 1, words)
    assert joint.classes[:, 0].tolist() == [0, 0]  # the only legible one, and the prediction on it
    torch.testing.assert_close(joint.beziers[1], words.beziers[2] + 1)


def test_nothing_annotated_or_nothing_predicted() -> None:
    words, nothing = targets("one"), TextTargets.empty()
    assert len(add_predicted(regions_of(nothing), words.beziers, nothing)) == 0
    assert len(add_predicted(regions_of(words), torch.zeros(0, 16), words)) == 1
    illegible = targets("one", ignore=True)
    assert len(add_predicted(regions_of(illegible), words.beziers, illegible)) == 0


def test_room_around_curves_is_measured_in_heights() -> None:
    words = targets("one").beziers  # 40 x 12 at (10, 8)
    wide = widen_curves(words, ends=0.5, sides=0.25).reshape(8, 2)
    torch.testing.assert_close(wide[[0, 3, 4, 7]], torch.tensor([[4.0, 5], [56, 5], [56, 23], [4, 23]]))
    torch.testing.assert_close(wide[:4, 0], torch.linspace(4, 56, 4))
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    turned = widen_curves((words.reshape(8, 2) @ turn).reshape(1, 16), ends=0.5, sides=0.25)
    torch.testing.assert_close(turned.reshape(8, 2), wide @ turn)
    assert widen_curves(words, ends=0, sides=0) is words
    assert widen_curves(words[:0], ends=1, sides=1).shape == (0, 16)
