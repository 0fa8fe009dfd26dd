"""``fasttcm score`` as a person types it."""

import inspect
import json
import re
import zipfile
from pathlib import Path

import pytest
from reference import golden_root

from fasttcm.cli.main import build_parser, main
from fasttcm.evaluation import FLAVOURS, PROTOCOLS, score
from fasttcm.evaluation.lexicon import LEXICON_RULES

PROTOCOL_OF = {"ic15": "icdar2015"}
LEXICON_OF = {1: "generic", 2: "weak", 3: "strong"}
FIGURES = ("precision", "recall", "hmean")


def load(name):
    return json.loads((golden_root() / "evaluation" / f"{name}.json").read_text(encoding="utf-8"))


def spotting_runs():
    if not (golden_root() / "evaluation" / "text.spotting.golden.json").is_file():
        return []
    return [
        pytest.param(flavour, run, id=f"evaluation-score-{flavour}-{run['dataset_name']}-{number}")
        for flavour, runs in load("text.spotting.golden").items()
        for number, run in enumerate(runs)
    ]


@pytest.fixture(scope="module")
def cases():
    return load("text.cases")


def write_documents(images, folder):
    """Both sides as our JSON; the arguments that name them."""
    names = []
    for side in ("gt", "pred"):
        entries = [{key: image[key] for key in ("id", "width", "height")} | {"words": image[side]} for image in images]
        names.append(folder / f"{side}.json")
        names[-1].write_text(json.dumps({"images": entries}), encoding="utf-8")
    return ["--ground-truth", str(names[0]), "--predictions", str(names[1])]


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_lexicon(cases, run, folder):
    """Lexicon files as published; the arguments that name them."""
    icdar = run["cases"] == "icdar2015"
    kind = LEXICON_OF[run["lexicon_type"]] if icdar else "full"
    entry = cases["lexicons"][f"{run['cases']}_{kind}"]
    arguments = ["--lexicon", kind, "--lexicon-path"]
    if "words" not in entry:
        for key, one in entry.items():
            write_lines(folder / f"new_voc_img_{key}.txt", one["words"])
            if "pairs" in one:
                write_lines(folder / f"pair_voc_img_{key}.txt", [" ".join(pair) for pair in one["pairs"]])
        return [*arguments, str(folder)]
    write_lines(folder / "words.txt", entry["words"])
    if "pairs" not in entry:
        return [*arguments, str(folder / "words.txt")]
    write_lines(folder / "pairs.txt", [" ".join(pair) for pair in entry["pairs"]])
    return [*arguments, str(folder / "words.txt"), "--pairs", str(folder / "pairs.txt")]


def printed_figures(text):
    """Label -> figures of the published result lines."""
    lines = re.findall(r"^(\S+_RESULTS): precision: (\S+), recall: (\S+), hmean: (\S+)$", text, re.MULTILINE)
    return {label: [float(figure) for figure in figures] for label, *figures in lines}


@pytest.mark.golden
@pytest.mark.parametrize(("flavour", "run"), spotting_runs())
def test_evaluation_score_command_gives_the_golden_figures(cases, flavour, run, tmp_path, capsys):
    arguments = write_documents(cases["datasets"][run["cases"]]["images"], tmp_path)
    arguments += write_lexicon(cases, run, tmp_path)
    arguments += ["--protocol", PROTOCOL_OF.get(run["dataset_name"], run["dataset_name"]), "--flavour", flavour]
    if run["confidence"] is not None:
        arguments += ["--confidence", str(run["confidence"])]
    out = tmp_path / "out" / "figures.json"
    assert main(["score", *arguments, "--json", str(out)]) == 0
    printed = printed_figures(capsys.readouterr().out)
    kind = arguments[arguments.index("--lexicon") + 1]
    expected = {
        "DETECTION_ONLY_RESULTS": run["none"]["det"],
        "None-E2E_RESULTS": run["none"]["e2e"],
        f"{kind.capitalize()}-E2E_RESULTS": run["lexicon"]["e2e"],
    }
    wanted = {label: [float(figures[name]) for name in FIGURES] for label, figures in expected.items()}
    assert printed.keys() == wanted.keys()
    for label, figures in wanted.items():
        assert printed[label] == pytest.approx(figures, abs=1e-12), label
    written = json.loads(out.read_text(encoding="utf-8"))
    assert_close(written["detection"], run["none"]["det"])
    assert_close(written["end_to_end"], run["lexicon"]["e2e"])
    for name, archive in (("none", "none"), (kind, "lexicon")):
        assert_close(written["results"][name]["detection"], run[archive]["det"])
        assert_close(written["results"][name]["end_to_end"], run[archive]["e2e"])
    assert len(written["images"]) == len(cases["datasets"][run["cases"]]["images"])


