"""DBNet and TCM-DBNet against figures of the published implementation."""

import numpy as np
import pytest
import torch
from pixel_figures import (
    END_TO_END_TOLERANCE,
    assert_close,
    assert_gradients,
    assert_losses,
    assert_same_outlines,
    class_texts,
    scene,
    stored_shape,
)
from reference import features, fill_state_dict, golden, make_image, manifest
from torch import Tensor

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import load_weights
from fasttcm.evaluation import score
from fasttcm.evaluation.records import predictions_to_json, targets_to_json
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.broadcast_bce import broadcast_balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.projects.dbnet.head import DBHead
from fasttcm.projects.dbnet.keys import from_published, matches, published_options, rename_published
from fasttcm.projects.dbnet.loss import DBLoss
from fasttcm.projects.dbnet.neck import FPNC
from fasttcm.projects.dbnet.postprocess import DBPostprocessor
from fasttcm.projects.dbnet.targets import DBTargetMaker
from fasttcm.structures import TextPredictions
from fasttcm.tcm import upsample_logits
from fasttcm.tcm.matching import TEMPERATURE

pytestmark = pytest.mark.golden

CHANNELS = (256, 512, 1024, 2049)  # SPEC 12, of the free-standing features
SHARED_SCALE = 0.5
SCORE_SCALE = 0.2
SMOOTH_FACTOR = 0.05  # SPEC 12: on every weight of neck.smooth_convs, to stay out of saturation
THRESHOLD_TOLERANCE = 5e-5  # SPEC 12: the published polygons are in float32
MODELS = {
    "dbnet_r50": {
        "MODEL.BACKBONE.NAME": "imagenet_r50",
        "MODEL.RESNET.DEPTH": 50,
        "MODEL.RESNET.DEFORMABLE_STAGES": [],
    },
    "dbnet_clipr50": {"MODEL.BACKBONE.NAME": "clip_r50"},
    "dbnet_r50dcnv2": {"MODEL.RESNET.DEPTH": 50, "MODEL.RESNET.DEFORMABLE_STAGES": ["res3", "res4", "res5"]},
    "tcm_dbnet": {"MODEL.BACKBONE.NAME": "tcm_cr50", "MODEL.TCM.NUM_CONTEXTS": 4, "MODEL.TCM.INPUT_RESOLUTION": 640},
    "tcm_dbnet_prompt32": {"MODEL.BACKBONE.NAME": "tcm_cr50", "MODEL.TCM.NUM_CONTEXTS": 32},
}
ROWS = {  # SPEC 6, the table
    "default_quad": {},
    "default_poly": {"form": "poly"},
    "ic15": {
        "mask_threshold": 0.28,
        "score_threshold": 0.2,
        "min_text_width": 2,
        "approx_ratio": 0.001,
        "unclip_ratio": 1.6,
    },
    "td": {
        "mask_threshold": 0.08,
        "score_threshold": 0.17,
        "min_text_width": 3,
        "approx_ratio": 0,
        "unclip_ratio": 1.9,
        "max_candidates": 1000,
    },
    "ctw": {"mask_threshold": 0.08, "approx_ratio": 0.0001, "unclip_ratio": 2.0, "min_text_width": 3, "form": "poly"},
    "tt": {"mask_threshold": 0.347, "approx_ratio": 0.004, "unclip_ratio": 1.95, "form": "poly"},
}


def published(name: str, **more: object) -> torch.nn.Module:
    """The model that a published checkpoint asks for, with its (filled) weights; ``more`` of ``MODEL.TCM``."""
    state = fill_state_dict(manifest("detectors", name))
    for key, value in state.items():
        if key.startswith("neck.smooth_convs."):
            value *= SMOOTH_FACTOR
    options = {"MODEL.RESNET.WEIGHTS": "random", "MODEL.CLIP.WEIGHTS": "random", **published_options(state)}
    options |= {f"MODEL.TCM.{key}": value for key, value in more.items()}
    model = build_model(load_config(None, [str(item) for pair in options.items() for item in pair]))
    load_weights(model, from_published(state), name)
    return model.eval()


