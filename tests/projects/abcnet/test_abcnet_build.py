import pytest
import torch
from tiny import sample, tiny_config
from torch import Tensor

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.projects.abcnet.build import build


class FlatBackbone(Backbone):
    """Average pooling, repeated to 16 channels."""

    def forward(self, images: Tensor) -> BackboneOutput:
        grey = images.mean(1, keepdim=True).repeat(1, 16, 1, 1)
        return BackboneOutput({f"p{i}": torch.nn.functional.avg_pool2d(grey, 2**i) for i in range(2, 6)})

    def output_shape(self) -> dict[str, FeatureShape]:
        return {f"p{i}": FeatureShape(16, 2**i) for i in range(2, 6)}


def test_every_option_reaches_its_module():
    cfg = tiny_config(
        MODEL__ABCNET__NUM_CONVS=2,
        MODEL__ABCNET__HEAD_CHANNELS=24,
        MODEL__ABCNET__INFERENCE_TH_TEST=0.3,
        MODEL__ABCNET__NMS_TH=0.4,
        MODEL__ABCNET__IGNORE_REGIONS=False,
        MODEL__ABCNET__POOLER_LEVELS=["p2", "p3"],
        MODEL__ABCNET__POOLER_RESOLUTION=[4, 12],
        MODEL__ABCNET__PAD_LOSS_WEIGHT=0.2,
        MODEL__ABCNET__TEACHER_FORCING=0.9,
        MODEL__TEXT__CHARSET="lower36",
        INPUT__FORMAT="BGR",
    )
    model = build(cfg, FlatBackbone())
    assert model.head.strides == (8, 16, 32) and model.head.cls_logits.in_channels == 24
    assert len(model.head.cls_tower) == 6 and model.assigner.borders == (-1.0, 32.0, 64.0, 1e8)
    assert (model.selector.threshold_test, model.selector.nms_threshold) == (0.3, 0.4)
    assert not model.assigner.ignore_regions
    assert model.recognizer.pooler.scales == (1 / 4, 1 / 8) and model.recognizer.pooler.output_size == (4, 12)
    assert (
        model.recognizer.decoder.teacher_forcing == 0.9 and model.recognizer.decoder.max_length == model.max_length == 6
    )
    assert model.recognizer.decoder.classifier.out_features == 38 and model.batcher.pixel_order == "BGR"
    assert model.stop_at_end and not build(tiny_config(), FlatBackbone()).stop_at_end


@pytest.mark.parametrize("convs", [0, 2])
def test_a_built_model_trains_and_reads(convs):
    model = build(tiny_config(MODEL__ABCNET__TOWER_CONVS=convs, MODEL__ABCNET__NUM_CONVS=convs), FlatBackbone())
    losses = model([sample("one", "two")])
    assert all(torch.isfinite(value) for value in losses.values())
    assert len(model.eval()([sample()])) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL__ABCNET__HEAD_LEVELS": ["p3", "p4", "p9"]}, r"HEAD_LEVELS names \['p9'\]; the backbone has p2, p3"),
        ({"MODEL__ABCNET__SIZES_OF_INTEREST": [64]}, "SIZES_OF_INTEREST has 1 borders for 3 HEAD_LEVELS; give 2"),
        ({"MODEL__ABCNET__POOLER_LEVELS": ["p2", "p4"]}, r"POOLER_LEVELS have strides \[4, 16\]"),
        ({"MODEL__ABCNET__POOLER_LEVELS": []}, "POOLER_LEVELS names nothing"),
        (
            {"MODEL__ABCNET__HEAD_LEVELS": ["p3", "p4"], "MODEL__ABCNET__SIZES_OF_INTEREST": [64]},
            "the pyramid makes p5, which neither",
        ),
    ],
)
def test_levels_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(tiny_config(**changes), FlatBackbone())
