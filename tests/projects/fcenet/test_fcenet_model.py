import pytest
import torch
from tiny import sample, tiny_config

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.errors import ConfigError, DataError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.broadcast_bce import broadcast_balanced_bce_loss
from fasttcm.projects.fcenet.build import build
from fasttcm.projects.fcenet.model import FCENet
from fasttcm.structures import ILLEGIBLE

LOSSES = {"loss_text", "loss_center", "loss_reg_x", "loss_reg_y"}


class Pooled(Backbone):
    """Average pooling, repeated to 8 channels."""

    def forward(self, images: torch.Tensor) -> BackboneOutput:
        grey = images.mean(1, keepdim=True).repeat(1, 8, 1, 1)
        return BackboneOutput({f"res{i}": torch.nn.functional.avg_pool2d(grey, 2**i) for i in range(2, 6)})

    def output_shape(self) -> dict[str, FeatureShape]:
        return {f"res{i}": FeatureShape(8, 2**i) for i in range(2, 6)}


def tiny_fcenet(**changes: object) -> FCENet:
    torch.manual_seed(0)
    return build(tiny_config(**{f"MODEL__FCENET__{key}": value for key, value in changes.items()}), Pooled())


def test_every_option_reaches_its_part():
    ranges = [[0.0, 0.3], [0.2, 0.6], [0.5, 1.0]]
    model = tiny_fcenet(
        NECK_CHANNELS=24,
        FOURIER_DEGREE=3,
        NUM_POINTS=16,
        SIZE_RANGES=ranges,
        RESAMPLE_STEP=3.0,
        CENTER_SHRINK=0.4,
        OHEM_RATIO=2.0,
        INFERENCE_TH_TEST=0.25,
        TEXT_POWER=1.0,
        CENTER_POWER=2.0,
        NMS_TH=0.2,
        FORM="quad",
        MAX_CANDIDATES=77,
    )
    assert model.head.out_conv_reg.out_channels == 14 and model.backbone.out_channels == 24
    maker, post, loss = model.target_maker, model.postprocessor, model.criterion
    assert maker.ranges == [tuple(limits) for limits in ranges] and maker.strides == post.strides == (8, 16, 32)
    assert (maker.degree, maker.step, maker.shrink) == (3, 3.0, 0.4)
    assert (loss.cosines.shape, loss.ohem_ratio) == ((7, 16), 2.0)
    assert (post.score_threshold, post.text_power, post.center_power, post.points) == (0.25, 1.0, 2.0, 16)
    assert (post.nms_threshold, post.form, post.max_candidates) == (0.2, "quad", 77)


def test_defaults_are_the_published_values():
    options = load_config(None, []).MODEL.FCENET
    assert (options.FOURIER_DEGREE, options.NUM_POINTS, options.INFERENCE_TH_TEST, options.NMS_TH) == (5, 50, 0.3, 0.1)
    assert (options.TEXT_POWER, options.CENTER_POWER, options.CENTER_SHRINK, options.RESAMPLE_STEP) == (1.2, 1, 0.3, 4)


@pytest.mark.parametrize("kind", ["dice", "balanced_bce", "ohem_dice"])
@pytest.mark.parametrize("published", [False, True])
def test_every_matching_loss_can_be_asked_for(kind, published):
    cfg = tiny_config(
        MODEL__BACKBONE__NAME="fasttcm_cr50",
        MODEL__META_ARCHITECTURE="fcenet",
        MODEL__TCM__LOSS=kind,
        MODEL__FCENET__PUBLISHED_MATCHING_LOSS=published,
    )
    model = build_model(cfg)
    losses = model([sample("abc"), sample("de", seed=1)])
    assert set(losses) == {*LOSSES, "loss_match"} and torch.isfinite(losses["loss_match"])
    if kind == "balanced_bce":
        assert model.matching_loss is (broadcast_balanced_bce_loss if published else balanced_bce_loss)


def test_illegible_words_are_masked_and_the_sample_stays_as_it_is():
    model = tiny_fcenet()
    given = sample(ILLEGIBLE)
    with torch.no_grad():
        losses = model([given])
        words = model([sample("abc")])
    assert losses["loss_reg_x"] == 0 < words["loss_reg_x"]
    assert given["targets"].ignore.tolist() == [False]


def test_training_without_targets_names_the_image():
    broken = sample("one")
    del broken["targets"]
    with pytest.raises(DataError, match=r"0\.png has no targets"):
        tiny_fcenet()([broken])


def test_outlines_scale_with_the_original_picture():
    model = tiny_fcenet(INFERENCE_TH_TEST=0.0).eval()
    small = sample(height=50, width=60)
    large = {**small, "height": 100, "width": 240}
    with torch.inference_mode():
        here, there = (model([s])[0] for s in (small, large))
    assert 0 < len(here) == len(there) and here.texts == [""] * len(here)
    torch.testing.assert_close(here.boxes * torch.tensor([4.0, 2, 4, 2]), there.boxes)


def test_padding_of_the_batch_draws_nothing():
    model = tiny_fcenet(INFERENCE_TH_TEST=0.0).eval()
    with torch.no_grad():
        model.head.out_conv_reg.weight.zero_()
    with torch.inference_mode():
        found = model([sample(height=32, width=32), sample(seed=1, height=96, width=128)])
    # Series of nothing are points at their cells.
    assert found[0].boxes.max() < 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SIZE_RANGES": [[0.0, 1.0]]}, "SIZE_RANGES has 1 ranges; give 3"),
        ({"FOURIER_DEGREE": 5, "NUM_POINTS": 10}, "a series of degree 5 needs more than 10 points"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_fcenet(**changes)


def test_a_backbone_without_the_levels_is_named():
    class Shallow(Pooled):
        def output_shape(self) -> dict[str, FeatureShape]:
            return {"res2": FeatureShape(8, 4)}

    with pytest.raises(ConfigError, match="res3"):
        build(tiny_config(), Shallow())


def test_broken_weights_are_reported_and_the_other_images_go_on(caplog):
    model = tiny_fcenet(INFERENCE_TH_TEST=0.0).eval()
    good = sample(height=32, width=32)
    broken = {**good, "image": good["image"].float() * float("nan"), "file_name": "broken.png"}
    with torch.inference_mode():
        found = model([good, broken])
    assert len(found[0]) > 0 == len(found[1])
    assert "broken.png" in caplog.text and "not finite" in caplog.text
