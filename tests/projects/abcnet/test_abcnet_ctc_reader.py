"""The CTC reader, its training mode, and reading from pixels."""

import math

import pytest
import torch
from tiny import sample, targets, tiny_config

from fasttcm.engine.build import build_model
from fasttcm.errors import ConfigError
from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.layers.image_pyramid import ImagePyramid
from fasttcm.projects.abcnet.ctc_reader import ColumnEncoder, CtcReader, even_alignment, read_columns
from fasttcm.projects.abcnet.regions import jitter_curves

BLANK, CLASSES = 4, 5
COMPACT = {
    "MODEL__ABCNET__READER": "ctc",
    "MODEL__ABCNET__READER_WIDTHS": [4, 4, 8, 8],
    "MODEL__ABCNET__READER_GUIDE_WEIGHT": 0.5,
    "MODEL__ABCNET__POOLER_LEVELS": ["image", "image2"],
    "MODEL__ABCNET__POOLER_RESOLUTION": [16, 64],
    "MODEL__ABCNET__CANONICAL_LEVEL": 1,
    "MODEL__FPN__IN_LEVELS": ["res3", "res4", "res5"],
}


def reader(**changes) -> CtcReader:
    torch.manual_seed(0)
    return CtcReader(
        pooler=BezierPooler(output_size=(16, 64), scales=(1, 1 / 2), canonical_size=48, canonical_level=1),
        encoder=ColumnEncoder(in_channels=3, height=16, widths=(4, 4, 8, 8), hidden=8),
        num_classes=CLASSES,
        blank=BLANK,
        max_length=6,
        **changes,
    )


def logits_of(*rows: list[int]) -> torch.Tensor:
    """Columns whose most likely class has probability 0.6, the others 0.1 each."""
    probabilities = torch.full((len(rows), len(rows[0]), CLASSES), 0.1)
    for row, classes in enumerate(rows):
        probabilities[row, torch.arange(len(classes)), torch.tensor(classes)] = 0.6
    return probabilities.log()


def test_best_path_merges_repeats_and_drops_blanks():
    found = read_columns(logits_of([0, 0, 4, 0, 1], [4, 4, 4, 4, 4]), blank=BLANK, max_length=6)
    assert found.tokens.tolist() == [[0, 0, 1, 4, 4, 4], [4] * 6]
    torch.testing.assert_close(found.scores, torch.tensor([0.6, 0.0]))


def test_long_readings_are_cut():
    assert read_columns(logits_of([0, 1, 2, 3, 0]), blank=BLANK, max_length=3).tokens.tolist() == [[0, 1, 2]]


def test_columns_are_a_quarter_of_the_width():
    encoder = ColumnEncoder(in_channels=3, height=16, widths=(4, 4, 8, 8), hidden=5)
    columns, encoded = encoder(torch.randn(2, 3, 16, 64))
    assert columns.shape == (2, 16, 8) and encoded.shape == (2, 16, 10)


def test_columns_are_shared_evenly():
    classes = torch.tensor([[7, 8, 9, 4], [5, 4, 4, 4], [4, 4, 4, 4]])
    aligned = even_alignment(classes, torch.tensor([3, 1, 0]), 6)
    assert aligned.tolist() == [[7, 7, 8, 8, 9, 9], [5] * 6, [4] * 6]


def test_the_guide_adds_its_share():
    plain, guided = reader(), reader(guide_weight=0.5)
    guided.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.zeros_(guided.guide.weight)
    torch.nn.init.zeros_(guided.guide.bias)
    features = ImagePyramid(num_levels=2)(torch.randn(1, 3, 64, 64))
    arguments = (features, [targets("a").beziers], torch.tensor([[0, 4, 4, 4, 4, 4]]))
    expected = plain.eval().loss(*arguments) + 0.5 * math.log(CLASSES)
    torch.testing.assert_close(guided.eval().loss(*arguments), expected)


@pytest.mark.parametrize("height", [0, 12])
def test_heights_that_do_not_halve_are_refused(height: int):
    with pytest.raises(ValueError, match="multiple of 8"):
        ColumnEncoder(in_channels=3, height=height, widths=(4, 4, 8, 8), hidden=8)