def bare(module: torch.nn.Module) -> torch.nn.Module:
    """The module with weights filled under its published names, which have no prefix here."""
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    names = {key.replace(".weight", ".conv.weight") if "_convs." in key else key: key for key in own}
    filled = fill_state_dict({name: own[key] for name, key in names.items()})
    module.load_state_dict({names[name]: value for name, value in filled.items()})
    return module.eval()


def inputs(figures: dict[str, np.ndarray], model: torch.nn.Module) -> tuple[Tensor, list[tuple[int, int]]]:
    height, width = (int(n) for n in figures["image.size"])
    return model.batcher([make_image(height, width, int(seed)) for seed in figures["image.seeds"]])


def targets_of(figures: dict[str, np.ndarray], padded: tuple[int, int], names: tuple[str, ...] = ("scene", "scene_b")):
    sizes = [tuple(int(n) for n in figures[f"{name}.size"]) for name in names]
    return DBTargetMaker()([scene(figures, name) for name in names], sizes, padded)


def test_detectors_dbnet_targets():
    figures = golden("detectors", "dbnet")
    size = tuple(int(n) for n in figures["scene.size"])
    maps = DBTargetMaker().draw(scene(figures), size)
    np.testing.assert_array_equal(maps.kernels, figures["target.gt_shrink"])
    np.testing.assert_array_equal(maps.mask, figures["target.gt_shrink_mask"])
    np.testing.assert_array_equal(maps.threshold_mask, figures["target.gt_thr_mask"])
    np.testing.assert_allclose(maps.threshold, figures["target.gt_thr"], rtol=0, atol=THRESHOLD_TOLERANCE)


def test_detectors_dbnet_activations_losses_and_gradients():
    figures = golden("detectors", "dbnet")
    model = published("dbnet_r50")
    images, _ = inputs(figures, model)
    with torch.no_grad():
        levels = model.backbone(images).features
        fused = model.neck(list(levels.values()))
    for level, value in levels.items():
        assert_close(figures, f"c{level[-1]}", value)
    assert_close(figures, "neck", fused)
    assert_close(figures, "maps", model.head(fused).stacked())
    targets = targets_of(figures, tuple(images.shape[-2:]))
    for balanced in (True, False):
        leaf = fused.clone().requires_grad_()
        losses = DBLoss(balanced=balanced)(model.head(leaf), targets)
        assert_losses(figures, {f"loss.bbce_{balanced}.{name}": value for name, value in losses.items()})
        torch.stack(list(losses.values())).sum().backward()
        assert_close(figures, f"loss.bbce_{balanced}.grad_neck", leaf.grad, END_TO_END_TOLERANCE)


