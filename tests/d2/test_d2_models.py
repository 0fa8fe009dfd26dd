"""Backbones and models inside detectron2."""

from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("detectron2", reason="detectron2 is not installed: the adapter's tests need it")

from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_backbone, build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny import sample
from tiny_d2 import FASTER_RCNN, RETINANET, foreign_config, own_config

from fasttcm.charset import Charset
from fasttcm.d2 import D2Backbone, register
from fasttcm.d2.instances import (
    PerInstance,
    instances_to_predictions,
    instances_to_targets,
    predictions_to_instances,
    targets_to_instances,
)
from fasttcm.d2.register import HEADS
from fasttcm.engine.build import project_names
from fasttcm.errors import ConfigError
from fasttcm.tcm.loss import matching_target

KINDS = ("clip_resnet", "tcm", "fasttcm")
ASCII = Charset.named("ascii")


@pytest.fixture(autouse=True)
def _event_storage() -> Iterator[None]:
    with EventStorage():  # detectron2's models log into it while they train
        yield


def batch(training: bool = True) -> list[dict]:
    samples = [sample("abc", "de", seed=1), sample("fghij", seed=2, height=70, width=50)]
    for item in samples:
        size = tuple(item["image"].shape[-2:])
        item["instances"] = targets_to_instances(item["targets"], size, ASCII, 6)
        if not training:
            del item["instances"], item["targets"]
    return samples


def test_registering_twice_changes_nothing() -> None:
    before = sorted(name for name, _ in META_ARCH_REGISTRY), sorted(name for name, _ in BACKBONE_REGISTRY)
    register()
    assert (sorted(name for name, _ in META_ARCH_REGISTRY), sorted(name for name, _ in BACKBONE_REGISTRY)) == before
    assert {name.lower() for name in HEADS} == set(project_names())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [["res2", "res3", "res4", "res5"], ["res3", "res5"]])