def test_brightness_and_contrast_do_not_matter():
    encoder = ColumnEncoder(in_channels=3, height=16, widths=(4, 4, 8, 8), hidden=8).eval()
    regions = torch.randn(2, 3, 16, 64)
    torch.testing.assert_close(encoder(0.5 * regions + 3)[1], encoder(regions)[1], atol=0.02, rtol=0.02)


def test_loss_of_equal_scores_is_known():
    model = reader().eval()
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    classes = torch.tensor([[0, 4, 4, 4, 4, 4]])
    features = ImagePyramid(num_levels=2)(torch.randn(1, 3, 64, 64))
    loss = model.loss(features, [targets("a").beziers], classes)
    # 16 columns: every run of one character between blanks is a path, 16 * 17 / 2 of 5 ** 16.
    expected = 16 * math.log(CLASSES) - math.log(16 * 17 / 2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_nothing_to_read_is_zero_and_reaches_every_parameter():
    model = reader()
    features = ImagePyramid(num_levels=2)(torch.randn(2, 3, 32, 32))
    none = [torch.zeros(0, 16)] * 2
    loss = model.loss(features, none, torch.zeros(0, 6, dtype=torch.int64))
    assert loss.item() == 0
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.eval().read(features, none).tokens.shape == (0, 6)


def test_a_limit_of_regions_draws_whole_texts():
    model = reader(max_regions=2)
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    features = ImagePyramid(num_levels=2)(torch.randn(2, 3, 64, 64))
    curves = [targets("a", "b").beziers, targets("c").beziers]
    model.loss(features, curves, torch.tensor([[0, 4, 4, 4, 4, 4]] * 3))
    assert seen == [2]


def test_jitter_keeps_the_text_and_stays_within_its_bounds():
    torch.manual_seed(0)
    curves = targets("a").beziers.repeat(500, 1)  # 40 x 12 pixels
    moved = jitter_curves(curves, 0.1)
    offset = (moved - curves).reshape(-1, 8, 2)
    # Two deviations each: shift and growth 0.2, ends 0.4, points 0.1 text heights.
    assert offset[..., 1].abs().max() <= 12 * 0.5 + 1e-4
    assert offset[..., 0].abs().max() <= 12 * 0.7 + 1e-4
    assert 0.8 < offset[..., 1].std() < 2.2
    assert abs(offset.mean()) < 0.15
    assert jitter_curves(curves, 0.0) is curves
    assert jitter_curves(curves[:0], 0.1).shape == (0, 16)


@pytest.mark.parametrize("text", ["abc", ""])
def test_a_compact_model_trains_every_parameter_and_predicts(text: str):
    model = build_model(tiny_config(**COMPACT)).train()
    losses = model([sample(text, seed=1) if text else sample(seed=1)])
    assert "loss_rec" in losses
    torch.stack(list(losses.values())).sum().backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    model.selector.threshold_test = 0.0
    with torch.no_grad():
        found = model.eval()([sample(seed=2)])[0]
    assert len(found) > 0 and all(len(word) <= 6 for word in found.texts)


def test_one_part_trains_and_the_other_is_not_run():
    reading = build_model(tiny_config(**COMPACT, MODEL__ABCNET__TRAIN="recognition")).train()
    reading.backbone.forward = None  # would fail
    losses = reading([sample("abc")])
    assert set(losses) == {"loss_rec"}
    losses["loss_rec"].backward()
    trained = {name.split(".")[0] for name, p in reading.named_parameters() if p.requires_grad}
    assert trained == {"recognizer"}
    finding = build_model(tiny_config(**COMPACT, MODEL__ABCNET__TRAIN="detection")).train()
    assert "loss_rec" not in finding([sample("abc")])
    assert not [n for n, p in finding.named_parameters() if n.startswith("recognizer") and p.requires_grad]


def test_what_does_not_fit_is_told():
    with pytest.raises(ConfigError, match=r"recognition alone must read from the\s+picture"):
        build_model(tiny_config(MODEL__ABCNET__TRAIN="recognition"))
    with pytest.raises(ConfigError, match="name the first of image"):
        build_model(tiny_config(**{**COMPACT, "MODEL__ABCNET__POOLER_LEVELS": ["image2", "image4"]}))
    with pytest.raises(ConfigError, match="four READER_WIDTHS"):
        build_model(tiny_config(**{**COMPACT, "MODEL__ABCNET__READER_WIDTHS": [4, 8]}))