def test_detectors_dbnet_neck_and_head_alone():
    figures = golden("detectors", "dbnet")
    _, _, height, width = stored_shape(figures, "bare.neck")
    levels = []
    for i, channels in enumerate(CHANNELS, start=2):
        levels.append(SHARED_SCALE * features(f"shared.dbnet.c{i}", (1, channels, height, width)))
        height, width = -(-height // 2), -(-width // 2)
    neck, head = bare(FPNC(in_channels=CHANNELS)), bare(DBHead(in_channels=256))
    with torch.no_grad():
        fused = neck(levels)
        maps = head(fused).stacked()
    assert_close(figures, "bare.neck", fused)
    assert_close(figures, "bare.maps", maps)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("balanced", [True, False])
def test_detectors_dbnet_matching_loss(balanced, count):
    figures = golden("detectors", "dbnet")
    shape = stored_shape(figures, f"identity.bbce_{balanced}.n{count}.grad")
    size = (32 * shape[-2], 32 * shape[-1])
    cosines = (SCORE_SCALE * features("shared.score", shape)).requires_grad_()
    targets = targets_of(figures, size)
    region, mask = targets.kernel[:count, None], targets.mask[:count, None]
    maps = upsample_logits(cosines[:count] / TEMPERATURE, size)
    # One image is weighed by itself alone in either form; of two the figures hold the published broadcasting.
    kinds = [dice_loss] if not balanced else [broadcast_balanced_bce_loss, *[balanced_bce_loss] * (count == 1)]
    for kind in kinds:
        cosines.grad = None
        loss = kind(maps, region, mask)
        assert_losses(figures, {f"identity.bbce_{balanced}.n{count}.loss": loss})
        loss.backward(retain_graph=True)
        assert_close(figures, f"identity.bbce_{balanced}.n{count}.grad", cosines.grad)


@pytest.mark.parametrize("row", ROWS)
def test_detectors_dbnet_outlines(row):
    figures = golden("detectors", "dbnet")
    probability = figures["post.prob_u8"].astype(np.float32) / 255
    assert_same_outlines(figures, f"post.{row}", *DBPostprocessor(**ROWS[row])(probability))


def test_detectors_dbnet_outlines_in_the_original_image():
    figures = golden("detectors", "dbnet")
    probability = figures["post.prob_u8"].astype(np.float32) / 255
    outlines, scores = DBPostprocessor(**ROWS["ic15"])(probability)
    scale = 1 / figures["post.rescaled.scale_factor"][:2]
    assert_same_outlines(figures, "post.rescaled", [outline * scale for outline in outlines], scores)


@pytest.mark.parametrize("row", ["td", "ctw"])
def test_detectors_dbnet_evaluation_of_the_outlines(row):
    figures = golden("detectors", "dbnet")
    height, width = (int(n) for n in figures["eval.scene.size"])
    truth = targets_to_json(scene(figures, "eval.scene"), image_id=1, height=height, width=width)
    outlines = DBPostprocessor(**ROWS[row])(figures["post.prob_u8"].astype(np.float32) / 255)
    found = TextPredictions.from_polygons(height, width, *outlines)
    result = score({"images": [truth]}, predictions_to_json([(1, found)], digits=6), protocol="mmocr").detection
    rates = (result.recall, result.precision, result.hmean)
    assert rates == pytest.approx(figures[f"eval.{row}"].tolist(), abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_detectors_dbnet_published_names(name):
    shapes = manifest("detectors", name)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    options = published_options(state)
    assert matches(state) and {key: options[key] for key in MODELS[name]} == MODELS[name]
    own = {"MODEL.RESNET.WEIGHTS": "random", "MODEL.CLIP.WEIGHTS": "random", **options}
    with torch.device("meta"):
        model = build_model(load_config(None, [str(item) for pair in own.items() for item in pair]))
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in from_published(state).items()} == wanted


def test_detectors_tcm_dbnet_end_to_end():
    figures = golden("detectors", "tcm_dbnet")
    model = published("tcm_dbnet", CLASS_TEXTS=class_texts(figures))
    images, _ = inputs(figures, model)
    size = tuple(images.shape[-2:])
    assert model.backbone.matching.text.encoder.token_ids.tolist() == figures["texts"].tolist()
    trunk = model.backbone.trunk(images).features
    for i, level in enumerate(trunk.values()):
        assert_close(figures, f"feat.{i}", level, END_TO_END_TOLERANCE)
    pooled = model.backbone.pool(trunk["res5"])
    matched = model.backbone.matching(*pooled)
    assert_close(figures, "global_feat", pooled[0], END_TO_END_TOLERANCE)
    assert_close(figures, "visual_embeddings", pooled[1], END_TO_END_TOLERANCE)
    assert_close(figures, "text_embeddings", matched.text, END_TO_END_TOLERANCE)
    assert_close(figures, "score_map", matched.score, END_TO_END_TOLERANCE)
    output = model.backbone(images)
    order = list(output.features.values())
    concatenated = order[int(figures["score_concat_index"])]
    torch.testing.assert_close(concatenated[:, -1:], matched.score)
    fused = model.neck(order)
    assert_close(figures, "neck", fused, END_TO_END_TOLERANCE)
    maps = model.head(fused)
    assert_close(figures, "maps", maps.stacked(), END_TO_END_TOLERANCE)
    targets = targets_of(figures, size)
    losses = {f"bbox.{name}": value for name, value in model.criterion(maps, targets).items()}
    logits = upsample_logits(output.text_logits, size)
    losses["aux.loss_pix_cls"] = broadcast_balanced_bce_loss(logits, targets.kernel[:, None], targets.mask[:, None])
    assert_losses(figures, {f"loss.{name}": value for name, value in losses.items()}, END_TO_END_TOLERANCE)
    torch.stack(list(losses.values())).sum().backward()
    assert_gradients(figures, dict(model.named_parameters()), lambda name: rename_published(name, matched=True))
