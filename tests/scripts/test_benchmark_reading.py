"""The comparison of reading tools: lines cut into words, Tesseract's table, tools that are missing, a tiny run."""

import builtins
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasttcm.data.catalog import load_dataset
from fasttcm.errors import ConfigError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_reading_tools

    return benchmark_reading_tools


@pytest.fixture
def reading(tools):
    import benchmark_reading

    return benchmark_reading


# --- lines into words


def test_a_line_is_cut_at_its_spaces_in_proportion_to_the_characters(tools):
    # Seven characters in 70 pixels; the lower side is twice as long, so cuts are oblique.
    quad = np.array([[10.0, 20], [80, 20], [150, 50], [10, 50]])
    words = tools.split_line(quad, "AB CDEF", 0.75)
    assert [(word["text"], word["score"]) for word in words] == [("AB", 0.75), ("CDEF", 0.75)]
    np.testing.assert_allclose(words[0]["points"], [[10, 20], [30, 20], [50, 50], [10, 50]])
    np.testing.assert_allclose(words[1]["points"], [[40, 20], [80, 20], [150, 50], [70, 50]])


def test_a_line_without_spaces_is_one_word_in_its_own_place(tools):
    quad = np.array([[1.0, 2], [61, 8], [60, 28], [0, 22]])
    (word,) = tools.split_line(quad, "Exit", 0.5)
    np.testing.assert_allclose(word["points"], quad)


def test_spaces_at_the_ends_and_in_a_row_take_room_and_give_no_word(tools):
    words = tools.split_line(np.array([[0.0, 0], [80, 0], [80, 10], [0, 10]]), " A  BCD ", 1.0)
    assert [word["text"] for word in words] == ["A", "BCD"]
    assert [(word["points"][0][0], word["points"][1][0]) for word in words] == [(10, 20), (40, 70)]
    assert tools.split_line(np.array([[0.0, 0], [80, 0], [80, 10], [0, 10]]), "  ", 1.0) == []


def test_a_line_higher_than_wide_is_cut_from_the_top_down(tools):
    quad = np.array([[0.0, 0], [20, 0], [20, 100], [0, 100]])
    first, second = tools.split_line(quad, "AB CDEFGHI", 1.0)
    # The letters' top side is on the right, so a word starts at its upper right corner.
    np.testing.assert_allclose(first["points"], [[20, 0], [20, 20], [0, 20], [0, 0]])
    np.testing.assert_allclose(second["points"], [[20, 30], [20, 100], [0, 100], [0, 30]])


def test_boxes_of_the_characters_decide_where_words_end(tools):
    quad = np.array([[0.0, 10], [100, 10], [100, 30], [0, 30]])
    spans = [(2, 8), (9, 22), (22, 60), (61, 90), (89, 98)]
    boxes = np.array([[[a, 10], [b, 10], [b, 30], [a, 30]] for a, b in spans], float)
    first, second = tools.split_line(quad, "IM WI", 1.0, characters=boxes)
    np.testing.assert_allclose(first["points"], [[2, 10], [22, 10], [22, 30], [2, 30]])
    np.testing.assert_allclose(second["points"], [[61, 10], [98, 10], [98, 30], [61, 30]])


def test_boxes_that_are_not_one_a_character_are_not_used(tools):
    quad = np.array([[0.0, 0], [50, 0], [50, 10], [0, 10]])
    first, second = tools.split_line(quad, "AB CD", 1.0, characters=np.zeros((2, 4, 2)))
    assert (first["points"][1], second["points"][0]) == ([20, 0], [30, 0])


def test_chinese_punctuation_is_the_ascii_it_stands_for(tools):
    (word,) = tools.split_line(np.array([[0.0, 0], [50, 0], [50, 10], [0, 10]]), "（６），", 1.0)
    assert word["text"] == "(6),"


# --- Tesseract

TSV = """level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext
1\t1\t0\t0\t0\t0\t0\t0\t640\t480\t-1\t
4\t1\t1\t1\t1\t0\t36\t92\t582\t30\t-1\t
5\t1\t1\t1\t1\t1\t36\t92\t60\t30\t96.5\tThe
5\t1\t1\t1\t1\t2\t110\t90\t85\t31\t0.000000\t"quoted
5\t1\t1\t1\t1\t3\t200\t90\t40\t31\t95.0\t
5\t1\t1\t1\t1\t4\t250\t90\t40\t31\t-1\tlost
"""


