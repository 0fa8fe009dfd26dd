import math
import re

import numpy as np
import pytest
import torch
from reference import golden

from fasttcm.layers.bezier_align import BezierAlign, BezierPooler, assign_bezier_levels, bezier_align

ALIGN_TOLERANCE = 5e-5  # SPEC 19
VARIANT = re.compile(r"align\.(\d+)x(\d+)\.scale([\d.]+)\.ratio(\d)\.aligned([01])")


def box_curve(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    """Control points of an upright rectangle."""
    across = [x0 + (x1 - x0) * k / 3 for k in range(4)]
    top = [value for x in across for value in (x, y0)]
    return top + [value for x in reversed(across) for value in (x, y1)]


def roi(*box: float, image: int = 0) -> torch.Tensor:
    return torch.tensor([[float(image), *box_curve(*box)]])


def thinned(figures: dict[str, np.ndarray], name: str, actual: torch.Tensor) -> torch.Tensor:
    if f"{name}#step" in figures:
        assert tuple(actual.shape) == tuple(figures[f"{name}#shape"])
        return actual.flatten()[:: int(figures[f"{name}#step"])]
    return actual


@pytest.mark.golden
def test_abcnet_bezier_align_matches_the_published_kernel():
    figures = golden("abcnet", "abcnet_operators")
    variants = sorted({match[0] for match in map(VARIANT.match, figures) if match})
    assert variants
    for name in variants:
        h, w, scale, ratio, aligned = VARIANT.match(name).groups()
        feature = torch.from_numpy(figures["feature"]).requires_grad_()
        rois = torch.from_numpy(figures["rois"])
        out = bezier_align(feature, rois, (int(h), int(w)), float(scale), int(ratio), aligned == "1")
        expected = torch.from_numpy(figures[f"{name}.out"])
        torch.testing.assert_close(thinned(figures, f"{name}.out", out), expected, atol=ALIGN_TOLERANCE, rtol=0)
        summed = f"{name}.grad_in_of_sum" in figures
        out.backward(torch.ones_like(out) if summed else torch.from_numpy(figures[f"{name}.grad_out"]))
        wanted = torch.from_numpy(figures[f"{name}.grad_in_of_sum" if summed else f"{name}.grad_in"])
        largest = float(wanted.abs().max())
        torch.testing.assert_close(feature.grad, wanted, atol=ALIGN_TOLERANCE * max(largest, 1.0), rtol=0)


@pytest.mark.golden
def test_abcnet_bezier_align_without_the_half_pixel_matches_the_published_cpu_kernel():
    figures = golden("abcnet", "abcnet_operators")
    variants = sorted(name.removesuffix(".upstream_cpu_out") for name in figures if name.endswith(".upstream_cpu_out"))
    assert variants
    for name in variants:
        h, w, scale, ratio, aligned = VARIANT.match(name).groups()
        feature, rois = (torch.from_numpy(figures[key]) for key in ("feature", "rois"))
        size = (int(h), int(w))
        out = bezier_align(feature, rois, size, float(scale), int(ratio), aligned == "1", half_pixel=False)
        wanted = torch.from_numpy(figures[f"{name}.upstream_cpu_out"])
        got = thinned(figures, f"{name}.upstream_cpu_out", out)
        torch.testing.assert_close(got, wanted, atol=ALIGN_TOLERANCE, rtol=0)


@pytest.mark.golden
def test_abcnet_levels_match_the_published_assignment():
    figures = golden("abcnet", "abcnet_operators")
    beziers = torch.from_numpy(figures["assign.beziers"])
    assert BezierPooler().levels(beziers).tolist() == figures["assign.level"].tolist()


def test_bins_start_at_the_left_and_top_edge():
    # A ramp with value x + 10 y at (column x, row y); pixel (2, 1) .. (10, 5) at scale 1 with the half-pixel shift.
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    out = bezier_align((x + 10 * y)[None, None], roi(2, 1, 10, 5), (2, 4), 1.0)
    columns = torch.tensor([2.0, 4.0, 6.0, 8.0]) - 0.5
    rows = torch.tensor([1.0, 3.0]) - 0.5
    torch.testing.assert_close(out[0, 0], columns + 10 * rows[:, None])


def test_unaligned_sampling_reads_half_a_cell_further():
    x = torch.arange(12.0).expand(1, 1, 8, 12)
    shifted = bezier_align(x, roi(2, 1, 10, 5), (2, 4), 1.0, aligned=False)
    torch.testing.assert_close(shifted - bezier_align(x, roi(2, 1, 10, 5), (2, 4), 1.0), torch.full((1, 1, 2, 4), 0.5))


def test_a_reversed_curve_reads_the_text_mirrored():
    feature = torch.randn(1, 3, 16, 40)
    forward = bezier_align(feature, roi(4.5, 2.5, 36.5, 10.5), (4, 8), 1.0)
    # Turned by half a turn the grid starts at the lower right corner; bins at edges overlap except the first ones.
    turned = roi(4.5, 2.5, 36.5, 10.5)
    turned[:, 1:] = turned[:, 1:].reshape(8, 2).roll(4, 0).reshape(1, 16)
    backward = bezier_align(feature, turned, (4, 8), 1.0)
    torch.testing.assert_close(backward[..., 1:, 1:], forward.flip(2, 3)[..., :-1, :-1])


def test_samples_beyond_one_cell_outside_are_zero_and_nearer_ones_are_clamped():
    feature = torch.full((1, 1, 4, 4), 7.0)
    out = bezier_align(feature, roi(-3.5, 1.0, 12.5, 1.0), (1, 16), 1.0)[0, 0, 0]
    # sample x = -4, -3, ..., 11: inside means -1 <= x <= 4
    torch.testing.assert_close(out, torch.tensor([0.0] * 3 + [7.0] * 6 + [0.0] * 7))


def test_not_a_number_and_infinite_curves_pool_zero():
    rois = roi(0, 0, 8, 8).repeat(2, 1)
    rois[0, 1:] = math.nan
    rois[1, 1:] = math.inf
    out = bezier_align(torch.ones(1, 2, 8, 8), rois, (2, 2), 1.0)
    assert out.abs().sum() == 0


def test_adaptive_sampling_averages_one_sample_a_cell():
    # Two parallel straight curves that run 8 to the right and 4 down: 2 x 2 bins of 4 x 2 cells, 8 samples each.
    along = [(8 + 8 * k / 3, 8 + 4 * k / 3) for k in range(4)]
    ring = along + [(x, y + 8) for x, y in reversed(along)]
    rois = torch.tensor([[0.0, *(value for point in ring for value in point)]])
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    out = bezier_align((x**2 + y**2)[None, None], rois, (2, 2), 1.0, sampling_ratio=0)
    centre_x = torch.tensor([[7.5, 11.5], [7.5, 11.5]])
    centre_y = torch.tensor([[7.5, 9.5], [11.5, 13.5]])
    spread = (1.5**2 + 0.5**2) / 2 + 0.5**2
    torch.testing.assert_close(out[0, 0], centre_x**2 + centre_y**2 + spread)
    flat = torch.tensor([[0.0, *box_curve(8, 8, 16, 16)]])
    assert bezier_align(x[None, None], flat, (2, 2), 1.0, sampling_ratio=0).abs().sum() == 0  # no rise, no sample


def test_no_region_gives_an_empty_tensor_that_keeps_the_graph():
    feature = torch.randn(2, 3, 8, 8, requires_grad=True)
    out = bezier_align(feature, torch.zeros(0, 17), (4, 6), 0.25)
    assert out.shape == (0, 3, 4, 6)
    out.sum().backward()
    assert feature.grad is not None and feature.grad.abs().sum() == 0


def test_gradient_is_exact_and_reaches_only_the_features():
    torch.manual_seed(0)
    feature = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    rois = torch.cat([roi(1.3, 0.7, 9.1, 7.7), roi(-3.0, 2.2, 14.0, 11.0, image=1)]).double()
    assert torch.autograd.gradcheck(lambda f: bezier_align(f, rois, (2, 3), 0.5, 2), (feature,))
    rois.requires_grad_()
    bezier_align(feature, rois, (2, 3), 0.5).sum().backward()
    assert rois.grad is None


def test_autocast_keeps_positions_in_single_precision():
    feature = torch.arange(400.0).expand(1, 1, 4, 400).contiguous()
    curve = roi(300.25, 0.5, 364.25, 3.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = bezier_align(feature, curve, (1, 8), 1.0)
    torch.testing.assert_close(out[0, 0, 0], 299.75 + 8 * torch.arange(8.0))
    assert bezier_align(feature.bfloat16(), curve, (1, 8), 1.0).dtype == torch.bfloat16


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(3, 16\)"):
        bezier_align(torch.zeros(1, 1, 4, 4), torch.zeros(3, 16), (2, 2), 1.0)


def test_level_rule_doubles_with_the_edge_length():
    edges = [0.0, 95.9, 96.1, 191.9, 192.1, 5000.0]
    beziers = torch.tensor([box_curve(10, 0, 400, edge) for edge in edges])
    assert assign_bezier_levels(beziers, min_level=2, max_level=4).tolist() == [2, 2, 3, 3, 4, 4]


def test_pooler_keeps_the_order_and_reads_each_text_from_its_level():
    torch.manual_seed(0)
    features = [torch.randn(2, 3, 64 // 2**k, 96 // 2**k, requires_grad=True) for k in range(3)]
    curves = [[box_curve(8, 8, 200, 230), box_curve(8, 8, 90, 40)], [box_curve(20, 4, 250, 124)]]
    beziers = [torch.tensor(c) for c in curves]
    pooler = BezierPooler(output_size=(4, 8))
    out = pooler(features, beziers)
    for slot, (image, curve, level) in enumerate([(0, curves[0][0], 2), (0, curves[0][1], 0), (1, curves[1][0], 1)]):
        single = BezierAlign(output_size=(4, 8), spatial_scale=2.0 ** -(2 + level))
        torch.testing.assert_close(out[slot : slot + 1], single(features[level], torch.tensor([[image, *curve]])))
    out[1].sum().backward()
    assert [f.grad is not None and bool(f.grad.abs().sum() > 0) for f in features] == [True, False, False]
    assert all(f.grad is not None for f in features)


def test_pooler_without_any_text_keeps_every_level_in_the_graph():
    features = [torch.randn(1, 2, 8 // 2**k, 8 // 2**k, requires_grad=True) for k in range(3)]
    out = BezierPooler(output_size=(2, 4))(features, [torch.zeros(0, 16)])
    assert out.shape == (0, 2, 2, 4)
    out.sum().backward()
    assert all(f.grad is not None for f in features)


def test_pooler_refuses_scales_that_skip_a_level():
    with pytest.raises(ValueError, match="consecutive powers of two"):
        BezierPooler(scales=(1 / 4, 1 / 16))


def test_pooler_compiles_without_a_graph_break():
    torch.manual_seed(0)
    features = [torch.randn(1, 2, 8 // 2**k, 8 // 2**k) for k in range(3)]
    curves = [torch.tensor([box_curve(2, 2, 25, 20), box_curve(0, 0, 30, 130)])]
    pooler = BezierPooler(output_size=(2, 4))
    compiled = torch.compile(pooler, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(features, curves), pooler(features, curves))


def test_the_gradient_compiles_too():
    torch.manual_seed(0)
    feature = torch.randn(1, 2, 8, 8, requires_grad=True)
    compiled = torch.compile(lambda f: bezier_align(f, roi(2, 2, 25, 20), (2, 4), 0.25), backend="aot_eager")
    out, expected = compiled(feature), bezier_align(feature, roi(2, 2, 25, 20), (2, 4), 0.25)
    torch.testing.assert_close(out, expected)
    ours, theirs = (torch.autograd.grad(x.square().sum(), feature)[0] for x in (out, expected))
    torch.testing.assert_close(ours, theirs)
