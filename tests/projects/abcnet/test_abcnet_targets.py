import pytest
import torch

from fasttcm.errors import ConfigError
from fasttcm.projects.abcnet.head import compute_locations
from fasttcm.projects.abcnet.targets import TargetAssigner, assign_image, ctrness_target
from fasttcm.structures import TextTargets

ANY_SIZE = (-1.0, 1e8)


def boxes(*rows: tuple[float, float, float, float], ignore: tuple[bool, ...] | None = None) -> TextTargets:
    """Straight words that fill their boxes."""
    n = len(rows)
    corners = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    across = corners[:, :1] + (corners[:, 2:3] - corners[:, :1]) * torch.arange(4) / 3
    top = torch.stack([across, corners[:, 1:2].expand(-1, 4)], 2)
    bottom = torch.stack([across.flip(1), corners[:, 3:].expand(-1, 4)], 2)
    beziers = torch.cat([top, bottom], 1).reshape(-1, 16)
    ignored = torch.tensor(ignore or (False,) * n, dtype=torch.bool)
    return TextTargets([], beziers, corners, ["word"] * n, ignored, torch.zeros(n, dtype=torch.int64))


def assign(points: list[tuple[float, float]], stride: float, targets: TextTargets, limits=ANY_SIZE, radius=1.5):
    m = len(points)
    limit = torch.tensor([limits]).expand(m, 2)
    return assign_image(torch.tensor(points), torch.full((m,), stride), limit, targets, num_classes=1, radius=radius)


