"""Every file under configs/: it loads, its names exist, and the model it describes can be built (in small)."""

from functools import cache
from pathlib import Path

import pytest
import yaml
from fvcore.common.config import CfgNode
from tiny import OVERRIDES, pairs

from fasttcm.charset import CHARSETS, LISTED
from fasttcm.config import load_config
from fasttcm.data.catalog import known_datasets
from fasttcm.engine.build import build_model, build_test_mapper, build_train_mapper
from fasttcm.errors import FastTCMError

ROOT = Path(__file__).parents[2] / "configs"
FILES = sorted(ROOT.rglob("*.yaml"))


def bases_of(file: Path) -> list[Path]:
    given = yaml.safe_load(file.read_text()).get("_BASE_", [])
    return [(file.parent / base).resolve() for base in ([given] if isinstance(given, str) else given)]


BASES = {base for file in FILES for base in bases_of(file)}
RUNNABLE = [file for file in FILES if file.resolve() not in BASES and file.name != "base.yaml"]
KEPT = ("MODEL.TEXT.MAX_LENGTH", "MODEL.FPN.TOP_BLOCK", "MODEL.ABCNET.HEAD_LEVELS", "MODEL.ABCNET.SIZES_OF_INTEREST")
"""Settings that the tiny configuration would change but that a file's others must fit."""
SMALL = {key: value for key, value in OVERRIDES.items() if key.startswith("MODEL.") and key not in KEPT}


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def loaded(file: Path, *overrides: str) -> CfgNode:
    return load_config(file, overrides)


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_file_loads_and_names_known_datasets(file: Path) -> None:
    cfg = loaded(file)
    for dataset in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        assert dataset in known_datasets() or "/" in dataset, f"{dataset} is neither registered nor a path"
    build_train_mapper(cfg), build_test_mapper(cfg)
    if cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupMultiStepLR":
        assert all(0 < step < cfg.SOLVER.MAX_ITER for step in cfg.SOLVER.STEPS)


def test_runnable_files_write_to_folders_of_their_own() -> None:
    folders: dict[str, list[str]] = {}
    for file in RUNNABLE:
        folders.setdefault(loaded(file).OUTPUT_DIR, []).append(name(file))
    assert folders and {folder: files for folder, files in folders.items() if len(files) > 1} == {}


def different_models() -> list[Path]:
    """One file for each model that the files describe in small: most differ in their schedules only."""
    models: dict[str, Path] = {}
    for file in RUNNABLE:
        try:
            key = loaded(file, *pairs(small_for(file)), "MODEL.WEIGHTS", "").MODEL.dump()
        except FastTCMError:  # reported by the first test
            key = str(file)
        models.setdefault(key, file)
    return list(models.values())


def small_for(file: Path) -> dict[str, object]:
    deep = loaded(file).MODEL.RESNET.STRIDE_IN_1X1 or "dcn" in name(file).lower()
    layers = loaded(file).MODEL.TCM.SPOTTER_TEXT_LAYERS or 1
    small = SMALL | {"MODEL.CLIP.TEXT_LAYERS": layers} | ({"MODEL.RESNET.DEPTH": 50} if deep else {})
    own_characters = loaded(file).MODEL.TEXT.CHARSET not in CHARSETS  # a file that users bring
    return small | ({"MODEL.TEXT.CHARSET": f"{LISTED}天地"} if own_characters else {})


@pytest.mark.parametrize("file", different_models(), ids=name)
def test_the_model_of_a_file_can_be_built(file: Path) -> None:
    model = build_model(loaded(file, *pairs(small_for(file))), weights=False)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


@pytest.mark.parametrize("dataset", ["pretrain", "pretrain_icdar2015", "totaltext", "ctw1500", "icdar2015"])
@pytest.mark.parametrize("version", ["", "v2/"])
def test_abcnet_has_every_backbone_for_every_dataset_and_its_published_settings(version: str, dataset: str) -> None:
    folder = ROOT / "abcnet" / version / dataset
    for backbone in ("imagenet_r50", "clip_r50", "tcm_cr50", "fasttcm_cr50"):
        cfg = loaded(folder / f"{backbone}.yaml")
        assert backbone == cfg.MODEL.BACKBONE.NAME
        assert (("bifpn", 4) if version else ("fpn", 0)) == (cfg.MODEL.FPN.KIND, cfg.MODEL.ABCNET.COORD_CONVS)
        assert cfg.MODEL.ABCNET.INFERENCE_TH_TEST == cfg.TEST.CONFIDENCE
    large = dataset.endswith("icdar2015") and (version or dataset.startswith("pretrain"))
    resolution = [16, 64] if large else [8, 128] if dataset == "ctw1500" else [8, 32]
    assert resolution == cfg.MODEL.ABCNET.POOLER_RESOLUTION
    assert (30.0 if dataset.endswith("icdar2015") else 0.0) == cfg.INPUT.ROTATE
    sizes = {"ctw1500": (800, 1024), "icdar2015": (2000, 4000)}
    assert sizes.get(dataset, (1000, 1824)) == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    published = loaded(folder / "imagenet_r50.yaml")
    assert published.INPUT.FORMAT == "BGR" and published.MODEL.RESNET.STRIDE_IN_1X1
