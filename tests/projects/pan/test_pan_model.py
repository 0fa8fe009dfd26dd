import numpy as np
import pytest
import torch
from tiny import sample, tiny_config

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.errors import ConfigError, DataError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.projects.pan.build import build
from fasttcm.projects.pan.model import PAN
from fasttcm.projects.pan.neck import FPEMFFM
from fasttcm.structures import ILLEGIBLE, TextPredictions

LOSSES = {"loss_text", "loss_kernel", "loss_aggregation", "loss_discrimination"}


class Pooled(Backbone):
    """Average pooling, repeated to 8 channels."""

    levels = range(2, 6)

    def forward(self, images: torch.Tensor) -> BackboneOutput:
        grey = images.mean(1, keepdim=True).repeat(1, 8, 1, 1)
        return BackboneOutput({f"res{i}": torch.nn.functional.avg_pool2d(grey, 2**i) for i in self.levels})

    def output_shape(self) -> dict[str, FeatureShape]:
        return {f"res{i}": FeatureShape(8, 2**i) for i in self.levels}


def tiny_pan(**changes: object) -> PAN:
    torch.manual_seed(0)
    return build(tiny_config(**{f"MODEL__PAN__{key}": value for key, value in changes.items()}), Pooled())


def test_every_option_reaches_its_part():
    model = tiny_pan(
        NECK_CHANNELS=24,
        NECK_REPEATS=3,
        SHRINK_RATIOS=[0.9, 0.4],
        MAX_SHRINK=7,
        KERNEL_WEIGHT=0.6,
        EMBEDDING_WEIGHT=0.3,
        DELTA_AGG=0.4,
        DELTA_DIS=2.0,
        OHEM_RATIO=2,
        MAX_INSTANCES=5,
        INFERENCE_TH_TEST=0.7,
        REGION_TH=0.4,
        MAX_DISTANCE=0.8,
        MIN_AREA=9,
        FORM="poly",
        MAX_CANDIDATES=11,
        PUBLISHED_MEMORY_ORDER=True,
    )
    assert len(model.neck.fpems) == 3 and model.head.out_conv.in_channels == 96
    assert model.target_maker.shrink_ratios == (0.9, 0.4) and model.target_maker.max_shrink == 7
    loss, post = model.criterion, model.postprocessor
    assert (loss.kernel_weight, loss.embedding_weight, loss.delta_agg, loss.delta_dis) == (0.6, 0.3, 0.4, 2.0)
    assert (loss.ohem_ratio, loss.max_instances) == (2, 5)
    assert (post.score_threshold, post.region_threshold, post.max_distance, post.min_area) == (0.7, 0.4, 0.8, 9)
    assert (post.form, post.max_candidates, post.published_memory_order) == ("poly", 11, True)


def test_defaults_are_the_published_values():
    options = load_config(None, []).MODEL.PAN
    assert (options.INFERENCE_TH_TEST, options.MAX_DISTANCE, options.MIN_AREA, options.FORM) == (0.85, 0.85, 16, "quad")
    assert options.SHRINK_RATIOS == [1.0, 0.5] and options.MAX_SHRINK == 20 and not options.PUBLISHED_MEMORY_ORDER


@pytest.mark.parametrize("kind", ["dice", "balanced_bce", "ohem_dice"])
def test_every_matching_loss_can_be_asked_for(kind):
    cfg = tiny_config(
        MODEL__BACKBONE__NAME="fasttcm_cr50",
        MODEL__META_ARCHITECTURE="pan",
        MODEL__TCM__LOSS=kind,
        MODEL__TCM__LOSS_WEIGHT=2.0,
    )
    torch.manual_seed(0)
    model = build_model(cfg)
    losses = model([sample("abc"), sample("de", seed=1)])
    assert set(losses) == {*LOSSES, "loss_match"} and model.matching_weight == 2.0
    assert torch.isfinite(losses["loss_match"]) and losses["loss_match"] > 0


def test_illegible_words_are_masked_and_the_sample_stays_as_it_is():
    model = tiny_pan()
    given = sample(ILLEGIBLE)
    with torch.no_grad():
        losses = model([given])
    assert losses["loss_aggregation"] == 0 and given["targets"].ignore.tolist() == [False]


def test_training_without_targets_names_the_image():
    broken = sample("one")
    del broken["targets"]
    with pytest.raises(DataError, match=r"0\.png has no targets"):
        tiny_pan()([broken])


def test_outlines_scale_with_the_original_picture():
    model = tiny_pan(INFERENCE_TH_TEST=0.0).eval()
    small = sample(height=50, width=60)
    large = {**small, "height": 100, "width": 240}
    with torch.inference_mode():
        here, there = (model([s])[0] for s in (small, large))
    assert 0 < len(here) == len(there) and here.texts == [""] * len(here)
    torch.testing.assert_close(here.boxes * torch.tensor([4.0, 2, 4, 2]), there.boxes)


def test_padding_of_the_batch_finds_nothing():
    model = tiny_pan(INFERENCE_TH_TEST=0.0, REGION_TH=0.0).eval()
    with torch.inference_mode():
        found = model([sample(height=32, width=32), sample(seed=1, height=96, width=128)])
    assert found[0].boxes.max() <= 32 and found[1].boxes.max() > 96


def test_odd_sizes_fuse_by_target_size():
    neck = FPEMFFM(in_channels=(4, 4, 4, 4), channels=4)
    levels = [torch.randn(1, 4, *size) for size in ((9, 11), (5, 6), (3, 3), (2, 2))]
    assert [tuple(level.shape) for level in neck(levels)] == [(1, 4, 9, 11)] * 4


@pytest.mark.parametrize("arguments", [{"in_channels": (4, 4, 4)}, {"in_channels": (4,) * 4, "repeats": 0}])
def test_impossible_necks_are_refused(arguments):
    with pytest.raises(ValueError, match="neck"):
        FPEMFFM(**arguments)


def test_a_backbone_without_the_levels_is_named():
    backbone = Pooled()
    backbone.levels = range(3, 6)
    with pytest.raises(ConfigError, match="PAN reads res2, res3, res4, res5; the backbone has res3, res4, res5"):
        build(tiny_config(), backbone)


def test_broken_weights_are_reported_and_the_other_images_go_on(caplog):
    model = tiny_pan(INFERENCE_TH_TEST=0.0).eval()
    good = sample(height=32, width=32)
    broken = {**good, "image": good["image"].float() * float("nan"), "file_name": "broken.png"}
    with torch.inference_mode():
        found = model([good, broken])
    assert len(found[0]) > 0 == len(found[1])
    assert "broken.png" in caplog.text and "not finite" in caplog.text


def test_predictions_from_outlines_are_sorted_by_score():
    outlines = [np.asarray([[1, 2], [5, 2], [5, 9]]), np.asarray([[0, 0], [3, 0], [3, 1], [0, 1]])]
    found = TextPredictions.from_polygons(10, 20, outlines, [0.25, 0.75])
    assert found.scores.tolist() == [0.75, 0.25] and found.texts == ["", ""]
    assert found.boxes.tolist() == [[0, 0, 3, 1], [1, 2, 5, 9]] and [len(p) for p in found.polygons] == [4, 3]
    assert found.polygons[0].dtype == np.float32 and (found.height, found.width) == (10, 20)
    assert TextPredictions.from_polygons(10, 20, [], []).boxes.shape == (0, 4)
