import pytest
from tiny import sample

from fasttcm.errors import DataError
from fasttcm.layers.annotations import annotations, image_name
from fasttcm.structures import ILLEGIBLE


def test_a_sample_without_targets_is_named():
    broken = sample("one")
    del broken["targets"]
    with pytest.raises(DataError, match=r"0\.png has no targets"):
        annotations([broken])


def test_targets_of_the_sample_stay_as_they_are():
    given = sample(ILLEGIBLE)
    annotations([given])
    assert given["targets"].ignore.tolist() == [False]


def test_illegible_and_ignored_words_are_ignored():
    found = annotations([sample("a", ILLEGIBLE), sample("b", ignore=True), sample()])
    assert [targets.ignore.tolist() for targets in found] == [[False, True], [True], []]


def test_an_image_is_called_by_its_file_else_by_its_number():
    assert image_name({"file_name": "a.png", "image_id": 3}) == "a.png"
    assert image_name({"image_id": 3}) == "3" and image_name({}) == "(unnamed)"
