import math

import numpy as np
import pytest
import torch
from tiny import sample, tiny_config
from torch import Tensor, nn

from fasttcm.engine.build import build_model
from fasttcm.errors import ConfigError
from fasttcm.geometry import bezier_points
from fasttcm.layers.annotations import annotations
from fasttcm.projects.deepsolo.model import DeepSolo
from fasttcm.projects.deepsolo.proposals import curve_points


def tiny_model(**changes: object) -> DeepSolo:
    """On a ResNet-18."""
    torch.manual_seed(0)
    options = {"MODEL__BACKBONE__NAME": "imagenet_r50", **changes}
    return build_model(tiny_config(MODEL__META_ARCHITECTURE="DeepSolo", **options))


def everything(**changes: object) -> DeepSolo:
    """In eval mode, every query an answer."""
    return tiny_model(MODEL__DEEPSOLO__INFERENCE_TH_TEST=0.0, **changes).eval()


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


LAYER = {"loss_ce", "loss_texts", "loss_ctrl_points", "loss_bd_points"}
ENCODER = {"loss_ce_enc", "loss_bezier_enc"}


def test_every_layer_and_the_encoder_have_losses():
    samples = [sample("abc", "de"), sample("f", seed=1, height=48, width=80)]
    losses = tiny_model().train()(samples)
    assert set(losses) == LAYER | {f"{name}_0" for name in LAYER} | ENCODER
    assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in losses.values())
    assert set(tiny_model(MODEL__DEEPSOLO__AUX_LOSS=False).train()(samples)) == LAYER | ENCODER


def test_without_text_everything_is_background():
    losses = tiny_model().train()([sample(), sample("###", seed=1), sample("abc", seed=2, ignore=True)])
    assert all(value == 0 for name, value in losses.items() if not name.startswith("loss_ce"))
    assert losses["loss_ce"] > 0 and losses["loss_ce_enc"] > 0


def test_illegible_and_empty_texts_are_left_out():
    model = tiny_model().train()
    mixed = sample("abc", "###", "", "de")
    mixed["targets"].ignore[3] = True
    (given,) = annotations([mixed])
    targets = model.target_builder(given, (64, 64), "")
    assert len(targets) == 1 and targets.classes.tolist() == [model.charset.encode("abc", 6)]
    assert targets.lengths.tolist() == [3]


def test_targets_follow_the_two_sides_of_a_word():
    model = tiny_model().train()
    targets = model.target_builder(sample("abc", width=128)["targets"], (64, 128), "")
    x = 10 + 40 * torch.linspace(0, 1, 6)
    span = torch.tensor([128.0, 64.0])
    torch.testing.assert_close(targets.points[0] * span, torch.stack([x, torch.full((6,), 8.0 + 6)], 1))
    expected = torch.stack([x, torch.full((6,), 8.0), x, torch.full((6,), 20.0)], 1)
    torch.testing.assert_close(targets.boundary[0] * span.repeat(2), expected)
    torch.testing.assert_close(curve_points(targets.curves, 6), targets.points)


def test_curve_points_are_those_of_the_geometry():
    control = np.random.default_rng(0).uniform(size=(4, 2))
    found = curve_points(torch.from_numpy(control)[None], 7)[0]
    np.testing.assert_allclose(found, bezier_points(control, 7), atol=1e-7)


def test_a_text_that_has_no_path_costs_nothing():
    model = tiny_model().train()
    losses = model([sample("aaaaaa")])  # six equal characters need eleven points, there are six
    assert losses["loss_texts"] == 0 and losses["loss_ctrl_points"] > 0
    assert torch.isfinite(total(losses))


def test_losses_do_not_depend_on_the_order_of_the_words():
    model = tiny_model().train()
    both, swapped = sample("abc", "de"), sample("abc", "de")
    swapped["targets"] = swapped["targets"][torch.tensor([1, 0])]
    for name, value in model([both]).items():
        torch.testing.assert_close(model([swapped])[name], value, msg=name)


