"""FCENet and TCM-FCENet against figures of the published implementation."""

import re

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
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.layers.fpn import FPN
from fasttcm.losses.broadcast_bce import broadcast_balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.projects.fcenet.head import FCEHead
from fasttcm.projects.fcenet.keys import from_published, matches, published_options, rename_published
from fasttcm.projects.fcenet.loss import FCELoss
from fasttcm.projects.fcenet.postprocess import FCEPostprocessor
from fasttcm.projects.fcenet.targets import EVERY_SIZE, FCETargetMaker
from fasttcm.tcm.matching import TEMPERATURE

pytestmark = pytest.mark.golden

CHANNELS = (512, 1024, 2049)  # of TCM-FCENet's three levels
STRIDES = (8, 16, 32)
SHARED_SCALE = 0.5  # SPEC 12, of the free-standing features
SCORE_SCALE = 0.2
NECK_FACTOR = 0.1  # SPEC 12, of weights and biases end to end
DB_MEAN = [122.67891434, 116.66876762, 104.00698793]  # SPEC 12: all images are normalised that way
MODELS = {"fcenet_r50": "imagenet_r50", "tcm_fcenet": "tcm_cr50"}
POWERS = re.compile(r"post\.(\w+_alpha([\d.]+)_beta([\d.]+))\.scores")
"""Figures of outlines tell the exponents of their score in their name."""


class Given(Backbone):
    """Feature maps that are already there."""

    def __init__(self, levels: list[torch.Tensor]) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, images: torch.Tensor) -> BackboneOutput:
        return BackboneOutput({f"res{i + 3}": level for i, level in enumerate(self.levels)})

    def output_shape(self) -> dict[str, FeatureShape]:
        return {
            f"res{i + 3}": FeatureShape(level.shape[1], stride)
            for i, (level, stride) in enumerate(zip(self.levels, STRIDES, strict=True))
        }


def neck_and_head(levels: list[torch.Tensor]) -> tuple[FPN, FCEHead]:
    """Both with the reference's weights under their own keys (without ``neck.`` and ``bbox_head.``)."""
    neck, head = (
        FPN(bottom_up=Given(levels), in_levels=("res3", "res4", "res5"), top_block="none"),
        FCEHead(in_channels=256),
    )
    shapes = {}
    for i, channels in enumerate(CHANNELS):
        shapes |= {f"lateral_convs.{i}.conv.weight": (256, channels, 1, 1), f"lateral_convs.{i}.conv.bias": (256,)}
        shapes |= {f"fpn_convs.{i}.conv.weight": (256, 256, 3, 3), f"fpn_convs.{i}.conv.bias": (256,)}
    weights = from_published({f"neck.{key}": value for key, value in fill_state_dict(shapes).items()})
    neck.load_state_dict({key.removeprefix("backbone."): value for key, value in weights.items()})
    head.load_state_dict(fill_state_dict({key: tuple(v.shape) for key, v in head.state_dict().items()}))
    return neck, head


def test_detectors_fcenet_targets():
    figures = golden("detectors", "fcenet")
    size = int(figures["size"])
    maker = FCETargetMaker(ranges=figures["ranges"].tolist())
    levels = dict(zip(("p3_maps", "p4_maps", "p5_maps"), zip(STRIDES, maker.ranges, strict=True), strict=True))
    for name, (stride, limits) in {**levels, "matching_maps": (STRIDES[-1], EVERY_SIZE)}.items():
        maps = maker.draw(scene(figures), (size, size), stride, limits)
        np.testing.assert_array_equal(maps[:3], figures[f"target.{name}.masks"], err_msg=name)
        assert_close(figures, f"target.{name}.fourier", torch.from_numpy(maps[3:]))


