import math

import pytest
import torch

from fasttcm.layers.deformable_encoder import DeformableEncoder
from fasttcm.layers.mlp import MLP, logit
from fasttcm.layers.multi_scale import MultiScaleProjection, TokenProposals, padding_mask, valid_ratio
from fasttcm.layers.sine_encoding import sine_map, sine_points


def make_projection(**changes):
    torch.manual_seed(0)
    return MultiScaleProjection(**{"in_channels": [6, 8, 10], "strides": [8, 16, 32], "channels": 16, **changes})


def features(height: int, width: int, batch: int = 1):
    generator = torch.Generator().manual_seed(0)
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (8, 16, 32)]
    return [torch.randn(batch, c, *size, generator=generator) for c, size in zip((6, 8, 10), sizes, strict=True)]


def test_sine_points_interleave_sine_and_cosine_of_each_number():
    encoded = sine_points(torch.tensor([[0.25, 0.5]]), 4)
    angles = [v * 2 * math.pi / t for v in (0.25, 0.5) for t in (1.0, 100.0)]
    expected = [f(angle) for angle in angles for f in (math.sin, math.cos)]
    torch.testing.assert_close(encoded, torch.tensor([expected]))
    assert sine_points(torch.zeros(2, 3, 2, dtype=torch.bfloat16), 8).dtype == torch.float32
    assert sine_points(torch.zeros(0, 2), 8).shape == (0, 16)


def test_sine_map_counts_cells_of_the_valid_part_y_first():
    mask = torch.zeros(1, 3, 5, dtype=torch.bool)
    mask[:, 2:] = True
    mask[:, :, 4:] = True
    encoded = sine_map(mask, 4)
    assert encoded.shape == (1, 8, 3, 5)
    for row in range(2):
        for column in range(4):
            expected = sine_points(torch.tensor([(row + 0.5) / 2, (column + 0.5) / 4]), 4)
            torch.testing.assert_close(encoded[0, :, row, column], expected, atol=1e-5, rtol=0)
    assert torch.isfinite(sine_map(torch.ones(1, 2, 2, dtype=torch.bool), 4)).all()


def test_padding_mask_keeps_every_cell_that_holds_a_pixel():
    mask = padding_mask([(16, 17), (1, 32)], 8, torch.zeros(2, 1, 2, 4))
    assert (~mask).int().tolist() == [[[1, 1, 1, 0], [1, 1, 1, 0]], [[1, 1, 1, 1], [0, 0, 0, 0]]]
    torch.testing.assert_close(valid_ratio(mask), torch.tensor([[0.75, 1.0], [1.0, 0.5]]))


def test_levels_follow_each_other_row_by_row():
    projection = make_projection()
    tokens = projection(features(64, 96), [(64, 96)])
    assert tokens.shapes == [(8, 12), (4, 6), (2, 3), (1, 2)] and projection.num_levels == 4
    maps = projection.project(features(64, 96))
    assert torch.equal(tokens.tokens[0, 12 * 3 + 5], maps[0][0, :, 3, 5])
    assert torch.equal(tokens.tokens[0, 96 + 6 * 2 + 1], maps[1][0, :, 2, 1])
    assert torch.equal(tokens.tokens[0, -1], maps[3][0, :, 0, 1])
    assert not tokens.mask.any() and torch.equal(tokens.valid_ratios, torch.ones(1, 4, 2))


def test_the_extra_level_is_made_from_the_raw_coarsest_map():
    projection = make_projection()
    raw = features(64, 96)
    convolved = projection.projections[3](raw[2])
    torch.testing.assert_close(projection.project(raw)[3], convolved)
    assert len(make_projection(extra_levels=2).project(raw)) == 5
    assert len(make_projection(extra_levels=0).project(raw)) == 3


def test_the_mask_of_the_extra_level_samples_the_finest_mask():
    tokens = make_projection()(features(72, 200), [(72, 133)])
    parts = tokens.mask[0].split([9 * 25, 5 * 13, 3 * 7, 2 * 4])
    masks = [part.view(shape) for part, shape in zip(parts, tokens.shapes, strict=True)]
    assert [int((~m[0]).sum()) for m in masks[:3]] == [17, 9, 5]
    assert (~masks[3][0]).int().tolist() == [1, 1, 1, 0]  # columns 0, 6, 12, 18 of the finest: 17 are inside


