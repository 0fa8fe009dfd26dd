import inspect
import math

import pytest
import torch
from tiny import sample, tiny_config
from torch import Tensor, nn

from fasttcm.config import get_defaults
from fasttcm.engine.build import build_model
from fasttcm.errors import ConfigError
from fasttcm.layers.point_decoder import PointDecoderLayer
from fasttcm.layers.query_spotter import QuerySpotter
from fasttcm.projects.testr.decoder import DualDecoder
from fasttcm.projects.testr.loss import SetCriterion
from fasttcm.projects.testr.matching import Matcher
from fasttcm.projects.testr.model import TESTR
from fasttcm.projects.testr.proposals import BoxProposals
from fasttcm.projects.testr.targets import TargetBuilder


def tiny_model(**changes: object) -> TESTR:
    """On a ResNet-18, without dropout."""
    torch.manual_seed(0)
    options = {"MODEL__BACKBONE__NAME": "imagenet_r50", "MODEL__TESTR__DROPOUT": 0.0, **changes}
    return build_model(tiny_config(MODEL__META_ARCHITECTURE="TESTR", **options))


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def test_every_layer_and_the_encoder_have_losses():
    losses = tiny_model().train()([sample("abc", "de"), sample("f", seed=1, height=48, width=80)])
    layer = {"loss_ce", "loss_ctrl_points", "loss_texts"}
    expected = layer | {f"{name}_0" for name in layer} | {"loss_ce_enc", "loss_bbox_enc", "loss_giou_enc"}
    assert set(losses) == expected and all(torch.isfinite(value) for value in losses.values())


def test_character_scores_are_there_when_asked_for():
    image = [sample()]
    with torch.inference_mode():
        plain = tiny_model(MODEL__TESTR__INFERENCE_TH_TEST=0.0).eval()(image)[0]
        asked = tiny_model(MODEL__TESTR__INFERENCE_TH_TEST=0.0, MODEL__TESTR__CHAR_SCORES=True).eval()(image)[0]
    assert plain.char_scores is None and plain.texts == asked.texts
    assert [len(scores) for scores in asked.char_scores] == [len(text) for text in asked.texts]


def test_initial_values_are_the_published_ones():
    model = tiny_model()
    for classifier in (model.head.classifier, model.proposals.classifier):
        torch.testing.assert_close(classifier.bias.sigmoid(), torch.full_like(classifier.bias, 0.01))
    last = model.head.point.layers[-1]
    assert not last.weight.any() and not last.bias.any()
    box = model.proposals.box.layers[-1]
    assert not box.bias[2:].any() and box.bias[:2].all() and box.weight.all()
    for linear in (model.decoder.box_position, model.decoder.point_layers[0].feedforward.linear1):
        bound = math.sqrt(6 / (linear.in_features + linear.out_features))
        assert 0.8 * bound < linear.weight.abs().max() <= bound


def test_outlines_start_in_the_centre_of_their_boxes():
    model = tiny_model(MODEL__TESTR__INFERENCE_TH_TEST=0.0).eval()
    kept = []
    model.proposals.register_forward_hook(lambda m, i, out: kept.append(out.references))
    model.head.register_forward_hook(lambda m, i, out: kept.append(out.points))
    with torch.inference_mode():
        model([sample()])
    boxes, points = kept
    centre = boxes[:, :, None, :2].clamp(1e-5, 1 - 1e-5).expand_as(points)
    torch.testing.assert_close(points, centre, atol=1e-5, rtol=1e-4)