def test_the_words_of_tesseracts_table(tools):
    assert tools.parse_tsv(TSV) == [
        {"points": [[36, 92], [96, 92], [96, 122], [36, 122]], "text": "The", "score": 0.965},
        {"points": [[110, 90], [195, 90], [195, 121], [110, 121]], "text": '"quoted', "score": 0.0},
    ]


def test_boxes_of_an_enlarged_picture_are_put_back(tools):
    sizes = []

    def read(image):
        sizes.append(image.shape)
        return tools.parse_tsv(TSV)

    word = tools.read_enlarged(read, np.zeros((240, 320, 3), np.uint8))[0]
    assert sizes == [(480, 640, 3)]
    assert word == {"points": [[18, 46], [48, 46], [48, 61], [18, 61]], "text": "The", "score": 0.965}


def test_tesseract_is_called_with_its_threads_and_the_pixels(tools, tmp_path, monkeypatch):
    program = tmp_path / "tesseract"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "if '--version' in sys.argv: print('tesseract 9.8.7'); sys.exit()\n"
        "if '--list-langs' in sys.argv: print('List of available languages (1):\\neng'); sys.exit()\n"
        "magic, size, _ = (sys.stdin.buffer.readline() for _ in range(3))\n"
        "width, height = map(int, size.split())\n"
        "print('level left top width height conf text'.replace(' ', '\\t'))\n"
        "text = os.environ['OMP_THREAD_LIMIT'] + '/' + sys.argv[sys.argv.index('--psm') + 1]\n"
        "print('5', 0, 0, width, height, 50, text, sep='\\t')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    readers = {reader.setting: reader for reader in tools.tesseract_readers(3)}
    assert {reader.tool for reader in readers.values()} == {"Tesseract 9.8.7"}
    image = np.zeros((40, 60, 3), np.uint8)
    (word,) = readers["--psm 3, enlarged x 2"].read(image)
    assert word == {"points": [[0, 0], [60, 0], [60, 40], [0, 40]], "text": "3/3", "score": 0.5}
    (word,) = readers["--psm 11"].read(image)
    assert (word["points"][2], word["text"]) == ([60, 40], "3/11")


# --- what is missing