def test_centres_are_fractions_of_the_image_not_of_its_padding():
    tokens = make_projection()(features(64, 64, batch=2), [(64, 64), (32, 16)])
    centres = tokens.centres()
    assert centres.shape == (2, 64 + 16 + 4 + 1, 2)
    torch.testing.assert_close(centres[0, 9], torch.tensor([1.5 / 8, 1.5 / 8]))
    torch.testing.assert_close(centres[1, 9], torch.tensor([1.5 / 2, 1.5 / 4]))
    torch.testing.assert_close(centres[1, 64], torch.tensor([0.5, 0.5 / 2]))


def test_proposals_leave_out_padding_and_border():
    torch.manual_seed(0)
    module = TokenProposals(channels=8)
    prior = torch.tensor([[[0.5, 0.25], [0.5, 0.995], [0.005, 0.5], [0.5, 0.5]]])
    mask = torch.tensor([[False, False, False, True]])
    memory = torch.randn(1, 4, 8)
    found, logits = module(memory, prior, mask)
    torch.testing.assert_close(logits[0, 0], torch.tensor([0.0, math.log(1 / 3)]))
    assert bool((logits[0, 1:] == math.inf).all())
    from_zero = module.norm(module.linear(torch.zeros(8)))
    torch.testing.assert_close(found[0, 1:], from_zero.expand(3, -1))
    assert not torch.allclose(found[0, 0], from_zero)


def test_padding_does_not_change_what_valid_tokens_become():
    torch.manual_seed(0)
    projection = make_projection()
    encoder = DeformableEncoder(channels=16, feedforward=32, layers=2, heads=2, levels=4, points=2).eval()
    for layer in encoder.layers:  # places that depend on the content
        torch.nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.1)
    tokens = projection(features(64, 64), [(64, 64)])
    wide = torch.zeros(1, 64 * 2, dtype=torch.bool)
    wide[:, 64:] = True
    alone = encoder(tokens)[:, :64]
    # the same tokens with as many columns of noise to the right of every level
    parts = tokens.tokens.split([h * w for h, w in tokens.shapes], 1)
    positions = tokens.pos.split([h * w for h, w in tokens.shapes], 1)

    def padded(x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        return torch.cat([x.unflatten(1, shape), torch.randn(1, *shape, 16)], 2).flatten(1, 2)

    shapes = tokens.shapes
    masks = [torch.zeros(1, h, 2 * w, dtype=torch.bool) for h, w in shapes]
    for mask, (_, w) in zip(masks, shapes, strict=True):
        mask[:, :, w:] = True
    bigger = type(tokens)(
        tokens=torch.cat([padded(x, s) for x, s in zip(parts, shapes, strict=True)], 1),
        pos=torch.cat([padded(x, s) for x, s in zip(positions, shapes, strict=True)], 1),
        mask=torch.cat([mask.flatten(1) for mask in masks], 1),
        shapes=[(h, 2 * w) for h, w in shapes],
        valid_ratios=torch.tensor([0.5, 1.0]).expand(1, 4, 2),
    )
    beside = encoder(bigger)[:, :128].unflatten(1, (8, 16))[:, :, :8].flatten(1, 2)
    torch.testing.assert_close(beside, alone, atol=1e-5, rtol=1e-5)


def test_encoder_gives_every_parameter_a_gradient():
    projection = make_projection()
    encoder = DeformableEncoder(channels=16, feedforward=32, layers=1, heads=2, levels=4, points=2)
    encoder(projection(features(40, 72), [(40, 72)])).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in [*encoder.parameters()])
    assert all(p.grad is not None for p in projection.parameters())


def test_mlp_has_relu_between_its_layers_only():
    mlp = MLP(in_channels=3, channels=5, out_channels=2, layers=2)
    x = torch.randn(4, 3)
    expected = mlp.layers[1](mlp.layers[0](x).relu())
    torch.testing.assert_close(mlp(x), expected)
    assert not mlp.zero_last()(x).any()
    assert len(MLP(in_channels=3, channels=5, out_channels=2, layers=1).layers) == 1


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 0.0), (0.75, math.log(3)), (0.0, math.log(1e-5)), (2.0, -math.log(1e-5))]
)
def test_logit_is_finite_everywhere(value, expected):
    assert logit(torch.tensor(value)).item() == pytest.approx(expected, rel=1e-5)