def assert_close(ours, theirs):
    assert [ours[name] for name in FIGURES] == pytest.approx([float(theirs[name]) for name in FIGURES], abs=1e-12)


SQUARE = [[10, 10], [110, 10], [110, 60], [10, 60]]
FAR = [[300, 300], [400, 300], [400, 340], [300, 340]]


def word(text="hello", points=SQUARE, **more):
    return {"points": points, "text": text, **more}


@pytest.fixture
def sides(tmp_path):
    """Two images: a word found, one misread, one missed, a false alarm, and an image without predictions."""
    truth = [
        {"id": 1, "width": 640, "height": 480, "file_name": "a.png", "words": [word(), word("<b>world", FAR)]},
        {"id": 2, "width": 640, "height": 480, "words": [word("missing")]},
    ]
    shifted = [[x, y + 150] for x, y in SQUARE]
    found = [{"id": 1, "words": [word(score=0.9), word("w0rld", FAR, score=0.8), word("ghost", shifted, score=0.3)]}]
    for name, images in (("gt", truth), ("pred", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"images": images}))
    return ["--ground-truth", str(tmp_path / "gt.json"), "--predictions", str(tmp_path / "pred.json")]


def test_a_table_and_the_published_lines_are_printed(sides, capsys):
    assert main(["score", *sides, "--protocol", "custom"]) == 0
    shown = capsys.readouterr().out
    assert printed_figures(shown) == {
        "DETECTION_ONLY_RESULTS": [2 / 3, 2 / 3, 2 / 3],
        "None-E2E_RESULTS": [1 / 3, 1 / 3, 1 / 3],
    }
    assert "66.67" in shown and "33.33" in shown and "without predictions, scored as empty: 1" in shown


