from pathlib import Path

import pytest
import torch
from reference import manifest
from tiny import pairs

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.optim import parameter_groups
from fasttcm.errors import CheckpointError
from fasttcm.projects.testr.keys import from_published, matches, published_options, rename_published

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = manifest("testr", "testr_r50_polygon")


def state() -> dict[str, torch.Tensor]:
    return {key: torch.zeros(shape) for key, shape in PUBLISHED.items()}


def test_every_published_weight_has_a_name_here_and_every_weight_here_a_published_one():
    weights = from_published(state())
    cfg = load_config(None, pairs(published_options(state()) | {"MODEL.RESNET.WEIGHTS": "random"}))
    with torch.device("meta"):
        own = build_model(cfg).state_dict()
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in own.items()}


def test_settings_are_read_off_the_shapes():
    options = published_options(state())
    assert options["MODEL.TEXT.MAX_LENGTH"] == 25 and options["MODEL.TEXT.CHARSET"] == "ascii"
    assert (options["MODEL.TESTR.ENC_LAYERS"], options["MODEL.TESTR.DEC_LAYERS"]) == (6, 6)
    lines = state() | {"testr.text_embed.weight": torch.zeros(100, 256)}
    assert published_options(lines)["MODEL.TEXT.MAX_LENGTH"] == 100
    lite = {k: v for k, v in state().items() if "input_proj." not in k or "input_proj.0." in k}
    options = published_options(lite)
    assert (options["MODEL.TESTR.NUM_FEATURE_LEVELS"], options["MODEL.TESTR.IN_LEVELS"]) == (1, ["res5"])
    own = published_options(state() | {"testr.text_class.weight": torch.zeros(55, 256)})
    assert own["MODEL.TEXT.CHARSET"] == "unlisted:53"


def test_the_format_is_recognised_by_its_names():
    assert matches(PUBLISHED)
    assert not matches(["detection_transformer.text_class.weight"]) and not matches([])


def test_shared_weights_that_differ_are_refused():
    broken = state()
    broken["testr.ctrl_point_class.3.bias"] += 1
    with pytest.raises(CheckpointError, match=r"testr\.ctrl_point_class\.3\.bias differs from another name"):
        from_published(broken)


def test_foreign_weights_keep_their_names():
    weights = from_published(state() | {"testr.backbone.0.text_encoder.x": torch.zeros(1)})
    assert "testr.backbone.0.text_encoder.x" in weights
    assert rename_published("testr.backbone.0.text_encoder.x") is None
    assert not [key for key in weights if "inv_freq" in key]


@pytest.mark.parametrize("dataset", ["pretrain", "totaltext", "ctw1500", "icdar2015"])
@pytest.mark.parametrize("backbone", ["imagenet_r50", "clip_r50", "tcm_cr50", "fasttcm_cr50"])
def test_shipped_configurations_train_as_published(dataset, backbone):
    cfg = load_config(ROOT / "configs" / "testr" / dataset / f"{backbone}.yaml")
    model, solver = cfg.MODEL, cfg.SOLVER
    assert (model.BACKBONE.NAME, cfg.OUTPUT_DIR.split("/")[-2:]) == (backbone, [dataset, backbone])
    assert (model.TESTR.DROPOUT, solver.OPTIMIZER, cfg.TEST.FLAVOUR) == (0.1, "AdamW", "testr")
    assert (solver.CLIP_GRADIENTS.CLIP_TYPE, solver.CLIP_GRADIENTS.CLIP_VALUE) == ("norm", 0.1)
    rate, threshold, length = {
        "pretrain": (1e-4, 0.45, 25),
        "totaltext": (1e-5, 0.45, 25),
        "ctw1500": (1e-5, 0.7, 100),
        "icdar2015": (1e-5, 0.3, 25),
    }[dataset]
    found = solver.BASE_LR, model.TESTR.INFERENCE_TH_TEST, model.TEXT.MAX_LENGTH
    assert found == (rate, threshold, length)


@pytest.mark.parametrize("dataset", ["pretrain", "totaltext", "ctw1500", "icdar2015"])
def test_tcm_adds_its_map_to_res4_and_trains_picture_by_picture(dataset):
    cfg = load_config(ROOT / "configs" / "testr" / dataset / "tcm_spotter.yaml")
    model, solver = cfg.MODEL, cfg.SOLVER
    assert (
        *("tcm_cr50", "res4"),
        "imagenet_r50",
    ) == (model.BACKBONE.NAME, model.TCM.SPOTTER_LEVEL, model.TCM.SPOTTER_TRUNK)
    assert model.PIXEL_MEAN == [123.675, 116.28, 103.53] and model.TCM.LOSS_WEIGHT == 2.0
    assert (8 if dataset == "pretrain" else 1) == solver.IMS_PER_BATCH
    assert ("Ranger" if dataset == "ctw1500" else "AdamW") == solver.OPTIMIZER


@pytest.mark.parametrize("backbone", ["imagenet_r50", "fasttcm_cr50"])
def test_the_backbone_and_the_sampling_offsets_learn_at_a_tenth_and_everything_decays(backbone):
    file = ROOT / "configs" / "testr" / "pretrain" / f"{backbone}.yaml"
    small = {"MODEL.RESNET.WEIGHTS": "random", "MODEL.CLIP.WEIGHTS": "random", "MODEL.CLIP.TEXT_LAYERS": 1}
    cfg = load_config(file, pairs(small))
    model = build_model(cfg)
    groups = parameter_groups(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        lr_multipliers=[tuple(pair) for pair in cfg.SOLVER.LR_MULTIPLIERS],
    )
    assert {group["weight_decay"] for group in groups} == {1e-4}
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            slow = "sampling_offsets" in name or name.startswith(("backbone.layer", "backbone.trunk", "backbone.pool"))
            assert rate[id(parameter)] == pytest.approx(1e-5 if slow else 1e-4), name
