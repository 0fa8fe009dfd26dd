"""Configuration, data, checkpoints, training and evaluation under detectron2 against the default host."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2", reason="detectron2 is not installed: the adapter's tests need it")

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from reference import golden_root
from tiny import OVERRIDES, pairs, tiny_config
from tiny_d2 import RETINANET, foreign_config, own_config

import fasttcm.engine.build as build
from fasttcm import Spotter
from fasttcm.config import load_config
from fasttcm.d2 import (
    TextCheckpointer,
    TextEvaluator,
    TextMapper,
    TextTrainer,
    add_fasttcm_config,
    load_d2_config,
    register_dataset_path,
    register_datasets,
    to_fasttcm_config,
)
from fasttcm.data.loading import build_train_loader
from fasttcm.data.synth import SynthOptions, generate_dataset
from fasttcm.engine.checkpoint import load_weights, read_checkpoint, save_model
from fasttcm.engine.evaluate import evaluate_model, figures
from fasttcm.engine.seed import seed_iteration
from fasttcm.engine.train import train
from fasttcm.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data") / "words"
    options = SynthOptions(image_size=(64, 96), words_per_image=(1, 2), word_height=(16, 24), illegible_probability=0.0)
    generate_dataset(folder, count=6, seed=3, options=options, processes=1, progress=False)
    return str(folder)


def own(words: str, folder: Path, **changes: Any) -> Any:
    data = {"DATASETS__TRAIN": [words], "DATASETS__TEST": [words], "OUTPUT_DIR": str(folder)}
    return own_config(**{**data, **changes})


def test_a_file_means_the_same_in_both_hosts(tmp_path: Path) -> None:
    for file in sorted((ROOT / "configs").rglob("*.yaml")):
        expected = load_config(file)
        named = ["MODEL.META_ARCHITECTURE", expected.MODEL.META_ARCHITECTURE]  # a protocol's file names no head
        assert to_fasttcm_config(load_d2_config(file, named)) == expected, file
    text = "MODEL: {META_ARCHITECTURE: ABCNet, DEVICE: cpu}\nSOLVER: {BASE_LR: 0.5, AMP: {ENABLED: false}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    cfg = load_d2_config(tmp_path / "mine.yaml", ["MODEL.ABCNET.NUM_CONVS", "2", "SEED", "7", "VIS_PERIOD", "3"])
    assert (cfg.MODEL.DEVICE, cfg.SOLVER.BASE_LR, cfg.MODEL.ABCNET.NUM_CONVS, cfg.VIS_PERIOD) == ("cpu", 0.5, 2, 3)
    assert cfg.MODEL.BACKBONE.FREEZE_AT == 0 and cfg.SEED == 7


def test_somebody_elses_defaults_stay() -> None:
    from detectron2.config import get_cfg

    plain, extended = get_cfg(), get_cfg()
    add_fasttcm_config(extended)
    add_fasttcm_config(extended)
    for key in ("SOLVER", "INPUT", "TEST", "DATALOADER"):
        assert plain[key].items() <= {k: extended[key][k] for k in plain[key]}.items()
    assert extended.MODEL.BACKBONE.FREEZE_AT == 2 and extended.MODEL.TCM.LOSS == "dice"


def test_unknown_keys_are_listed_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "adelaidet.yaml").write_text("MODEL: {BATEXT: {VOC_SIZE: 96}, BACKBON: {NAME: x}}\n")
    with pytest.raises(ConfigError) as caught:
        load_d2_config(tmp_path / "adelaidet.yaml", ["SOLVER.BASE_LRR", "1"])
    for part in ("MODEL.BATEXT.VOC_SIZE", "MODEL.BACKBON.NAME (did you mean MODEL.BACKBONE.NAME?)", "SOLVER.BASE_LR?"):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="no value"):
        load_d2_config(None, ["SEED"])
    with pytest.raises(ConfigError, match="does not exist"):
        load_d2_config(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match=r"MODEL\.DEVICE"):
        load_d2_config(None, ["MODEL.DEVICE", "3"])
    with pytest.raises(ConfigError, match=r"BACKBONE\.NAME"):
        load_d2_config(None, ["MODEL.META_ARCHITECTURE", "ABCNet", "MODEL.BACKBONE.NAME", "build_resnet_backbone"])


def test_datasets_are_in_the_catalog(words: str) -> None:
    assert "totaltext_train" in DatasetCatalog and "icdar2015_test" in DatasetCatalog
    assert register_datasets(["totaltext_train"]) == []
    assert register_dataset_path(words) == words == register_dataset_path(words)
    entries = DatasetCatalog.get(words)
    index = json.loads((Path(words) / "annotations.json").read_text())
    assert [entry["height"] for entry in entries] == [image["height"] for image in index["images"]]
    assert sum(len(entry["annotations"]) for entry in entries) == len(index["annotations"])
    first = next(word for entry in entries for word in entry["annotations"] if not word["iscrowd"])
    assert len(first["beziers"]) == 16 and len(first["rec"]) == 25 and first["text"]
    assert MetadataCatalog.get(words).evaluator_type == "fasttcm"


def test_the_mapper_keeps_words_and_survives_broken_images(words: str, tmp_path: Path) -> None:
    register_dataset_path(words)
    entry = max(DatasetCatalog.get(words), key=lambda entry: len(entry["annotations"]))
    asked = [word["text"] for word in entry["annotations"] if not word["iscrowd"]]
    cfg = foreign_config(RETINANET, "build_fasttcm_fpn_backbone", INPUT__FORMAT="BGR")
    sample = TextMapper(cfg, True)(entry)
    height, width = sample["image"].shape[-2:]
    assert min(height, width) == 64 and len(sample["instances"]) == len(asked)
    assert sample["instances"].image_size == (height, width)
    assert list(sample["instances"].gt_texts) == asked
    rgb = TextMapper(foreign_config(RETINANET, "build_fasttcm_fpn_backbone", INPUT__CROP__ENABLED=False), False)(entry)
    bgr = TextMapper(cfg, False)(entry)
    assert torch.equal(rgb["image"], bgr["image"].flip(0)) and "instances" not in rgb
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    broken = TextMapper(cfg, False)({**entry, "file_name": str(tmp_path / "broken.jpg")})
    assert "broken.jpg" in broken["error"] and broken["image"].ndim == 3


def test_evaluator_gives_the_figures_of_the_default_host(words: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = own(words, tmp_path, MODEL__ABCNET__INFERENCE_TH_TEST=0.0)
    model = build_model(cfg).eval()
    loader = TextTrainer.build_test_loader(cfg, words)
    inside = inference_on_dataset(model, loader, TextEvaluator(words, cfg))
    config = to_fasttcm_config(cfg)
    outside = figures(evaluate_model(model.model, config, build.load_test_datasets(config))[words])
    assert {f"{group}/{key}": value for group, part in inside.items() for key, value in part.items()} == outside


def test_loss_of_the_first_step_is_that_of_the_default_host(words: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = own(words, tmp_path)
    trainer = TextTrainer(cfg)
    config = to_fasttcm_config(cfg)
    model = build.build_model(config).train()
    load_weights(model, trainer.model.model.state_dict(), "detectron2")
    dataset = build.load_train_dataset(config)
    order = build.build_train_order(config, dataset)
    loader = build_train_loader(dataset, build.build_train_mapper(config), batch_size=2, seed=0, order=order)
    ours, theirs = next(iter(loader)), next(iter(trainer.data_loader))
    seed_iteration(0, 0)
    expected = model(ours)
    seed_iteration(0, 0)
    found = trainer.model(theirs)
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}


def test_both_hosts_train_alike_and_read_each_other(words: str, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    config = tiny_config(DATASETS__TRAIN=[words], DATASETS__TEST=[], OUTPUT_DIR=str(tmp_path / "lightning"))
    torch.manual_seed(0)
    save_model(start, build.build_model(config), config, 0)
    config = tiny_config(
        DATASETS__TRAIN=[words], DATASETS__TEST=[], OUTPUT_DIR=str(tmp_path / "lightning"), MODEL__WEIGHTS=str(start)
    )
    train(config, device="cpu")
    lightning = read_checkpoint(tmp_path / "lightning" / "model_final.safetensors").weights
    trainer = TextTrainer(own(words, tmp_path / "d2", MODEL__WEIGHTS=str(start), DATASETS__TEST=[]))
    trainer.resume_or_load(resume=False)
    trainer.train()
    stored = read_checkpoint(tmp_path / "d2" / "model_final.pth")
    assert stored.config is not None and stored.iteration == 4
    assert stored.weights.keys() == lightning.keys()
    for name, value in lightning.items():
        torch.testing.assert_close(stored.weights[name], value, msg=name)
    low = ["MODEL.ABCNET.INFERENCE_TH_TEST", "0.0"]
    spotters = [
        Spotter.from_checkpoint(file, device="cpu", overrides=low)
        for file in (tmp_path / "d2" / "model_final.pth", tmp_path / "lightning" / "model_final.safetensors")
    ]
    picture = str(next((Path(words) / "images").iterdir()))
    a, b = (spotter(picture) for spotter in spotters)
    assert a.texts == b.texts and len(a) > 0
    torch.testing.assert_close(a.boxes, b.boxes, rtol=1e-3, atol=1e-2)


def test_a_resumed_run_is_the_uninterrupted_one(words: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = TextTrainer(own(words, tmp_path / "whole", DATASETS__TEST=[]))
    start = {key: value.clone() for key, value in whole.model.state_dict().items()}
    whole.resume_or_load(resume=False)
    whole.train()
    first = TextTrainer(own(words, tmp_path / "parts", DATASETS__TEST=[]))
    first.model.load_state_dict(start)
    first.max_iter = 2
    first.train()
    (tmp_path / "parts" / "model_final.pth").unlink(missing_ok=True)
    (tmp_path / "parts" / "last_checkpoint").write_text("model_0000001.pth")
    second = TextTrainer(own(words, tmp_path / "parts", DATASETS__TEST=[]))
    second.resume_or_load(resume=True)
    assert second.start_iter == 2
    second.train()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_another_vocabulary_is_refused(words: str, tmp_path: Path) -> None:
    config = tiny_config(MODEL__TEXT__CHARSET="lower36")
    save_model(tmp_path / "other.safetensors", build.build_model(config), config, 0)
    model = build_model(own(words, tmp_path))
    with pytest.raises(CheckpointError, match="CHARSET is 'lower36' in the checkpoint and 'ascii'"):
        TextCheckpointer(model, str(tmp_path / "run")).load(str(tmp_path / "other.safetensors"))


@pytest.mark.golden
@pytest.mark.parametrize("system", ["clip_rn50"])
@pytest.mark.parametrize("kind", ["clip_resnet", "tcm", "fasttcm"])
def test_a_clip_archive_goes_into_the_backbone(system: str, kind: str, tmp_path: Path) -> None:
    archive = str(golden_root() / system / "tiny_rn.pt")
    from fasttcm.clip import load_clip

    sizes = load_clip(archive).sizes
    options = {
        "MODEL.CLIP.EMBED_DIM": sizes.embed_dim,
        "MODEL.CLIP.LAYERS": list(sizes.layers),
        "MODEL.CLIP.WIDTH": sizes.width,
        "MODEL.CLIP.IMAGE_RESOLUTION": sizes.image_resolution,
        "MODEL.CLIP.CONTEXT_LENGTH": sizes.context_length,
        "MODEL.CLIP.VOCAB_SIZE": sizes.vocab_size,
        "MODEL.CLIP.TEXT_WIDTH": sizes.text_width,
        "MODEL.CLIP.TEXT_HEADS": sizes.text_heads,
        "MODEL.CLIP.TEXT_LAYERS": sizes.text_layers,
        "MODEL.TCM.NUM_CONTEXTS": 1,
        "MODEL.TCM.CONTEXT_LENGTH": sizes.context_length - 1,
    }
    changes = {key.replace(".", "__"): value for key, value in options.items()}
    model = build_model(foreign_config(RETINANET, f"build_{kind}_fpn_backbone", **changes))
    TextCheckpointer(model, str(tmp_path)).load(archive)
    built = build_model(
        foreign_config(RETINANET, f"build_{kind}_fpn_backbone", MODEL__CLIP__WEIGHTS=archive, **changes)
    )
    clip = ("trunk.", "pool.", "tower.") if kind != "clip_resnet" else ("bottom_up.",)
    compared = [name for name in built.state_dict() if any(part in name for part in clip)]
    assert len(compared) > 20
    for name in compared:
        assert torch.equal(model.state_dict()[name], built.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["MODEL.META_ARCHITECTURE", "RetinaNett"], "META_ARCHITECTURE is 'RetinaNett'.*did you mean RetinaNet"),
        (["MODEL.BACKBONE.NAME", "build_fastcm_backbone"], "NAME is 'build_fastcm_backbone'.*build_fasttcm_backbone"),
    ],
)
def test_unregistered_names_are_told_with_the_nearest(options: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        TextTrainer.build_model(load_d2_config(None, options))


def test_train_net_is_detectron2s_command_line(words: str, tmp_path: Path) -> None:
    known = {action.dest for action in default_argument_parser()._actions}
    assert {"config_file", "num_gpus", "num_machines", "machine_rank", "dist_url", "eval_only", "resume"} <= known
    options = {"MODEL.META_ARCHITECTURE": "ABCNet", **OVERRIDES, "MODEL.DEVICE": "cpu", "OUTPUT_DIR": str(tmp_path)}
    options |= {"DATASETS.TRAIN": [words], "DATASETS.TEST": [words], "SOLVER.MAX_ITER": 2}
    command = [sys.executable, str(ROOT / "scripts" / "train_net.py")]
    done = subprocess.run([*command, *pairs(options)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "model_final.pth").is_file() and "detection" in done.stdout
    wrong = subprocess.run([*command, "MODEL.META_ARCHITECTUR", "ABCNet"], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.strip().endswith("(did you mean MODEL.META_ARCHITECTURE?)")
    assert "Traceback" not in wrong.stderr
