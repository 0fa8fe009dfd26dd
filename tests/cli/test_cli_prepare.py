"""``fasttcm prepare`` on the command line."""

import os
import signal
import time
import zipfile
from pathlib import Path

import pytest
from prepare_samples import image_bytes, index_of

from fasttcm.cli.main import main
from fasttcm.data.catalog import load_dataset
from fasttcm.data.prepare.options import READER_OPTIONS
from fasttcm.data.prepare.recipes import RECIPES

LINE = "10,10,40,10,40,20,10,20,{}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "ch4_test_images").mkdir(parents=True)
    (folder / "Challenge4_Test_Task1_GT").mkdir()
    for number in (1, 2):
        (folder / f"ch4_test_images/img_{number}.jpg").write_bytes(image_bytes())
        (folder / f"Challenge4_Test_Task1_GT/gt_img_{number}.txt").write_text("\ufeff" + LINE.format("word"))
    return folder


def test_prepare_prints_a_line_for_each_split(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "icdar2015"
    assert main(["prepare", "icdar2015", str(source), str(out)]) == 0
    printed, noise = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[0] == "train: not in the source (no ground-truth files)"
    assert lines[1] == f"icdar2015_test: 2 of 500 published images, 2 words (0 do not care): {out / 'test'}"
    assert len(lines) == 2 and noise == "", "no bar without a terminal"
    assert len(load_dataset(out / "test", strict=True)) == 2


def test_problems_are_listed_and_the_code_is_1(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"1,2,{i}\n" for i in range(8))
    (source / "Challenge4_Test_Task1_GT/gt_img_2.txt").write_text(lines)
    arguments = ["prepare", "icdar2015", str(source), str(tmp_path / "out")]
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "8 problems: 8 x fewer than 8 numbers (skipped)" in printed and "... and 3 more" in printed
    assert "Challenge4_Test_Task1_GT/gt_img_2.txt:5: " in printed and "gt_img_2.txt:6: " not in printed
    assert main([*arguments, "--strict"]) == 2
    assert "gt_img_2.txt:1: fewer than 8 numbers" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in RECIPES) and "1255" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare"], "needs NAME SRC DST"),
        (["prepare", "icdar2015"], "needs NAME SRC DST"),
        (["prepare", "icdar1015", "{source}", "out"], "did you mean icdar2015"),
        (["prepare", "icdar2015", "nowhere", "out"], "nowhere: no such file"),
        (["prepare", "icdar2015", "{source}", "{source}"], "inside the source"),
        (["prepare", "icdar2015", "{source}", "out", "--latin-only"], "no option --latin-only"),
        (["prepare", "icdar2015", "{source}", "out", "--split", "val"], "no split 'val'"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main([argument.format(source=source) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and message in errors[0] and not (tmp_path / "out").exists()


def test_every_option_of_a_reader_is_an_option_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in shown for name in READER_OPTIONS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_in_the_middle_and_run_again(tmp_path: Path) -> None:
    """A process that gets no chance to tidy up: the next run ends as an undisturbed one does."""
    source, out, whole = tmp_path / "source", tmp_path / "out", tmp_path / "whole"
    source.mkdir()
    count = 300
    with (
        zipfile.ZipFile(source / "ch4_test_images.zip", "w") as images,
        zipfile.ZipFile(source / "Challenge4_Test_Task1_GT.zip", "w") as texts,
    ):
        for number in range(1, count + 1):
            images.writestr(f"img_{number}.jpg", image_bytes(tone=number % 250) + bytes(20_000))
            texts.writestr(f"gt_img_{number}.txt", LINE.format(number) * 5)
    arguments = ["prepare", "icdar2015", str(source)]
    process = os.fork()
    if process == 0:
        try:
            main([*arguments, str(out)])
        finally:
            os._exit(0)
    while os.waitpid(process, os.WNOHANG) == (0, 0) and not (out / "test/images/img_20.jpg").exists():
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert not (out / "test/annotations.json").exists(), "killed too late for this test"
    assert main([*arguments, str(whole)]) == main([*arguments, str(out)]) == 0
    assert (out / "test/annotations.json").read_bytes() == (whole / "test/annotations.json").read_bytes()
    assert len(index_of(out / "test")[0]) == count
    names = sorted(file.name for file in (whole / "test/images").iterdir())
    for name in names:
        assert (out / "test/images" / name).read_bytes() == (whole / "test/images" / name).read_bytes()