def test_training_and_evaluation_compute_the_same():
    model = tiny_model(MODEL__BACKBONE__FROZEN_NORM=True)
    image = sample("abc")
    with torch.no_grad():
        images, sizes = model.batcher([image["image"]])
        features = model.backbone(images).features
        levels = [features[name] for name in model.in_levels]
        learning, reading = model.train().predict(levels, sizes), model.eval().predict(levels, sizes)
    assert len(learning.layers) == 2 and len(reading.layers) == 1 and reading.proposals.curves is None
    torch.testing.assert_close(learning.proposals.curve_logits, reading.proposals.curve_logits)
    for name in ("logits", "text_logits", "points", "boundary"):
        torch.testing.assert_close(getattr(learning.layers[-1], name), getattr(reading.layers[-1], name))


def test_the_matching_map_widens_res5():
    model = tiny_model(MODEL__BACKBONE__NAME="fasttcm_cr50")
    shapes = model.backbone.output_shape()
    assert [p[0].in_channels for p in model.projection.projections] == [
        *(shapes[level].channels for level in ("res3", "res4", "res5")),
        shapes["res5"].channels,
    ]


def test_characters_outside_the_charset_are_unknown():
    model = tiny_model(MODEL__TEXT__CHARSET="lower36").train()
    targets = model.target_builder(sample("A-é")["targets"], (64, 64), "")
    assert targets.classes.tolist() == [[0, 36, 36, 37, 37, 37]] and targets.lengths.tolist() == [3]


def test_a_diverged_model_reports_a_loss_that_is_not_finite():
    model = tiny_model().train()
    with torch.no_grad():
        model.heads.text.weight.fill_(math.nan)
        model.encoder.layers[0].attention.sampling_offsets.bias.fill_(math.nan)
    assert not torch.isfinite(total(model([sample("abc")])))


def test_initial_values_are_the_published_ones():
    model = tiny_model()
    for linear in (model.heads.text, model.heads.characters, model.proposals.class_logit):
        torch.testing.assert_close(linear.bias.sigmoid(), torch.full_like(linear.bias, 0.01))
    for mlp in (model.heads.boundary, model.proposals.curve, model.decoder.coordinates):
        assert not mlp.layers[-1].weight.any() and not mlp.layers[-1].bias.any()
        assert mlp.layers[0].weight.any()
    for normal in (model.decoder.point_embed.weight, model.projection.level_embed):
        assert normal.std().item() == pytest.approx(1, abs=0.2)
    for norm in (m for m in model.encoder.modules() if isinstance(m, nn.LayerNorm)):
        assert bool((norm.weight == 1).all()) and not norm.bias.any()


def test_a_new_model_answers_with_the_proposals():
    """All geometry starts as offsets of 0: points of the decoder lie where the tokens of the encoder stand."""
    model = everything()
    with torch.inference_mode():
        images, sizes = model.batcher([sample()["image"]])
        features = model.backbone(images).features
        output = model.predict([features[name] for name in model.in_levels], sizes)
    references, last = output.proposals.references, output.layers[-1]
    inside = ((references > 1e-3) & (references < 1 - 1e-3)).all(3)
    torch.testing.assert_close(last.points[inside], references[inside], atol=1e-5, rtol=0)
    torch.testing.assert_close(last.boundary[inside], references.repeat(1, 1, 1, 2)[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL__DEEPSOLO__HIDDEN_DIM": 18}, "must be a multiple of 4 and of NHEADS"),
        ({"MODEL__DEEPSOLO__IN_LEVELS": ["res3", "p7"]}, r"names \['p7'\]; the backbone has res2"),
        ({"MODEL__DEEPSOLO__NUM_FEATURE_LEVELS": 2}, "fewer than the 3 IN_LEVELS"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_model(**changes)