def test_locations_lie_in_the_middle_of_their_cells_row_by_row():
    assert compute_locations(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_central_square_by_hand():
    # Centre (16, 16), half side 1.5 * 8 = 12: strictly between 4 and 28.
    locations = compute_locations(4, 4, 8)
    dense = assign(locations.tolist(), 8.0, boxes((0, 0, 32, 32)))
    positive = (dense.labels == 0).nonzero()[:, 0].tolist()
    assert [locations[i].tolist() for i in positive] == [[12, 12], [20, 12], [12, 20], [20, 20]]
    torch.testing.assert_close(dense.reg[positive[0]], torch.tensor([12.0, 12, 20, 20]) / 8)
    offsets = dense.beziers[positive[0]].reshape(8, 2) * 8 + 12
    torch.testing.assert_close(offsets[[0, 3, 4, 7]], torch.tensor([[0.0, 0], [32, 0], [32, 32], [0, 32]]))
    assert not dense.ignored.any()


def test_the_square_is_cut_to_a_thin_box():
    # A box 6 high around y = 16: y = 12 is outside of it, although inside the square.
    dense = assign([(16, 12), (16, 14), (16, 13)], 8.0, boxes((0, 13, 32, 19)))
    assert dense.labels.tolist() == [1, 0, 1]


def test_size_ranges_include_both_ends():
    word = boxes((0, 0, 80, 20))
    near, far = [(16.0, 10.0)], [(15.0, 10.0)]  # farthest side 64 and 65 pixels away
    for limits, at_64, at_65 in (((-1.0, 64.0), 0, 1), ((64.0, 128.0), 0, 0)):
        assert assign(near, 32.0, word, limits).labels.tolist() == [at_64]
        assert assign(far, 32.0, word, limits).labels.tolist() == [at_65]


def test_the_smallest_box_wins_and_the_first_on_ties():
    nested = assign([(16, 16)], 8.0, boxes((0, 0, 32, 32), (10, 10, 22, 22)))
    torch.testing.assert_close(nested.reg[0] * 8, torch.full((4,), 6.0))
    tied = assign([(16, 16)], 8.0, boxes((8, 12, 24, 20), (12, 8, 20, 24)))
    torch.testing.assert_close(tied.reg[0] * 8, torch.tensor([8.0, 4, 8, 4]))


def test_illegible_words_exclude_only_locations_that_no_legible_word_claims():
    word, illegible = (0, 0, 32, 32), (0, 64, 32, 96)
    locations = [(16.0, 16.0), (16.0, 80.0), (16.0, 50.0)]
    dense = assign(locations, 8.0, boxes(word, illegible, ignore=(False, True)))
    assert dense.labels.tolist() == [0, 1, 1]
    assert dense.ignored.tolist() == [False, True, False]
    inside = assign([(16.0, 16.0)], 8.0, boxes(word, (14, 14, 18, 18), ignore=(False, True)))
    assert inside.labels.tolist() == [0] and not inside.ignored.any()
    torch.testing.assert_close(inside.reg[0] * 8, torch.full((4,), 16.0))


def test_illegible_words_can_be_background():
    targets = boxes((0, 0, 32, 32), ignore=(True,))
    locations = [compute_locations(4, 4, 8)]
    kept = TargetAssigner(sizes_of_interest=(), ignore_regions=False)(locations, [8], [targets])
    excluded = TargetAssigner(sizes_of_interest=())(locations, [8], [targets])
    assert not kept.ignored.any() and int(excluded.ignored.sum()) == 4
    assert kept.labels.tolist() == excluded.labels.tolist() == [1] * 16


def test_an_image_without_text_is_background_everywhere():
    dense = TargetAssigner(sizes_of_interest=(64,))(
        [compute_locations(2, 2, 8), compute_locations(1, 1, 16)], [8, 16], [TextTargets.empty()] * 2
    )
    assert dense.labels.tolist() == [1] * 10
    assert dense.reg.shape == (10, 4) and dense.beziers.shape == (10, 16) and not dense.ignored.any()


def test_order_is_level_then_image_then_row():
    # Small word in image 0 belongs to the fine level, large word in image 1 to the coarse one.
    levels = [compute_locations(4, 4, 8), compute_locations(2, 2, 16)]
    assigner = TargetAssigner(sizes_of_interest=(16,))
    dense = assigner(levels, [8, 16], [boxes((8, 8, 16, 16)), boxes((0, 0, 32, 32))])
    assert (dense.labels == 0).nonzero()[:, 0].tolist() == [5, 2 * 16 + 4, 2 * 16 + 5, 2 * 16 + 6, 2 * 16 + 7]


def test_shifting_words_by_a_cell_shifts_the_targets():
    locations = [compute_locations(6, 6, 8)]
    assigner = TargetAssigner(sizes_of_interest=())
    word = boxes((5, 6, 27, 17))
    moved = boxes((13, 6, 35, 17))
    here, there = (assigner(locations, [8], [t]) for t in (word, moved))
    assert torch.equal(here.labels.reshape(6, 6)[:, :-1], there.labels.reshape(6, 6)[:, 1:])
    assert 0 in here.labels
    positive = (here.labels == 0).nonzero()[:, 0]
    torch.testing.assert_close(here.beziers[positive], there.beziers[positive + 1])


def test_wrong_number_of_levels_is_an_error():
    with pytest.raises(ValueError, match="1 levels"):
        TargetAssigner()([compute_locations(2, 2, 8)], [8], [TextTargets.empty()])


def test_centreness_by_hand():
    reg = torch.tensor([[2.0, 3, 2, 3], [1, 2, 4, 8]])
    torch.testing.assert_close(ctrness_target(reg), torch.tensor([1.0, 0.25]))
    assert ctrness_target(torch.zeros(0, 4)).shape == (0,)


def stripe(points: list[tuple[float, float]], stride: float, targets: TextTargets, limits=ANY_SIZE):
    m = len(points)
    limit = torch.tensor([limits]).expand(m, 2)
    return assign_image(
        torch.tensor(points).float(),
        torch.full((m,), stride),
        limit,
        targets,
        num_classes=1,
        radius=1.5,
        region="stripe",
    )


def test_the_stripe_runs_along_the_whole_text():
    # 100 x 20 pixels: the stripe is 6 pixels to either side of y = 20, from end to end.
    word = boxes((10, 10, 110, 30))
    on = stripe([(12, 20), (60, 20), (108, 20), (60, 15), (60, 25)], 4.0, word)
    off = stripe([(8, 20), (60, 13), (60, 27), (112, 20)], 4.0, word)
    assert on.labels.tolist() == [0] * 5 and off.labels.tolist() == [1] * 4
    torch.testing.assert_close(on.reg[0], torch.tensor([2.0, 10, 98, 10]) / 4)


def test_the_stripe_of_a_tiny_text_is_as_wide_as_a_cell():
    assert stripe([(20, 11.9), (20, 10.1)], 4.0, boxes((10, 10, 40, 12))).labels.tolist() == [0, 0]


def test_the_stripe_of_a_slanted_text_leaves_the_corners_of_its_box():
    word = boxes((0, 0, 90, 90))
    along = torch.arange(4) * 30.0
    top = torch.stack([along + 4, along - 4], 1)
    word.beziers = torch.cat([top, (top + torch.tensor([-8.0, 8])).flip(0)]).reshape(1, 16)
    assert stripe([(45, 45), (45.5, 44), (70, 20), (20, 70)], 4.0, word).labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("length", [30.0, 128.0, 900.0])
def test_the_height_of_a_text_decides_its_level_for_the_whole_stripe(length: float):
    word = boxes((0, 0, length, 18))
    points = [(2, 9), (length / 2, 9), (length - 2, 9)]
    assert stripe(points, 4.0, word, limits=(-1.0, 24.0)).labels.tolist() == [0] * 3
    assert stripe(points, 8.0, word, limits=(24.0, 48.0)).labels.tolist() == [1] * 3


def test_near_a_border_of_heights_both_levels_answer():
    for height, levels in ((19, [0]), (22, [0, 1]), (27, [0, 1]), (30, [1])):
        word, middle = boxes((0, 0, 100, height)), [(50, height / 2)]
        limits = [(-1.0, 24.0), (24.0, 48.0)]
        answering = [i for i, limit in enumerate(limits) if stripe(middle, 8.0, word, limit).labels.tolist() == [0]]
        assert answering == levels


def test_regions_have_names():
    with pytest.raises(ConfigError, match="center or stripe"):
        TargetAssigner(region="middle")