def test_missing_tools_are_left_out_with_one_line_that_says_how_to_get_them(reading, tools, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("rapidocr"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    there = tools.Reader("fake", "", lambda image: [])
    factories = [
        lambda: tools.tesseract_readers(1),
        lambda: tools.rapidocr_readers(1),
        lambda: [there],
    ]
    assert reading.usable_readers(factories, search=True, say=lines.append) == [there]
    assert "apt install tesseract-ocr" in lines[0] and "pip install" in lines[1] and len(lines) == 2
    assert not any("\n" in line for line in lines)
    with pytest.raises(ConfigError, match="no tool to compare"):
        reading.usable_readers(factories[:2], search=False, say=lines.append)


def test_without_a_search_every_tool_runs_in_its_first_setting(reading, tools):
    settings = [tools.Reader("fake", name, list, confidences=(0.25, 0.5)) for name in "ab"]
    usual = tools.Reader("fake", "a", list, confidences=(0.25,))
    assert reading.usable_readers([lambda: settings], search=False, say=print) == [usual]
    assert reading.usable_readers([lambda: settings], search=True, say=print) == settings


# --- a tiny run


@pytest.fixture
def dataset(tmp_path):
    """Two pictures; four words to find, of which the protocol asks to read three, and one that nobody has to find."""
    words = {1: [("Cafe", 0), ("12", 40), ("###", 80)], 2: [("Open", 0), ("daily", 40)]}
    images, annotations = [], []
    (tmp_path / "images").mkdir()
    for number, entries in words.items():
        Image.fromarray(np.full((30, 120, 3), 10 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 120, "height": 30})
        for text, x in entries:
            polygon = [x, 5, x + 30, 5, x + 30, 25, x, 25]
            annotations.append({"id": len(annotations), "image_id": number, "polys": polygon, "text": text})
    (tmp_path / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path


def found(*words):
    """Words of (text, x, score) as a tool gives them."""
    return [
        {"points": [[x, 5], [x + 30, 5], [x + 30, 25], [x, 25]], "text": text, "score": score}
        for text, x, score in words
    ]


def by_picture(answers):
    """A reader's function that knows the pictures by their gray."""
    return lambda image: answers[int(image[0, 0, 0]) // 10]


def test_a_tiny_run_with_made_up_tools(reading, tools, dataset):
    records = load_dataset(dataset)
    good = by_picture({1: found(("CAFE", 0, 0.9), ("12", 40, 0.9), ("x", 80, 0.9)), 2: found(("Open", 0, 0.9))})
    wild = by_picture({1: found(("Cafe", 0, 0.9)), 2: found(("Opel", 0, 0.9), ("daily", 40, 0.2), ("no", 80, 0.9))})
    readers = [
        tools.Reader("one", "plain", wild),
        tools.Reader("one", "better", good),
        tools.Reader("two", "usual", wild, confidences=(0.5, 0.95)),
    ]
    rows = reading.compare_readers(readers, [records[0], records[1]], protocol="totaltext", threads=3)
    # Places: Cafe, 12, Open, daily count, what lies on ### does not.
    assert [(r.detection.matched, r.detection.predicted, r.detection.ground_truth) for r in rows] == [
        (3, 4, 4),
        (3, 3, 4),
        (2, 3, 4),
        (0, 0, 4),
    ]
    # Texts: "12" has too few letters to be asked for; case does not matter.
    assert [(r.end_to_end.matched, r.end_to_end.predicted, r.end_to_end.ground_truth) for r in rows] == [
        (2, 4, 3),
        (2, 2, 3),
        (1, 3, 3),
        (0, 0, 3),
    ]
    best = reading.best_rows(rows)
    assert [(row.tool, row.setting) for row in best] == [("one", "better"), ("two", "usual, score >= 0.5")]
    assert best[0].cells()[:8] == ["one", "better", "100.0", "75.0", "85.7", "100.0", "66.7", "80.0"]
    assert best[0].cells()[-1] == "3"
    assert all(row.wall > 0 and row.cpu >= 0 for row in rows)
    lines = reading.markdown_table("title", best).splitlines()
    assert lines[0] == "title" and lines[2].startswith("| tool | setting | detection P | R | hmean | end-to-end P |")
    assert lines[4].startswith("| one | better | 100.0 | 75.0 | 85.7 | 100.0 | 66.7 | 80.0 |")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_the_command_prints_and_writes_the_table(reading, tools, dataset, tmp_path, monkeypatch, capsys):
    answers = by_picture({1: found(("Cafe", 0, 0.9)), 2: []})
    settings = [tools.Reader("fake", "first", by_picture({1: [], 2: []})), tools.Reader("fake", "second", answers)]
    ours = {("compact", ()): [tools.Reader("ours", "", answers)]}
    monkeypatch.setattr(reading, "our_readers", lambda weights, overrides: ours[weights, tuple(overrides)])
    monkeypatch.setattr(reading, "tesseract_readers", lambda threads: settings)
    monkeypatch.setattr(reading, "rapidocr_readers", lambda threads: [tools.Reader("other", "", answers)])
    files = tmp_path / "out.json", tmp_path / "out.md"
    arguments = [str(dataset), "--threads", "1", "--search", "--limit", "1"]
    assert reading.main([*arguments, "--json", str(files[0]), "--markdown", str(files[1])]) == 0
    printed = capsys.readouterr().out
    assert "ours" in printed and "second" in printed and "first" not in printed
    document = json.loads(files[0].read_text())
    assert (document["pictures"], document["protocol"], document["searched"]) == (1, "totaltext", True)
    assert [row["setting"] for row in document["rows"]] == ["", "second", ""]
    assert [row["end_to_end"]["matched"] for row in document["settings"]] == [1, 0, 1, 1]
    assert files[1].read_text().count("\n| fake | second |") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "mmocr"], "compares places only"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--weights", "missing.safetensors", "--threads", "1"], "missing.safetensors"),
    ],
)
def test_mistakes_give_one_line(reading, dataset, arguments, message, capsys):
    assert reading.main([str(dataset), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("benchmark.py reading: error: ") and message in said and said.count("\n") == 1


def test_our_spotter_reads_from_its_checkpoint(tools, tiny_weights):
    (reader,) = tools.our_readers(str(tiny_weights), ["TEST.CONFIDENCE", "0.125"])
    assert (reader.tool, reader.setting, reader.confidences) == ("fasttcm", "ABCNet", (0.125,))
    words = reader.read(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    assert len(words) == 5 and all(len(word["points"]) >= 4 and isinstance(word["text"], str) for word in words)
