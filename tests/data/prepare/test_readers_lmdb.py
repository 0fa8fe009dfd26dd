"""Word crops in LMDB: benchmarks by name, sets of one's own, and files that are damaged."""

import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fasttcm.data.prepare.readers.lmdb_str import STR_SETS, read_lmdb, read_str
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.evaluation.recognition import BENCHMARKS

lmdb = pytest.importorskip("lmdb")


def crop(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return pixels, buffer.getvalue()


def write(folder, labels, **more):
    """An LMDB as the benchmarks have it; ``more`` replaces values, ``None`` leaves them out."""
    folder.mkdir(parents=True)
    records = {"num-samples": str(len(labels)).encode()}
    for number, label in enumerate(labels, 1):
        records[f"image-{number:09d}"] = crop(20 + number, 10, number)[1]
        records[f"label-{number:09d}"] = label.encode()
    records |= {key.replace("_", "-"): value for key, value in more.items()}
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            if value is not None:
                transaction.put(key.encode(), value)
    return folder


def read(reader, folder, split=""):
    problems = Problems()
    with Source.open(folder) as source:
        return list(reader(source, split=split, problems=problems)), problems


def test_benchmarks_have_the_names_of_the_figures():
    assert {name for names in BENCHMARKS.values() for name in names} == set(STR_SETS)


def test_a_crop_becomes_a_picture_of_one_word(tmp_path):
    write(tmp_path / "test" / "IC13_857", ["Tiredness", "Zoé's"])
    pictures, problems = read(read_str, tmp_path, "IC13_857")
    assert [(p.image, p.image_id) for p in pictures] == [("000000001.png", 1), ("000000002.png", 2)]
    assert [word.text for p in pictures for word in p.words] == ["Tiredness", "Zoé's"]
    np.testing.assert_array_equal(pictures[1].pixels, crop(22, 10, 2)[0])
    np.testing.assert_array_equal(pictures[1].words[0].points, [[0, 0], [22, 0], [22, 10], [0, 10]])
    assert pictures[0].words[0].ordered and not len(problems)


def test_benchmarks_are_found_with_a_count_in_their_name(tmp_path):
    write(tmp_path / "iiit5k_3000", ["a"])
    write(tmp_path / "SVT", ["b"])
    write(tmp_path / "SVTP", ["c"])
    for split, text in [("IIIT5k", "a"), ("SVT", "b"), ("SVTP", "c")]:
        assert read(read_str, tmp_path, split)[0][0].words[0].text == text
    with pytest.raises(MissingSplitError, match=r"CUTE80 with data\.mdb"):
        read(read_str, tmp_path, "CUTE80")
    write(tmp_path / "copy" / "SVT", ["d"])
    with pytest.raises(DataError, match="several times"):
        read(read_str, tmp_path, "SVT")


def test_sets_of_ones_own_make_one_dataset(tmp_path):
    write(tmp_path / "a" / "MJ", ["one"])
    write(tmp_path / "a" / "ST", ["two", "three"])
    pictures, _ = read(read_lmdb, tmp_path)
    assert [p.image for p in pictures] == ["a/MJ/000000001.png", "a/ST/000000001.png", "a/ST/000000002.png"]
    assert [p.image_id for p in pictures] == [None] * 3
    pictures, _ = read(read_lmdb, tmp_path / "a" / "ST")
    assert [(p.image, p.image_id) for p in pictures] == [("000000001.png", 1), ("000000002.png", 2)]


def test_damaged_records_are_reported(tmp_path):
    folder = write(
        tmp_path / "SVT",
        ["a", "b", "c", "d", "e", "f"],
        image_000000001=None,
        label_000000002=None,
        image_000000003=crop(30, 30)[1][:200],
        label_000000004=b"\xff\xfe\xff",
        image_000000005=b"",
    )
    pictures, problems = read(read_str, tmp_path, "SVT")
    assert [word.text for p in pictures for word in p.words] == ["f"]
    assert dict(problems.counts) == {
        "record missing in the LMDB (skipped)": 2,
        "image cannot be decoded (skipped)": 2,
        "label is no UTF-8 text (skipped)": 1,
    }
    assert problems.messages[0] == f"{folder}: record 000000001: record missing in the LMDB (skipped): image"


@pytest.mark.parametrize("value", [None, b"many", b"-1", b"9999999999"])
def test_a_database_of_something_else_is_refused(tmp_path, value):
    write(tmp_path / "SVT", ["a"], num_samples=value)
    with pytest.raises(DataError, match="no usable key num-samples"):
        read(read_str, tmp_path, "SVT")


def test_a_file_cut_short_is_refused_before_it_is_mapped(tmp_path):
    data = write(tmp_path / "SVT", ["a"] * 300) / "data.mdb"
    whole = data.read_bytes()
    for size, message in [
        (len(whole) // 2, "the download is not complete"),
        (5000, "data.mdb"),
        (100, "not a readable LMDB"),
    ]:
        data.write_bytes(whole[:size])
        with pytest.raises(DataError, match=message):
            read(read_str, tmp_path, "SVT")
    data.write_bytes(b"no LMDB at all" * 1000)
    with pytest.raises(DataError, match="not a readable LMDB"):
        read(read_str, tmp_path, "SVT")


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "SVT", ["a"])
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DataError, match=r"pip install 'fasttcm\[data\]'"):
        read(read_str, tmp_path, "SVT")


def test_archives_are_not_entered(tmp_path):
    import shutil

    write(tmp_path / "sets" / "SVT", ["a"])
    shutil.make_archive(str(tmp_path / "packed" / "sets"), "zip", tmp_path / "sets")
    with pytest.raises(DataError, match="unpack it"):
        read(read_str, tmp_path / "packed", "SVT")
