import math

import pytest
import torch
from reference import fill_tensor, golden
from torch import Tensor
from torch.nn import functional as F

from fasttcm.layers.deformable_attention import DeformableAttention, deformable_attention

SHAPES = [(3, 4), (1, 5), (2, 1), (1, 1)]  # also maps one cell wide, high or both
OUTPUT_TOLERANCE = 3e-6
GRADIENT_TOLERANCE = 1e-5  # of the largest entry


def by_definition(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """One ``grid_sample`` a level."""
    batch, _, heads, width = value.shape
    out = 0
    levels = value.split([h * w for h, w in shapes], 1)
    for level, (tokens, (h, w)) in enumerate(zip(levels, shapes, strict=True)):
        maps = tokens.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        read = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        factor = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        out = out + (read * factor).sum(3).view(batch, heads * width, -1).transpose(1, 2)
    return out


def random_inputs(shapes=SHAPES, batch=2, queries=3, heads=2, width=3, points=2, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def rand(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, dtype=dtype)

    value = rand(batch, sum(h * w for h, w in shapes), heads, width) - 0.5
    locations = rand(batch, queries, heads, len(shapes), points, 2) * 1.8 - 0.4  # some outside, some far outside
    weights = rand(batch, queries, heads, len(shapes), points)
    return value, locations, weights


@pytest.fixture(scope="module")
def figures():
    return golden("deepsolo", "msda")


def figure(figures, name: str) -> Tensor:
    return torch.from_numpy(figures[name])


@pytest.mark.golden
def test_deepsolo_attention_core_matches_the_published_operator(figures):
    shapes = [tuple(row) for row in figures["core/spatial_shapes"].tolist()]
    names = ("value", "sampling_locations", "attention_weights")
    value, locations, weights = (figure(figures, f"core/{name}").requires_grad_() for name in names)
    out = deformable_attention(value, shapes, locations, weights)
    torch.testing.assert_close(out, figure(figures, "core/output"), atol=OUTPUT_TOLERANCE, rtol=0)
    out.backward(figure(figures, "core/grad_output"))
    for name, tensor in zip(names, (value, locations, weights), strict=True):
        expected = figure(figures, f"core/grad_{name}")
        tolerance = GRADIENT_TOLERANCE * float(expected.abs().max())
        torch.testing.assert_close(tensor.grad, expected, atol=tolerance, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.golden
@pytest.mark.parametrize("numbers", [2, 4])
def test_deepsolo_attention_module_matches_the_published_one(figures, numbers):
    query, source = figure(figures, "module/query"), figure(figures, "module/input_flatten")
    reference = figure(figures, f"module/reference{numbers}")
    shapes = [tuple(row) for row in figures["core/spatial_shapes"].tolist()]
    heads, _, points = figures["core/attention_weights"].shape[2:]
    module = DeformableAttention(channels=query.shape[2], levels=len(shapes), heads=heads, points=points)
    filled = {key: fill_tensor(f"msda.{key}", tuple(old.shape)) for key, old in module.state_dict().items()}
    module.load_state_dict({key: torch.from_numpy(value) for key, value in filled.items()})
    out = module(query, reference, source, shapes, figure(figures, "module/input_padding_mask"))
    torch.testing.assert_close(out, figure(figures, f"module/output{numbers}"), atol=OUTPUT_TOLERANCE, rtol=0)


def test_it_is_bilinear_reading_of_every_level():
    value, locations, weights = random_inputs()
    expected = by_definition(value, SHAPES, locations, weights)
    torch.testing.assert_close(deformable_attention(value, SHAPES, locations, weights), expected)


def test_gradients_are_exact():
    inputs = [tensor.requires_grad_() for tensor in random_inputs()]
    assert torch.autograd.gradcheck(lambda v, p, w: deformable_attention(v, SHAPES, p, w), inputs)


def test_only_the_gradients_asked_for_are_computed():
    value, locations, weights = random_inputs()
    weights.requires_grad_()
    deformable_attention(value, SHAPES, locations, weights).sum().backward()
    assert weights.grad is not None and value.grad is None and locations.grad is None


def test_at_a_cell_centre_the_slope_is_that_of_the_interval_to_the_right_and_below():
    value = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]).view(1, 6, 1, 1)
    centre = torch.tensor([0.5, 0.25]).view(1, 1, 1, 1, 1, 2).requires_grad_()  # of the upper middle cell
    out = deformable_attention(value, [(2, 3)], centre, torch.ones(1, 1, 1, 1, 1))
    out.sum().backward()
    assert out.item() == 2.0
    assert centre.grad.flatten().tolist() == [3 * (4 - 2), 2 * (16 - 2)]


def test_outside_of_the_map_there_is_nothing():
    value = torch.ones(1, 6, 1, 1)
    far = torch.tensor([-1.0, 2.0, 1e30, -1e30, math.inf]).view(1, 5, 1, 1, 1, 1).expand(-1, -1, -1, -1, -1, 2)
    assert deformable_attention(value, [(2, 3)], far, torch.ones(1, 5, 1, 1, 1)).abs().sum() == 0


def test_not_a_number_stays_one():
    value, locations, weights = random_inputs()
    locations[0, 0, 0, 0, 0, 0] = math.nan
    out = deformable_attention(value, SHAPES, locations, weights)
    assert out[0, 0, :3].isnan().all() and not out[0, 1:].isnan().any() and not out[1].isnan().any()


@pytest.mark.parametrize(("batch", "queries"), [(0, 3), (2, 0)])
def test_nothing_to_read_is_allowed(batch, queries):
    inputs = [tensor.requires_grad_() for tensor in random_inputs(batch=batch, queries=queries)]
    out = deformable_attention(inputs[0], SHAPES, *inputs[1:])
    assert out.shape == (batch, queries, 6)
    out.sum().backward()
    assert all(tensor.grad is not None and not tensor.grad.any() for tensor in inputs)


def test_half_precision_tokens_are_read_at_full_precision_places():
    value, locations, weights = random_inputs(shapes=[(64, 64)], dtype=torch.float32)
    half = value.bfloat16()
    out = deformable_attention(half, [(64, 64)], locations, weights)
    assert out.dtype == torch.bfloat16
    expected = deformable_attention(half.float(), [(64, 64)], locations, weights)
    torch.testing.assert_close(out, expected.bfloat16())


def test_levels_and_tokens_that_do_not_fit_are_refused():
    value, locations, weights = random_inputs()
    with pytest.raises(ValueError, match="do not fit levels of"):
        deformable_attention(value, SHAPES[:-1], locations, weights)
    with pytest.raises(ValueError, match="cannot be divided"):
        DeformableAttention(channels=10, heads=4)


def test_it_compiles_in_one_piece():
    shapes = [(3, 4)]
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shapes)]
    compiled = torch.compile(
        lambda value, *places: deformable_attention(value, shapes, *places), backend="aot_eager", fullgraph=True
    )
    out, expected = compiled(*inputs), deformable_attention(inputs[0], shapes, *inputs[1:])
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(*(torch.autograd.grad(x.square().sum(), inputs) for x in (out, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_new_module_looks_around_in_every_direction():
    module = DeformableAttention(channels=8, levels=2, heads=4, points=3)
    offsets = module.sampling_offsets.bias.view(4, 2, 3, 2)
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    for point in range(3):
        torch.testing.assert_close(offsets[:, 0, point], expected * (point + 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(offsets[:, 0], offsets[:, 1])
    assert not module.sampling_offsets.weight.any() and not module.attention_weights.weight.any()


def test_padding_is_read_as_zero():
    torch.manual_seed(0)
    module = DeformableAttention(channels=8, levels=1, heads=2, points=2)
    torch.nn.init.normal_(module.value_proj.bias)
    query, reference, source = torch.randn(1, 5, 8), torch.rand(1, 5, 1, 2), torch.randn(1, 12, 8)
    out = module(query, reference, source, [(3, 4)], torch.ones(1, 12, dtype=torch.bool))
    torch.testing.assert_close(out, module.output_proj.bias.expand_as(out))


def test_places_are_computed_in_full_precision_under_autocast():
    torch.manual_seed(0)
    module = DeformableAttention(channels=8, levels=1, heads=2, points=2)
    # 0.5 + 1/512 is not a bfloat16 number: a map of 256 cells would be read half a cell off
    reference = torch.full((1, 1, 1, 2), 0.5 + 1 / 512)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(torch.zeros(1, 1, 8), reference, torch.randn(1, 256, 8), [(1, 256)])
        offsets = module.sampling_offsets(torch.zeros(1, 1, 8))
        places = module._locations(offsets, reference, [(1, 256)])
    assert torch.isfinite(out).all() and places.dtype == torch.float32
    assert places[0, 0, 0, 0, 0, 0].item() == 0.5 + 1 / 512 + 1 / 256