def test_detectors_fcenet_neck_head_and_losses():
    figures = golden("detectors", "fcenet")
    size = int(figures["size"])
    batch = stored_shape(figures, "cls.2")[0]
    inputs = [
        SHARED_SCALE * features(f"shared.fce.c{i}", (batch, channels, size // 2**i, size // 2**i))
        for i, channels in enumerate(CHANNELS, start=3)
    ]
    neck, head = neck_and_head(inputs)
    with torch.no_grad():
        levels = list(neck(torch.zeros(batch, 3, size, size)).features.values())
        logits, series = head(levels)
    for i in range(len(STRIDES)):
        assert_close(figures, f"neck.{i}", levels[i])
        assert_close(figures, f"cls.{i}", logits[i])
        assert_close(figures, f"reg.{i}", series[i])
    for values in (*logits, *series):
        values.requires_grad_()
    maker = FCETargetMaker(ranges=figures["ranges"].tolist())
    losses = FCELoss()(logits, series, maker([scene(figures)] * batch, [(size, size)] * batch, (size, size)))
    assert_losses(figures, {f"loss.{name}": value for name, value in losses.items()})
    torch.stack(list(losses.values())).sum().backward()
    for i in range(len(STRIDES)):
        assert_close(figures, f"loss.grad_cls.{i}", logits[i].grad)
        assert_close(figures, f"loss.grad_reg.{i}", series[i].grad)


@pytest.mark.parametrize(("name", "loss"), [("bbce_True", broadcast_balanced_bce_loss), ("bbce_False", dice_loss)])
def test_detectors_fcenet_matching_loss(name, loss):
    figures = golden("detectors", "fcenet")
    size = int(figures["size"])
    shape = stored_shape(figures, f"identity.{name}.grad")
    score = (SCORE_SCALE * features("shared.score", shape)).requires_grad_()
    maker = FCETargetMaker(ranges=figures["ranges"].tolist())
    batch = [scene(figures)] * shape[0], [(size, size)] * shape[0]
    masks = maker.level(*batch, (size, size), STRIDES[-1], EVERY_SIZE).masks
    value = loss(score / TEMPERATURE, masks[:, :1], masks[:, 2:])
    assert_losses(figures, {f"identity.{name}.loss": value})
    value.backward()
    assert_close(figures, f"identity.{name}.grad", score.grad)


def test_detectors_fcenet_outlines():
    figures = golden("detectors", "fcenet")
    logits, series = (
        [figures[f"post.{kind}.{i}"].astype(np.float32) for i in range(len(STRIDES))] for kind in ("cls", "reg")
    )
    cases = [match.groups() for match in map(POWERS.fullmatch, figures) if match]
    assert cases
    for name, alpha, beta in cases:
        process = FCEPostprocessor(text_power=float(alpha), center_power=float(beta))
        found = [len(process.level(*maps, stride)[1]) for *maps, stride in zip(logits, series, STRIDES, strict=True)]
        assert found == figures[f"post.{name}.per_level"].tolist(), name
        outlines, scores = process(logits, series)
        assert_same_outlines(figures, f"post.{name}", outlines, scores)
        # The scale factor itself is not stored: it is what takes one set of figures to the other.
        plain, scaled = (figures[f"post.{name}{suffix}.xy"].reshape(-1, 2) for suffix in ("", ".rescaled"))
        factor = (plain * scaled).sum(0) / np.maximum((plain * plain).sum(0), 1)
        assert_same_outlines(figures, f"post.{name}.rescaled", outlines * factor, scores)


@pytest.mark.parametrize("name", MODELS)
def test_detectors_fcenet_published_names(name):
    state = {key: torch.empty(shape, device="meta") for key, shape in manifest("detectors", name).items()}
    options = published_options(state)
    assert matches(state) and options["MODEL.BACKBONE.NAME"] == MODELS[name]
    assert options["MODEL.FCENET.FOURIER_DEGREE"] == 5 and options["MODEL.FCENET.NECK_CHANNELS"] == 256
    weights = from_published(state)
    assert len(weights) == len(state) and all(key.startswith(("backbone.", "head.")) for key in weights)


def test_detectors_tcm_fcenet_end_to_end():
    figures = golden("detectors", "tcm_fcenet")
    state = fill_state_dict(manifest("detectors", "tcm_fcenet"))
    for key in state:
        if key.startswith("neck.fpn_convs."):
            state[key] *= NECK_FACTOR
    options = {"MODEL.CLIP.WEIGHTS": "random", **published_options(state), "MODEL.PIXEL_MEAN": DB_MEAN}
    options["MODEL.TCM.CLASS_TEXTS"] = class_texts(figures)
    options["MODEL.FCENET.PUBLISHED_MATCHING_LOSS"] = True
    model = build_model(load_config(None, [str(item) for pair in options.items() for item in pair])).eval()
    load_weights(model, from_published(state), "tcm_fcenet")
    height, width = (int(n) for n in figures["image.size"])
    backbone = model.backbone.bottom_up
    assert backbone.matching.text.encoder.token_ids.tolist() == figures["texts"].tolist()
    images, sizes = model.batcher([make_image(height, width, int(seed)) for seed in figures["image.seeds"]])
    trunk = backbone.trunk(images).features
    for i, level in enumerate(("res3", "res4", "res5")):
        assert_close(figures, f"feat.{i}", trunk[level], END_TO_END_TOLERANCE)
    pooled = backbone.pool(trunk["res5"])
    matched = backbone.matching(*pooled)
    assert_close(figures, "global_feat", pooled[0], END_TO_END_TOLERANCE)
    assert_close(figures, "visual_embeddings", pooled[1], END_TO_END_TOLERANCE)
    assert_close(figures, "text_embeddings", matched.text, END_TO_END_TOLERANCE)
    assert_close(figures, "score_map", matched.score, END_TO_END_TOLERANCE)
    output = model.backbone(images)
    levels = list(output.features.values())
    logits, series = model.head(levels)
    for i in range(len(STRIDES)):
        assert_close(figures, f"neck.{i}", levels[i], END_TO_END_TOLERANCE)
        assert_close(figures, f"cls.{i}", logits[i], END_TO_END_TOLERANCE)
        assert_close(figures, f"reg.{i}", series[i], END_TO_END_TOLERANCE)
    annotations, padded = [scene(figures) for _ in sizes], tuple(images.shape[-2:])  # SPEC 12: the same for all
    targets = model.target_maker(annotations, sizes, padded)
    losses = {f"bbox.{name}": value for name, value in model.criterion(logits, series, targets).items()}
    masks = model.target_maker.level(annotations, sizes, padded, STRIDES[-1], EVERY_SIZE).masks
    losses["aux.loss_pix_cls"] = model.matching_loss(output.text_logits, masks[:, :1], masks[:, 2:])
    assert_losses(figures, {f"loss.{name}": value for name, value in losses.items()}, END_TO_END_TOLERANCE)
    torch.stack(list(losses.values())).sum().backward()
    assert_gradients(figures, dict(model.named_parameters()), lambda name: rename_published(name, tcm=True))
