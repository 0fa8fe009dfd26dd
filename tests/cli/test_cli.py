"""The commands as a person types them."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasttcm import Spotter
from fasttcm.cli.main import COMMANDS, build_parser, main


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "sub/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_spot_writes_json_and_pictures(tiny_weights: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        main(
            [
                "spot",
                str(pictures),
                "--weights",
                str(tiny_weights),
                "--output",
                str(out),
                "--batch-size",
                "2",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert len(list(out.glob("*.json"))) == len(list(out.glob("*.png"))) == 3
    entry = json.loads((out / "b.json").read_text())
    assert (entry["width"], entry["height"]) == (60, 40) and entry["words"]
    assert set(entry["words"][0]) == {"points", "text", "score", "text_score", "bezier"}
    with Image.open(out / "b.png") as drawn:
        assert drawn.size[0] >= 60


def test_spot_reports_bad_files_and_does_the_others(
    tiny_weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "text.jpg").write_text("not a picture")
    (pictures / "cut.png").write_bytes((pictures / "a.png").read_bytes()[:200])
    out = tmp_path / "out"
    arguments = ["spot", str(pictures), "--weights", str(tiny_weights), "--output", str(out), "--device", "cpu"]
    code = main([*arguments, "--no-pictures"])
    printed = "".join(capsys.readouterr().out.split())
    assert code == 1
    assert all(name in printed for name in ("empty.png", "text.jpg", "cut.png")) and "in3pictures" in printed
    assert len(list(out.glob("*.json"))) == 3 and not list(out.glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spot", "nowhere.jpg", "--weights", "w.safetensors"], "nowhere.jpg"),
        (["spot", "{picture}", "--weights", "none.safetensors"], "none.safetensors"),
        (["spot", "{picture}", "--weights", "{weights}", "--batch-size", "0"], "--batch-size"),
        (["spot", "{picture}", "--weights", "{weights}", "--device", "tpu9"], "device"),
        (["spot", "{picture}", "--weights", "{weights}", "--opts", "INPUT.MIN_SIZE", "9"], "did you mean INPUT.M"),
        (["train", "--config-file", "none.yaml"], "none.yaml"),
        (["train", "SOLVER.BASELR", "1"], "did you mean SOLVER.BASE_LR"),
        (["train", "MODEL.CLIP.WEIGHTS", "random"], "DATASETS.TRAIN is empty"),
        (["train", "DATASETS.TRAIN", "totaltxt_train", "MODEL.CLIP.WEIGHTS", "none.pt"], "none.pt"),
        (["eval"], "MODEL.WEIGHTS"),
        (["eval", "MODEL.WEIGHTS", "{weights}"], "DATASETS.TEST is empty"),
        (
            ["eval", "MODEL.WEIGHTS", "{weights}", "MODEL.TEXT.CHARSET", "lower36"],
            "is 'ascii' in the checkpoint and 'low",
        ),
        (["eval", "MODEL.WEIGHTS", "{weights}", "DATASETS.TEST", "totaltxt_val"], "totaltext_val"),
        (["synth", "{folder}", "-n", "1"], "{folder}"),
        (["synth", "new", "-n", "0"], "--count"),
        (["synth", "new", "-n", "1", "--fonts", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tiny_weights: Path, pictures: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    known = {"weights": tiny_weights, "picture": pictures / "a.png", "folder": pictures}
    assert main([argument.format(**known) for argument in arguments]) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if "error:" in line]
    assert len(lines) == 1 and message.format(**known) in lines[0] and "Traceback" not in error


def test_settings_may_stand_on_both_sides_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "MODEL.WEIGHTS", "none.safetensors", "--device", "cpu", "SEED", "3"]) == 2
    assert "none.safetensors" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["eval", "MODEL.WEIGHTS", "none.safetensors", "--devise", "cpu"])
    assert stop.value.code == 2 and "--devise" in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS"):
        main(["--debug", "eval"])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0 and f"fasttcm {command}" in capsys.readouterr().out.split("examples:")[1]


def test_spot_options_match_the_python_api() -> None:
    """A parameter of the API that the command lacks, or the other way round, is a drift."""
    options = vars(build_parser().parse_args(["spot", "x", "--weights", "w"]))
    api = set(inspect.signature(Spotter.from_checkpoint).parameters)
    assert api - {"checkpoint"} <= set(options)


def test_synth_eval_round_trip(tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    scene = ["--size", "64", "64", "--words", "1", "1", "--word-height", "14", "20", "--processes", "1"]
    assert main(["synth", str(data), "-n", "2", *scene]) == 0
    arguments = ["eval", "--device", "cpu", "--output", str(tmp_path / "out"), "MODEL.WEIGHTS", str(tiny_weights)]
    assert main([*arguments, "DATASETS.TEST", str(data)]) == 0
    assert "detection" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out/data/metrics.json").read_text())
    assert {"detection/hmean", "end_to_end/hmean", "end_to_end_full/hmean"} <= set(metrics)
    expected = f"[['{data}', 'detection/hmean', 0.9, 0.01]]"
    assert main([*arguments, "DATASETS.TEST", str(data), "TEST.EXPECTED_RESULTS", expected]) == 1
    picture = next((data / "images").iterdir())
    picture.write_bytes(b"broken")
    assert main([*arguments, "DATASETS.TEST", str(data)]) == 1
    assert picture.name in capsys.readouterr().out
    shutil.rmtree(data)