def test_proposals_see_prior_boxes_that_double_with_the_level():
    model = tiny_model()
    shapes = [model.backbone.output_shape()[level] for level in model.in_levels]
    features = [torch.randn(1, s.channels, 64 // s.stride, 64 // s.stride) for s in shapes]
    tokens = model.projection(features, [(64, 64)])
    priors = model.proposals.priors(tokens)[0]
    counts = [h * w for h, w in tokens.shapes]
    sides = [level[:, 2:].unique().tolist() for level in priors.split(counts)]
    assert sides == [[pytest.approx(0.05 * 2**i)] for i in range(4)]
    torch.testing.assert_close(priors[0, :2], torch.tensor([1 / 16, 1 / 16]))


def test_losses_fall_on_two_words():
    torch.manual_seed(0)
    changes = {"MODEL__BACKBONE__NAME": "clip_r50", "MODEL__BACKBONE__FROZEN_NORM": True}
    model = tiny_model(MODEL__TESTR__NUM_QUERIES=4, **changes).train()
    batch = [sample("on", "off")]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    history = []
    for _ in range(30):
        losses = model(batch)
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert all(
        history[-1][name] < 0.7 * history[0][name] for name in ("loss_texts", "loss_ctrl_points", "loss_bbox_enc")
    )


def test_one_level_is_the_lite_model():
    model = tiny_model(MODEL__TESTR__IN_LEVELS=["res5"], MODEL__TESTR__NUM_FEATURE_LEVELS=1)
    assert len(model.projection.projections) == 1 and model.projection.projections[0][0].kernel_size == (1, 1)
    assert torch.isfinite(total(model.train()([sample("abc")])))


def test_every_option_reaches_its_module():
    model = tiny_model(
        MODEL__TESTR__HIDDEN_DIM=32,
        MODEL__TESTR__NHEADS=4,
        MODEL__TESTR__DIM_FEEDFORWARD=48,
        MODEL__TESTR__ENC_LAYERS=3,
        MODEL__TESTR__DEC_LAYERS=1,
        MODEL__TESTR__ENC_N_POINTS=2,
        MODEL__TESTR__DEC_N_POINTS=3,
        MODEL__TESTR__NUM_FEATURE_LEVELS=5,
        MODEL__TESTR__NUM_QUERIES=9,
        MODEL__TESTR__NUM_CTRL_POINTS=10,
        MODEL__TESTR__DROPOUT=0.25,
        MODEL__TESTR__INFERENCE_TH_TEST=0.3,
        MODEL__TESTR__CLASS_WEIGHT=1.5,
        MODEL__TESTR__TEXT_WEIGHT=2.5,
        MODEL__TESTR__FOCAL_ALPHA=0.4,
        MODEL__TEXT__CHARSET="lower36",
        MODEL__TEXT__MAX_LENGTH=7,
        INPUT__FORMAT="BGR",
    )
    (layer,), encoder = model.decoder.text_layers, model.encoder.layers
    assert len(encoder) == 3 and encoder[0].attention.points == 2 and encoder[0].attention.levels == 5
    assert layer.cross.points == 3 and layer.cross.heads == layer.intra.num_heads == 4
    assert layer.feedforward.linear1.out_features == 48 and len(model.projection.projections) == 5
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.25}
    assert layer.intra.dropout == layer.inter.dropout == 0.25
    assert model.decoder.point_embed.weight.shape == (10, 32) and model.decoder.text_embed.weight.shape == (7, 32)
    assert model.target_builder.num_points == 10 and model.encode.max_length == 7
    assert model.proposals.num_queries == 9 and model.threshold == 0.3
    assert model.head.text.out_features == 38 and model.batcher.pixel_order == "BGR"
    assert model.criterion.matcher.class_weight == 1.5 and model.criterion.text_weight == 2.5
    assert model.criterion.matcher.focal_alpha == 0.4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL__TESTR__IN_LEVELS": ["res3", "p5"]}, r"IN_LEVELS names \['p5'\]; the backbone has res2"),
        ({"MODEL__TESTR__IN_LEVELS": []}, "IN_LEVELS names nothing"),
        ({"MODEL__TESTR__IN_LEVELS": ["res3", "res4"]}, "leaves out res5"),
        ({"MODEL__TESTR__NUM_FEATURE_LEVELS": 2}, "has 3 levels, more than NUM_FEATURE_LEVELS"),
        ({"MODEL__TESTR__HIDDEN_DIM": 20}, "HIDDEN_DIM is 20; give a multiple of 8"),
        ({"MODEL__TESTR__NUM_CTRL_POINTS": 7}, "NUM_CTRL_POINTS is 7; give an even number"),
    ],
)
def test_options_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_model(**changes)


def test_module_defaults_are_the_configuration_defaults():
    config = get_defaults().MODEL
    pairs = [
        (
            DualDecoder,
            {
                "channels": "HIDDEN_DIM",
                "num_layers": "DEC_LAYERS",
                "dropout": "DROPOUT",
                "num_points": "NUM_CTRL_POINTS",
            },
        ),
        (
            PointDecoderLayer,
            {
                "channels": "HIDDEN_DIM",
                "heads": "NHEADS",
                "levels": "NUM_FEATURE_LEVELS",
                "sampling_points": "DEC_N_POINTS",
                "feedforward": "DIM_FEEDFORWARD",
            },
        ),
        (BoxProposals, {"num_queries": "NUM_QUERIES"}),
        (TargetBuilder, {"num_points": "NUM_CTRL_POINTS"}),
        (
            Matcher,
            {
                "class_weight": "CLASS_WEIGHT",
                "point_weight": "POINT_WEIGHT",
                "box_weight": "BOX_WEIGHT",
                "giou_weight": "GIOU_WEIGHT",
                "focal_alpha": "FOCAL_ALPHA",
                "focal_gamma": "FOCAL_GAMMA",
            },
        ),
        (SetCriterion, {"text_weight": "TEXT_WEIGHT"}),
        (TESTR, {"threshold": "INFERENCE_TH_TEST", "char_scores": "CHAR_SCORES"}),
        (QuerySpotter, {"in_levels": "IN_LEVELS"}),
    ]
    for owner, names in pairs:
        signature = inspect.signature(owner.__init__).parameters
        for argument, key in names.items():
            default = signature[argument].default
            assert config.TESTR[key] == (list(default) if isinstance(default, tuple) else default), f"MODEL.TESTR.{key}"
    assert inspect.signature(QuerySpotter).parameters["max_length"].default == config.TEXT.MAX_LENGTH