def test_bare_backbones_declare_what_they_return(kind: str, levels: list[str]) -> None:
    cfg = foreign_config(RETINANET, f"build_{kind}_backbone", MODEL__RESNETS__OUT_FEATURES=levels)
    backbone = build_backbone(cfg, ShapeSpec(channels=3)).eval()
    features = backbone(torch.randn(2, 3, 64, 96))
    assert list(features) == levels == list(backbone.output_shape())
    for level, spec in backbone.output_shape().items():
        assert features[level].shape == (2, spec.channels, 64 // spec.stride, 96 // spec.stride)
    assert backbone.size_divisibility == 32 == backbone.padding_constraints["size_divisibility"]


@pytest.mark.parametrize(
    ("levels", "top", "expected"),
    [
        (["res2", "res3", "res4", "res5"], "maxpool", ["p2", "p3", "p4", "p5", "p6"]),
        (["res3", "res4", "res5"], "conv", ["p3", "p4", "p5", "p6", "p7"]),
        (["res2", "res3", "res4", "res5"], "none", ["p2", "p3", "p4", "p5"]),
    ],
)
@pytest.mark.parametrize("source", ["p5", "res5"])
def test_pyramids(levels: list[str], top: str, expected: list[str], source: str) -> None:
    cfg = foreign_config(
        FASTER_RCNN,
        "build_fasttcm_fpn_backbone",
        MODEL__FPN__IN_FEATURES=levels,
        MODEL__FPN__TOP_BLOCK=top,
        MODEL__FPN__TOP_BLOCK_INPUT=source,
    )
    backbone = build_backbone(cfg, ShapeSpec(channels=3)).eval()
    features = backbone(torch.randn(1, 3, 128, 64))
    assert list(features) == expected
    for level, spec in backbone.output_shape().items():
        assert features[level].shape[1] == spec.channels == 16
        assert features[level].shape[-2] == max(1, 128 // spec.stride)


def test_freeze_stops_the_first_parts() -> None:
    cfg = foreign_config(RETINANET, "build_fasttcm_backbone", MODEL__RESNETS__OUT_FEATURES=["res5"])
    backbone = build_backbone(cfg, ShapeSpec(channels=3))
    assert isinstance(backbone, D2Backbone)
    assert all(p.requires_grad for p in backbone.body.trunk.parameters())
    backbone.freeze(2)
    frozen = {name.split(".")[0] for name, p in backbone.body.trunk.named_parameters() if not p.requires_grad}
    assert {"conv1", "layer1"} <= frozen and "layer2" not in frozen


def test_an_unknown_level_is_named() -> None:
    cfg = foreign_config(RETINANET, "build_fasttcm_backbone", MODEL__RESNETS__OUT_FEATURES=["res6"])
    with pytest.raises(ConfigError, match="no level res6; it has res2"):
        build_backbone(cfg, ShapeSpec(channels=3))


@pytest.mark.parametrize("architecture", [FASTER_RCNN, RETINANET], ids=["GeneralizedRCNN", "RetinaNet"])
@pytest.mark.parametrize("kind", KINDS)
def test_models_of_others_train_and_predict_on_our_backbones(architecture: dict, kind: str) -> None:
    torch.manual_seed(0)
    model = build_model(foreign_config(architecture, f"build_{kind}_fpn_backbone")).train()
    losses = model(batch())
    assert losses and all(torch.isfinite(value) for value in losses.values()) and "loss_match" not in losses
    sum(losses.values()).backward()
    trunk = [p for name, p in model.named_parameters() if ".layer3." in name and p.requires_grad]
    assert trunk and all(p.grad is not None and torch.isfinite(p.grad).all() for p in trunk)
    with torch.no_grad():
        found = model.eval()(batch(training=False))
    assert [len(item["instances"]) > 0 for item in found] == [True, True]


@pytest.mark.parametrize("architecture", [FASTER_RCNN, RETINANET], ids=["GeneralizedRCNN", "RetinaNet"])
@pytest.mark.parametrize("kind", ["tcm", "fasttcm"])
def test_the_matching_loss_joins_any_architecture(architecture: dict, kind: str) -> None:
    torch.manual_seed(0)
    name = architecture["MODEL.META_ARCHITECTURE"]
    cfg = foreign_config(
        {**architecture, "MODEL.META_ARCHITECTURE": "WithMatchingLoss", "MODEL.TCM.META_ARCHITECTURE": name},
        f"build_{kind}_fpn_backbone",
    )
    model = build_model(cfg).train()
    plain = build_model(foreign_config(architecture, f"build_{kind}_fpn_backbone"))
    assert list(model.state_dict()) == list(plain.state_dict())
    losses = model(batch())
    assert losses["loss_match"].shape == () and 0 < losses["loss_match"] < 2
    losses["loss_match"].backward()
    learned = {n: p for n, p in model.named_parameters() if ".matching." in n and p.requires_grad}
    assert learned and any(p.grad is not None and p.grad.abs().sum() > 0 for p in learned.values())
    with torch.no_grad():
        assert len(model.eval()(batch(training=False))) == 2


def test_the_matching_loss_needs_a_matching_map() -> None:
    cfg = foreign_config(
        {**RETINANET, "MODEL.META_ARCHITECTURE": "WithMatchingLoss", "MODEL.TCM.META_ARCHITECTURE": "RetinaNet"},
        "build_clip_resnet_fpn_backbone",
    )
    with pytest.raises(ConfigError, match="build_fasttcm_backbone"):
        build_model(cfg).train()(batch())
    unknown = foreign_config(
        {**RETINANET, "MODEL.META_ARCHITECTURE": "WithMatchingLoss", "MODEL.TCM.META_ARCHITECTURE": "Nothing"},
        "build_fasttcm_fpn_backbone",
    )
    with pytest.raises(ConfigError, match="'Nothing', which is not a registered"):
        build_model(unknown)


def test_regions_come_from_whatever_the_instances_have() -> None:
    targets = sample("abc", "de")["targets"]
    whole = targets_to_instances(targets, (64, 64), ASCII, 6)
    expected = matching_target(targets, (64, 64), shrink_ratio=0.9)[0]
    filled = matching_target(targets, (64, 64), shrink_ratio=1.0)[0][0] > 0
    rows = torch.zeros(2, 64, 64, dtype=torch.bool)
    rows[0, :24], rows[1, 24:] = filled[:24], filled[24:]
    fields = {
        "gt_masks": [whole.gt_masks, BitMasks(rows)],
        "beziers": [whole.beziers],
        "gt_boxes": [whole.gt_boxes],
    }
    for name, values in fields.items():
        for value in values:
            instances = Instances((64, 64))
            instances.set(name, value)
            region = matching_target(instances_to_targets(instances), (64, 64), shrink_ratio=0.9)[0]
            overlap = (region * expected).sum() / torch.maximum(region, expected).sum()
            assert overlap > 0.9, name
    texts = instances_to_targets(whole, ASCII).texts
    assert texts == ["abc", "de"]


def test_no_instance_at_all() -> None:
    empty = targets_to_instances(sample()["targets"], (64, 64), ASCII, 6)
    assert len(empty) == 0 and len(instances_to_targets(empty)) == 0
    nothing = Instances((40, 30))
    nothing.pred_boxes, nothing.scores = Boxes(torch.zeros(0, 4)), torch.zeros(0)
    found = instances_to_predictions(nothing, ASCII)
    assert (len(found), found.height, found.width) == (0, 40, 30)


@pytest.mark.parametrize("head", HEADS)
def test_our_heads_compute_the_same_inside_detectron2(head: str) -> None:
    torch.manual_seed(0)
    cfg = own_config(MODEL__META_ARCHITECTURE=head, **{f"MODEL__{head.upper()}__INFERENCE_TH_TEST": 0.0})
    model = build_model(cfg).train()
    samples = batch()
    torch.manual_seed(1)
    inside = model(samples)
    torch.manual_seed(1)
    outside = model.model([{k: v for k, v in item.items() if k != "instances"} for item in samples])
    assert {k: v.item() for k, v in inside.items()} == {k: v.item() for k, v in outside.items()}
    model.eval()
    with torch.no_grad():
        found, words = model(batch(training=False)), model.model(batch(training=False))
    for output, expected in zip(found, words, strict=True):
        instances = output["instances"]
        assert len(instances) == len(expected) and instances.image_size == (expected.height, expected.width)
        assert torch.equal(instances.pred_boxes.tensor, expected.boxes) and torch.equal(
            instances.scores, expected.scores
        )
        assert list(instances.pred_texts) == expected.texts
        again = instances_to_predictions(instances, model.charset)
        assert again.texts == expected.texts and torch.equal(again.scores, expected.scores)
        picked = instances[instances.scores > 2]
        assert len(picked) == 0 and len(picked.polygons) == 0


def test_bgr_input_is_turned_for_our_heads() -> None:
    model = build_model(own_config(INPUT__FORMAT="BGR", MODEL__ABCNET__INFERENCE_TH_TEST=0.0)).eval()
    item = batch(training=False)[0]
    with torch.no_grad():
        expected, found = model.model([item])[0], model([{**item, "image": item["image"].flip(0)}])[0]
    assert torch.equal(found["instances"].scores, expected.scores) and len(expected) > 0


def test_per_instance_objects_are_indexed_as_tensors_are() -> None:
    letters = PerInstance("abcd")
    assert list(letters[1]) == ["b"] and list(letters[1:3]) == ["b", "c"]
    assert list(letters[torch.tensor([True, False, False, True])]) == ["a", "d"]
    assert list(letters[torch.tensor([2, 0])]) == ["c", "a"]
    assert list(PerInstance.cat([letters[0], letters[3]])) == ["a", "d"]
    instances = predictions_to_instances(instances_to_predictions(_two_words(), ASCII), charset=ASCII, max_length=4)
    assert list(Instances.cat([instances, instances]).pred_texts) == ["hi", "lo", "hi", "lo"]


def _two_words() -> Instances:
    instances = Instances((50, 60))
    instances.pred_boxes = Boxes(torch.tensor([[0.0, 0, 10, 5], [5, 5, 20, 12]]))
    instances.scores = torch.tensor([0.4, 0.9])
    instances.recs = torch.tensor([ASCII.encode("lo", 4), ASCII.encode("hi", 4)])
    return instances


def test_somebody_elses_predictions() -> None:
    found = instances_to_predictions(_two_words(), ASCII)
    assert found.texts == ["hi", "lo"] and found.scores.tolist() == pytest.approx([0.9, 0.4])
    assert found.polygons[0].tolist() == [[5, 5], [20, 5], [20, 12], [5, 12]]
    curved = _two_words()
    curved.bd = torch.tensor([[[0.0, 0, 0, 4], [9, 0, 9, 4]], [[1, 1, 1, 3], [8, 1, 8, 3]]]).numpy().tolist()
    curved = Instances((50, 60), scores=curved.scores, bd=PerInstance(curved.bd))
    assert instances_to_predictions(curved, ASCII).polygons[1].tolist() == [[0, 0], [9, 0], [9, 4], [0, 4]]
