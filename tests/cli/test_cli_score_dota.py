"""DOTA through the command: folders in the published form."""

import json
from pathlib import Path

import pytest

from fasttcm.cli.main import main
from fasttcm.evaluation import DOTA_VERSIONS

BOX = "100 100 140 100 140 120 100 120"
FAR = "500 500 540 500 540 520 500 520"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    truth, found = tmp_path / "labelTxt", tmp_path / "Task1"
    truth.mkdir()
    found.mkdir()
    (truth / "P1.txt").write_text(f"imagesource:x\ngsd:1\n{BOX} plane 0\n{FAR} ship 0\n")
    (found / "Task1_plane.txt").write_text(f"P1 0.9 {BOX}\nP1 0.8 {FAR}\n")
    return truth, found


def test_average_precision_by_class_and_mean(folders: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    arguments = ["score", "--ground-truth", str(folders[0]), "--predictions", str(folders[1]), "--protocol", "dota1.0"]
    assert main([*arguments, "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    mean = 1 / len(DOTA_VERSIONS["1.0"].classes)  # the plane was found, the ship was not, the others do not occur
    assert f"mAP: {mean:.8f}"[:-2] in printed and "plane" in printed
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["mean_average_precision"] == pytest.approx(mean, abs=1e-12)
    assert content["classes"]["plane"]["average_precision"] == pytest.approx(1, abs=1e-12)
    assert content["classes"]["ship"]["average_precision"] == 0


def test_tiles_are_merged_first(folders: tuple[Path, Path], capsys) -> None:
    truth, found = folders
    tiles = [f"P1__1__0___0 0.9 {BOX}", f"P1__1__90___90 0.7 {' '.join(str(int(v) - 90) for v in BOX.split())}"]
    (found / "Task1_plane.txt").write_text("\n".join(tiles) + "\n")
    arguments = ["score", "--ground-truth", str(truth), "--predictions", str(found), "--protocol", "dota1.5"]
    assert main([*arguments, "--merge", "result_merge", "--metric", "area"]) == 0
    assert f"mAP: {1 / len(DOTA_VERSIONS['1.5'].classes)}" in capsys.readouterr().out  # area: exactly one sixteenth


def test_options_of_texts_are_refused(folders: tuple[Path, Path], capsys) -> None:
    arguments = ["score", "--ground-truth", str(folders[0]), "--predictions", str(folders[1]), "--protocol", "dota1.0"]
    assert main([*arguments, "--confidence", "0.5"]) == 2
    assert "--confidence does not go with --protocol dota1.0" in capsys.readouterr().err
    assert main([*arguments[:-1], "dota2.0"]) == 2
