"""ABCNet on a small FastTCM backbone learns eight pictures by heart: targets, losses, decoding and evaluation agree.

pytest -m slow tests/projects/abcnet/test_abcnet_overfit.py
"""

import csv
import json
from pathlib import Path

import pytest

from fasttcm.config import load_config
from fasttcm.data.synth import SynthOptions, generate_dataset
from fasttcm.engine.train import train

DEMO = Path(__file__).parents[3] / "configs" / "demo" / "fasttcm_abcnet.yaml"
V2 = ["MODEL.FPN.KIND", "bifpn", "MODEL.ABCNET.COORD_CONVS", "2", "MODEL.ABCNET.ADAPTIVE_TRAINING", "True"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_eight_pictures_by_heart(version: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("harbour market station museum bakery garden theatre library")
    options = SynthOptions(
        image_size=(128, 128),
        words_per_image=(1, 3),
        word_height=(22.0, 34.0),
        illegible_probability=0.0,
        low_contrast_probability=0.0,
        vocabulary=tmp_path / "words.txt",
    )
    file = generate_dataset(tmp_path / "data", count=8, seed=30, options=options, processes=1)
    # Pictures without a word are not trained on, so there must be none.
    assert len({word["image_id"] for word in json.loads(file.read_text())["annotations"]}) == 8
    cfg = load_config(
        DEMO,
        [
            *("DATASETS.TRAIN", f"['{tmp_path / 'data'}']", "DATASETS.TEST", f"['{tmp_path / 'data'}']"),
            *("OUTPUT_DIR", str(tmp_path / "out"), "DATALOADER.NUM_WORKERS", "0"),
            *("INPUT.MIN_SIZE_TRAIN", "[128]", "INPUT.MAX_SIZE_TRAIN", "128"),
            *("INPUT.MIN_SIZE_TEST", "128", "INPUT.MAX_SIZE_TEST", "128"),
            # The demo's 36 characters cannot write every annotation (where"), so that not all words could be right.
            *("MODEL.TEXT.CHARSET", "ascii"),
            *("MODEL.TEXT.MAX_LENGTH", "9", "MODEL.ABCNET.TEACHER_FORCING", "1.0"),
            *("SOLVER.BASE_LR", "0.003", "SOLVER.MAX_ITER", "600", "TEST.EVAL_PERIOD", "100"),
            *(V2 if version == "v2" else []),
        ],
    )
    train(cfg, device="cpu")
    with open(tmp_path / "out" / "eval.csv", newline="") as file:
        *_, last = csv.DictReader(file)
    assert float(last["detection/hmean"]) == 1.0
    assert float(last["end_to_end/hmean"]) == 1.0
