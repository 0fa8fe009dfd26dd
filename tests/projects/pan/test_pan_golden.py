"""PAN and TCM-PAN against figures of the published implementation."""

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

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import load_weights
from fasttcm.losses.ohem import ohem_dice_loss
from fasttcm.projects.pan.head import PANHead
from fasttcm.projects.pan.keys import from_published, matches, published_options, rename_published
from fasttcm.projects.pan.loss import PANLoss
from fasttcm.projects.pan.neck import FPEMFFM
from fasttcm.projects.pan.postprocess import PANPostprocessor
from fasttcm.projects.pan.targets import PANTargetMaker, shrink_map
from fasttcm.tcm import upsample_logits
from fasttcm.tcm.matching import TEMPERATURE

pytestmark = pytest.mark.golden

CHANNELS = (256, 512, 1024, 2049)  # of TCM-PAN's four levels
SHARED_SCALE = 0.5  # SPEC 12, of the free-standing features
SCORE_SCALE = 0.2
DB_MEAN = [122.67891434, 116.66876762, 104.00698793]  # SPEC 12: all images are normalised that way
MODELS = {"pan_r50": "imagenet_r50", "tcm_pan_ic15": "tcm_cr50", "tcm_pan_ctw": "tcm_cr50"}


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the reference's weights under its own keys."""
    module.load_state_dict(fill_state_dict({key: tuple(v.shape) for key, v in module.state_dict().items()}))
    return module.eval()


def published(name: str, **more: object) -> torch.nn.Module:
    """The model that a published checkpoint asks for, with its (filled) weights; ``more`` of ``MODEL.TCM``."""
    state = fill_state_dict(manifest("detectors", name))
    options = {"MODEL.RESNET.WEIGHTS": "random", "MODEL.CLIP.WEIGHTS": "random", **published_options(state)}
    options |= {"MODEL.PIXEL_MEAN": DB_MEAN, **{f"MODEL.TCM.{key}": value for key, value in more.items()}}
    model = build_model(load_config(None, [str(item) for pair in options.items() for item in pair]))
    load_weights(model, from_published(state), name)
    return model.eval()


def test_detectors_pan_targets():
    figures = golden("detectors", "pan")
    size = tuple(int(n) for n in figures["scene.size"])
    ratios = [float(ratio) for ratio in figures["target.ratios"]]
    maps, mask = PANTargetMaker(shrink_ratios=ratios).draw(scene(figures), size)
    np.testing.assert_array_equal(maps[0], figures["target.gt_text"])
    np.testing.assert_array_equal(maps[1], figures["target.gt_kernel"])
    np.testing.assert_array_equal(mask, figures["target.gt_mask"])
    np.testing.assert_array_equal(shrink_map(maps[0]), figures["target.gt_text_quarter"])
    wider = PANTargetMaker(shrink_ratios=(1.0, 0.7)).draw(scene(figures), size)[0]
    np.testing.assert_array_equal(wider[1], figures["target.gt_kernel_ratio07"])


def test_detectors_pan_neck_head_and_losses():
    figures = golden("detectors", "pan")
    size = tuple(int(n) for n in figures["scene.size"])
    batch = stored_shape(figures, "maps")[0]
    neck, head = filled(FPEMFFM(in_channels=CHANNELS)), filled(PANHead(in_channels=512))
    levels = [
        SHARED_SCALE * features(f"shared.pan.c{i}", (batch, channels, size[0] // 2**i, size[1] // 2**i))
        for i, channels in enumerate(CHANNELS, start=2)
    ]
    with torch.no_grad():
        fused = neck(levels)
        maps = head(fused)
    for i, level in enumerate(fused):
        assert_close(figures, f"neck.{i}", level)
    assert_close(figures, "maps", maps)
    maker = PANTargetMaker(shrink_ratios=[float(ratio) for ratio in figures["target.ratios"]])
    targets = maker([scene(figures)] * batch, [size] * batch, size)
    maps.requires_grad_()
    losses = PANLoss()(maps, targets.grid)
    assert_losses(figures, {f"loss.{name}": value for name, value in losses.items()})
    torch.stack(list(losses.values())).sum().backward()
    assert_close(figures, "loss.grad_maps", maps.grad)


def test_detectors_pan_matching_loss():
    figures = golden("detectors", "pan")
    size = tuple(int(n) for n in figures["scene.size"])
    shape = stored_shape(figures, "identity.grad")
    padded = (32 * shape[-2], 32 * shape[-1])
    score = (SCORE_SCALE * features("shared.score", shape)).requires_grad_()
    maker = PANTargetMaker(shrink_ratios=[float(ratio) for ratio in figures["target.ratios"]])
    targets = maker([scene(figures)] * shape[0], [size] * shape[0], padded)
    loss = ohem_dice_loss(upsample_logits(score / TEMPERATURE, padded), targets.region, targets.mask)
    assert_losses(figures, {"identity.loss": loss})
    loss.backward()
    assert_close(figures, "identity.grad", score.grad)


@pytest.mark.parametrize("form", ["quad", "poly"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("default", {}), ("loose", {"score_threshold": 0.6, "max_distance": 0.6, "min_area": 8})],
    ids=["default", "loose"],
)
def test_detectors_pan_outlines(form, name, options):
    figures = golden("detectors", "pan")
    maps = figures["post.raw_i8"].astype(np.float32) / figures["post.scale"]
    process = PANPostprocessor(form=form, published_memory_order=True, **options)
    assert_same_outlines(figures, f"post.{name}_{form}", *process(maps))


@pytest.mark.parametrize("name", MODELS)
def test_detectors_pan_published_names(name):
    shapes = manifest("detectors", name)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    options = published_options(state)
    assert matches(state) and options["MODEL.BACKBONE.NAME"] == MODELS[name]
    assert (options["MODEL.PAN.NECK_CHANNELS"], options["MODEL.PAN.NECK_REPEATS"]) == (128, 2)
    weights = from_published(state)
    assert len(weights) == len(state) and all(key.startswith(("backbone.", "neck.", "head.")) for key in weights)


def test_detectors_tcm_pan_end_to_end():
    figures = golden("detectors", "tcm_pan_ic15")
    model = published("tcm_pan_ic15", CLASS_TEXTS=class_texts(figures))
    height, width = (int(n) for n in figures["image.size"])
    assert model.backbone.matching.text.encoder.token_ids.tolist() == figures["texts"].tolist()
    images, sizes = model.batcher([make_image(height, width, int(seed)) for seed in figures["image.seeds"]])
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
    fused = model.neck(list(output.features.values()))
    for i, level in enumerate(fused):
        assert_close(figures, f"neck.{i}", level, END_TO_END_TOLERANCE)
    maps = model.head(fused)
    assert_close(figures, "maps", maps, END_TO_END_TOLERANCE)
    annotations = [scene(figures) for _ in sizes]  # SPEC 12: the same for all images
    targets = model.target_maker(annotations, sizes, tuple(images.shape[-2:]))
    losses = {f"bbox.{name}": value for name, value in model.criterion(maps, targets.grid).items()}
    logits = upsample_logits(output.text_logits, tuple(images.shape[-2:]))
    losses["aux.loss_pix_cls"] = model.matching_loss(logits, targets.region, targets.mask)
    assert_losses(figures, {f"loss.{name}": value for name, value in losses.items()}, END_TO_END_TOLERANCE)
    torch.stack(list(losses.values())).sum().backward()
    assert_gradients(figures, dict(model.named_parameters()), lambda name: rename_published(name, tcm=True))