def test_a_detection_only_protocol_has_no_reading_row(sides, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main(["score", *sides, "--protocol", "db", "--confidence", "0.5", "--json", str(out)]) == 0
    assert list(printed_figures(capsys.readouterr().out).values()) == [[1.0, 2 / 3, 0.8]]
    assert json.loads(out.read_text())["end_to_end"] is None


def test_the_lexicon_leaves_detection_alone(sides, tmp_path, capsys):
    (tmp_path / "words.txt").write_text("HELLO\n<B>WORLD\n")
    lexicon = ["--lexicon", "weak", "--lexicon-path", str(tmp_path / "words.txt")]
    assert main(["score", *sides, "--protocol", "custom", *lexicon]) == 0
    printed = printed_figures(capsys.readouterr().out)
    assert printed["DETECTION_ONLY_RESULTS"] == [2 / 3] * 3
    assert printed["Weak-E2E_RESULTS"] == [1.0, 1 / 3, 0.5]


def test_archive_holds_the_submission(sides, tmp_path):
    archive = tmp_path / "det.zip"
    assert main(["score", *sides, "--protocol", "custom", "--archive", str(archive)]) == 0
    with zipfile.ZipFile(archive) as members:
        assert members.namelist() == ["0000001.txt"]
        lines = members.read("0000001.txt").decode().splitlines()
    assert [line.split(",####")[1] for line in lines] == ["hello", "w0rld", "ghost"]
    again = ["score", sides[0], sides[1], "--predictions", str(archive), "--protocol", "custom"]
    assert main(again) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictions", "absent.json"], "absent.json: cannot read the predictions"),
        (["--protocol", "totaltxt"], "unknown protocol 'totaltxt'; known: totaltext"),
        (["--flavour", "abc"], "unknown flavour 'abc'"),
        (["--lexicon", "full"], "--lexicon full needs --lexicon-path"),
        (["--pairs", "pairs.txt"], "need --lexicon"),
        (["--lexicon", "full", "--lexicon-path", "absent.txt"], "absent.txt"),
        (["--lexicon", "full", "--lexicon-path", "."], "no full lexicon in this folder"),
        (["--lexicon", "strong", "--lexicon-path", "gt.json"], "strong lexicons are a folder"),
        (["--lexicon", "weak", "--lexicon-path", "gt.json", "--lexicon-rule", "x"], "unknown lexicon rule 'x'"),
        (["--lexicon", "weak", "--lexicon-path", "gt.json", "--protocol", "db"], "compares places only"),
        (["--images", "."], "--images needs --report"),
        (["--report", "r", "--images", "absent"], "absent: no such folder"),
        (["--report", "r", "--report-images", "-1"], "--report-images"),
        (["--confidence", "nan"], "--confidence must be within 0 to 1"),
        (["--strict"], "1 of 2 images are missing"),
        (["--json", "gt.json/out.json"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(sides, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["score", *sides, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and len([line for line in error.splitlines() if "error:" in line]) == 1


def test_a_strong_lexicon_is_missed_by_name(sides, tmp_path, capsys):
    (tmp_path / "new_voc_img_1.txt").write_text("HELLO\n")
    arguments = ["--lexicon", "strong", "--lexicon-path", str(tmp_path)]
    assert main(["score", *sides, *arguments]) == 2
    assert "new_voc_img_2.txt: no strong lexicon for image 2" in capsys.readouterr().err


def test_repairs_are_listed_and_refused_under_strict(tmp_path, capsys):
    for name, line in (("gt", "10,10,10,60,110,60,110,10,####hello"), ("det", "10,10,110,10,110,60,10,60,####hello")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("0000001.txt", f"{line}\n")
    sides = ["--ground-truth", str(tmp_path / "gt.zip"), "--predictions", str(tmp_path / "det.zip")]
    assert main(["score", *sides]) == 0
    shown = capsys.readouterr().out
    assert "put right 1 (--strict" in shown and "0000001.txt, line 1" in shown
    assert printed_figures(shown)["None-E2E_RESULTS"] == [1.0, 1.0, 1.0]
    assert main(["score", *sides, "--strict"]) == 2
    assert "line 1" in capsys.readouterr().err


def test_the_report_shows_figures_and_every_kind_of_mistake(sides, tmp_path):
    arguments = ["--protocol", "custom", "--report", str(tmp_path / "r")]
    assert main(["score", *sides, *arguments]) == 0
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "http" not in page and "<script" not in page and 'src="data:image/jpeg;base64,' in page
    assert "66.67" in page and "33.33" in page
    assert "misread: “w0rld” instead of “&lt;b&gt;world”" in page and "<b>world" not in page
    assert "missed: “missing”" in page and "false alarm: “ghost”" in page
    assert page.index("a.png: 1 false alarm, 1 misread") < page.index("2: 1 missed")
    assert page.count("<svg") == 2 and "best" not in page.split("<svg")[0]


def test_a_broken_picture_is_named_and_the_rest_is_drawn(sides, tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"no picture")
    arguments = ["--report", str(tmp_path / "r"), "--images", str(tmp_path / "pictures"), "--report-images", "1"]
    assert main(["score", *sides, *arguments]) == 1
    assert "a.png" in capsys.readouterr().out
    assert (tmp_path / "r" / "index.html").read_text(encoding="utf-8").count("<figure ") == 1


def golden_runs(name, *keys):
    """(id, run) of one golden file."""
    path = golden_root() / "evaluation" / f"{name}.golden.json"
    groups = load(f"{name}.golden") if path.is_file() else {}
    return [
        pytest.param(run, id=f"evaluation-score-{name}-{key}-{run['cases']}-{number}")
        for key in keys
        for number, run in enumerate(groups.get(key, []))
    ]


PLACES = {
    "iou": "db",
    "deteval": "db_deteval",
    "icdar2013": "db_icdar2013",
    "mtwi2018": "db_mtwi2018",
    "hmean-iou": "mmocr",
    "hmean-ic13": "mmocr_ic13",
}


@pytest.mark.golden
@pytest.mark.parametrize("run", golden_runs("text.detection", "db", "mmocr"))
def test_evaluation_score_command_gives_the_golden_figures_of_places(cases, run, tmp_path, capsys):
    arguments = write_documents(cases["datasets"][run["cases"]]["images"], tmp_path)
    threshold = run["box_thresh"] if "evaluator" in run else run["score_thr"]
    if threshold is not None:
        arguments += ["--confidence", str(threshold)]
    name = run.get("evaluator") or run["metric"]
    assert main(["score", *arguments, "--protocol", PLACES[name]]) == 0
    figures = run["figures"] if "evaluator" in run else {n: run["best"][f"{name}:{n}"] for n in FIGURES}
    (printed,) = printed_figures(capsys.readouterr().out).values()
    assert printed == pytest.approx([float(figures[n]) for n in FIGURES], abs=1e-12)


@pytest.mark.golden
@pytest.mark.parametrize("run", golden_runs("text.testr", "runs"))
def test_evaluation_score_command_gives_testrs_golden_figures(cases, run, tmp_path, capsys):
    golden = load("text.testr.golden")
    images = cases["datasets"][run["cases"]]["images"]
    icdar = run["cases"] == "icdar2015"
    if icdar:  # the texts that have scores, and quads in the direction of the curve script
        rows = {key: {"text": e["text"], "char_scores": {"rest": golden["score_rest"], "rows": e["rows"]}}
                for key, e in golden["score_rows"].items()}  # fmt: skip
        images = [
            {
                **image,
                "gt": [{**word, "points": word["points"][::-1]} for word in image["gt"]],
                "pred": [{**word, **rows[f"{image['id']}/{i}"]} for i, word in enumerate(image["pred"])],
            }
            for image in images
        ]
    arguments = [*write_documents(images, tmp_path), "--protocol", run["cases"], "--flavour", "testr"]
    label = "None"
    if run["lexicon_type"] is not None:
        arguments += write_lexicon(cases, run, tmp_path)
        label = arguments[arguments.index("--lexicon") + 1].capitalize()
        if not run["weighted"]:
            nearest = not icdar or run["lexicon_type"] == 1
            arguments += ["--lexicon-rule", "testr_nearest" if nearest else "testr"]
    if run["confidence"] is not None:
        arguments += ["--confidence", str(run["confidence"])]
    assert main(["score", *arguments]) == 0
    printed = printed_figures(capsys.readouterr().out)
    for name, task in (("DETECTION_ONLY_RESULTS", "det"), (f"{label}-E2E_RESULTS", "e2e")):
        assert printed[name] == pytest.approx([float(run["figures"][task][n]) for n in FIGURES], abs=1e-12)


def test_the_options_are_those_of_the_python_api():
    options = vars(build_parser().parse_args(["score", "--ground-truth", "a", "--predictions", "b"]))
    assert set(inspect.signature(score).parameters) <= set(options)


def test_help_and_docs_name_everything_there_is(capsys):
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    guide = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name in (*PROTOCOLS, *FLAVOURS):
        assert re.search(rf"\b{name}\b", shown) and f"`{name}`" in guide, name
    for name in LEXICON_RULES:
        assert f"`{name}`" in guide, name


def test_a_report_of_places_has_no_misread_words(sides, tmp_path, capsys):
    assert main(["score", *sides, "--protocol", "db", "--report", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "misread" not in page and "false alarm: “ghost”" in page and page.count("<svg") == 2
    assert f"report: {tmp_path / 'r' / 'index.html'}" in capsys.readouterr().out
