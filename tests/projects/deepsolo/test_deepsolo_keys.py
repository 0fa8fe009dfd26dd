from pathlib import Path

import pytest
import torch
from reference import manifest
from tiny import pairs

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.optim import parameter_groups
from fasttcm.errors import CheckpointError
from fasttcm.projects.deepsolo.keys import from_published, matches, published_options, rename_published

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "deepsolo"
FILES = ("deepsolo_r50_totaltext", "deepsolo_r50_ctw1500")
BACKBONES = ("imagenet_r50", "clip_r50", "tcm_cr50", "fasttcm_cr50")
DATA = ("pretrain", "pretrain_ctw1500", "pretrain_rects", "totaltext", "ctw1500", "icdar2015", "rects")
TEXT = "detection_transformer.ctrl_point_text.0"


def state(file: str = FILES[0]) -> dict[str, torch.Tensor]:
    return {key: torch.zeros(shape) for key, shape in manifest("deepsolo", file).items()}


@pytest.mark.parametrize("file", FILES)
def test_every_published_weight_has_a_name_here_and_every_weight_here_a_published_one(file):
    weights = from_published(state(file))
    cfg = load_config(None, pairs(published_options(state(file)) | {"MODEL.RESNET.WEIGHTS": "random"}))
    with torch.device("meta"):
        own = build_model(cfg).state_dict()
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in own.items()}


def test_settings_are_read_off_the_shapes():
    options = published_options(state())
    assert (options["MODEL.TEXT.CHARSET"], options["MODEL.DEEPSOLO.NUM_POINTS"]) == ("lower36", 25)
    options = published_options(state(FILES[1]))
    assert (options["MODEL.TEXT.CHARSET"], options["MODEL.DEEPSOLO.NUM_POINTS"]) == ("ascii", 50)
    assert (options["MODEL.DEEPSOLO.ENC_LAYERS"], options["MODEL.DEEPSOLO.DEC_LAYERS"]) == (6, 6)
    assert (options["MODEL.DEEPSOLO.ENC_N_POINTS"], options["MODEL.DEEPSOLO.DEC_N_POINTS"]) == (4, 4)
    deeper = {"detection_transformer.backbone.0.backbone.res4.6.conv1.weight": torch.zeros(1)}
    assert published_options(state() | deeper)["MODEL.RESNET.DEPTH"] == 101
    chinese = {f"{TEXT}.weight": torch.zeros(5463, 256)}
    assert published_options(state() | chinese)["MODEL.TEXT.CHARSET"] == "unlisted:5461"


def test_the_format_is_recognised_by_its_names():
    assert matches(manifest("deepsolo", FILES[0]))
    assert not matches([f"{TEXT}.weight"]) and not matches([])


def test_shared_weights_that_differ_are_refused():
    broken = state()
    broken["detection_transformer.ctrl_point_text.3.bias"] += 1
    with pytest.raises(CheckpointError, match=r"ctrl_point_text\.3\.bias differs from another name"):
        from_published(broken)


def test_one_of_the_shared_names_is_enough():
    kept = {key: value for key, value in state().items() if not key.startswith(f"{TEXT}.")}
    assert from_published(kept).keys() == from_published(state()).keys()


def test_foreign_weights_keep_their_names():
    weights = from_published(state() | {"detection_transformer.lang.x": torch.zeros(1), "pixel_mean": torch.zeros(3)})
    assert "detection_transformer.lang.x" in weights and "pixel_mean" not in weights
    assert rename_published("detection_transformer.lang.x") is None and rename_published("other") is None


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_configurations_exist_for_every_backbone(data, backbone):
    cfg = load_config(str(CONFIGS / data / f"{backbone}.yaml"), [])
    model, solver = cfg.MODEL, cfg.SOLVER
    names = [model.BACKBONE.NAME, model.META_ARCHITECTURE]
    assert names == [backbone, "DeepSolo"]
    assert cfg.OUTPUT_DIR.endswith(f"deepsolo/{data}/{backbone}")
    points, charset = {"ctw1500": (50, "ascii"), "rects": (25, "weights/chn_cls_list")}.get(
        data.removeprefix("pretrain_"), (25, "lower36")
    )
    assert (points, points, charset) == (model.DEEPSOLO.NUM_POINTS, model.TEXT.MAX_LENGTH, model.TEXT.CHARSET)
    assert (solver.OPTIMIZER, solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM) == ("AdamW", 1e-4, 1e-4)
    assert (solver.CLIP_GRADIENTS.CLIP_TYPE, solver.CLIP_GRADIENTS.CLIP_VALUE) == ("norm", 0.1)
    rate = 1e-4 if data.startswith("pretrain") else {"ctw1500": 5e-5}.get(data, 1e-5)
    assert rate == pytest.approx(solver.BASE_LR)
    assert {"icdar2015": 0.3, "rects": 0.35}.get(data, 0.4) == pytest.approx(model.DEEPSOLO.INFERENCE_TH_TEST)
    weights = {"ctw1500": (0.5, 1.0), "pretrain_ctw1500": (0.5, 0.5), "rects": (1.0, 1.0)}.get(data, (1.0, 0.5))
    assert weights == (model.DEEPSOLO.POINT_WEIGHT, model.DEEPSOLO.TEXT_WEIGHT)
    turned, cropped = {"ctw1500": (0.0, True), "icdar2015": (0.0, False)}.get(data, (45.0, True))
    assert (turned, cropped) == (cfg.INPUT.ROTATE, cfg.INPUT.CROP.ENABLED)
    sizes = {"icdar2015": (1440, 4000), "ctw1500": (1000, 1200), "pretrain_ctw1500": (1000, 1200)}
    assert sizes.get(data, (1000, 1892)) == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)


def test_the_trunk_learns_at_a_tenth_and_everything_decays():
    overrides = {"MODEL.CLIP.WEIGHTS": "random", "MODEL.RESNET.WEIGHTS": "random", "MODEL.WEIGHTS": ""}
    for backbone in ("imagenet_r50", "fasttcm_cr50"):
        cfg = load_config(str(CONFIGS / "totaltext" / f"{backbone}.yaml"), pairs(overrides))
        with torch.device("meta"):
            model = build_model(cfg)
        groups = parameter_groups(
            model,
            base_lr=cfg.SOLVER.BASE_LR,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
            lr_multipliers=[(str(part), float(factor)) for part, factor in cfg.SOLVER.LR_MULTIPLIERS],
        )
        names = {id(p): name for name, p in model.named_parameters()}
        assert {group["weight_decay"] for group in groups} == {1e-4}
        for group in groups:
            slow_parts = ("backbone.conv", "backbone.bn", "backbone.layer", "backbone.trunk", "backbone.pool")
            slow = [names[id(p)].startswith(slow_parts) for p in group["params"]]
            assert all(slow) if group["lr"] == pytest.approx(1e-6) else not any(slow)
