"""``fasttcm eval`` scores by everything that a dataset declares."""

import json
from pathlib import Path

import pytest

from fasttcm.cli.main import main


def test_every_protocol_and_lexicon_of_the_card_is_scored(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    scene = ["--size", "64", "64", "--words", "1", "1", "--word-height", "14", "20", "--processes", "1"]
    assert main(["synth", str(data), "-n", "2", *scene]) == 0
    card = json.loads((data / "card.json").read_text())
    (data / "strong").mkdir()
    for image in json.loads((data / "annotations.json").read_text())["images"]:
        (data / "strong" / f"new_voc_img_{image['id']}.txt").write_text("WORD\n")
    full = {"words": "lexicon_full.txt", "pairs": "lexicon_full_pairs.txt"}
    card |= {"protocol": ["custom", "db", "icdar2015"], "lexicons": {"full": full, "strong": "strong"}}
    (data / "card.json").write_text(json.dumps(card))
    arguments = ["eval", "--device", "cpu", "--output", str(tmp_path / "out"), "MODEL.WEIGHTS", str(tiny_weights)]
    assert main([*arguments, "DATASETS.TEST", str(data)]) == 0
    metrics = json.loads((tmp_path / "out/data/metrics.json").read_text())
    groups = {name.rpartition("/")[0] for name in metrics}
    read = {"detection", "end_to_end", "end_to_end_full", "end_to_end_strong"}
    assert groups == read | {f"icdar2015/{group}" for group in read} | {"db/detection"}
    (data / "strong" / f"new_voc_img_{image['id']}.txt").unlink()
    capsys.readouterr()
    assert main([*arguments, "DATASETS.TEST", str(data)]) == 2
    assert f"no strong lexicon for image {image['id']}" in capsys.readouterr().err
