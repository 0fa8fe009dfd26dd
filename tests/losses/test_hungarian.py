import itertools

import pytest
import torch

from fasttcm.losses.focal import sigmoid_focal_loss
from fasttcm.losses.hungarian import assign, focal_class_cost


def cheapest(cost: torch.Tensor) -> float:
    """Least total over every way to give each column a row of its own."""
    rows, columns = cost.shape
    choices = itertools.permutations(range(rows), columns)
    return min(sum(float(cost[row, column]) for column, row in enumerate(choice)) for choice in choices)


def test_the_assignment_is_the_cheapest_of_all():
    torch.manual_seed(0)
    for _ in range(20):
        cost = torch.randn(5, 3)
        rows, columns = assign(cost)
        assert rows.tolist() == sorted(set(rows.tolist())) and sorted(columns.tolist()) == [0, 1, 2]
        assert float(cost[rows, columns].sum()) == pytest.approx(cheapest(cost), abs=1e-5)
        assert rows.dtype == columns.dtype == torch.int64


def test_more_instances_than_predictions_leaves_some_out():
    cost = torch.tensor([[9.0, 1.0, 5.0], [2.0, 9.0, 9.0]])
    rows, columns = assign(cost)
    assert rows.tolist() == [0, 1] and columns.tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_match(shape):
    rows, columns = assign(torch.zeros(shape))
    assert len(rows) == len(columns) == 0 and rows.dtype == torch.int64


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_costs_that_are_not_finite_are_the_last_choice(bad):
    rows, columns = assign(torch.tensor([[bad, 900.0], [1.0, bad], [bad, bad]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert len(assign(torch.full((3, 2), bad))[0]) == 2


def test_small_differences_between_large_costs_count():
    cost = torch.tensor([[1e8, 0.0], [0.0, 1e8]], dtype=torch.float64) + torch.tensor([[0.0, 1e-3], [1e-3, 0.0]])
    assert assign(cost)[1].tolist() == [1, 0]


def test_class_cost_is_the_focal_loss_of_yes_minus_that_of_no():
    logits = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)
    cost = focal_class_cost(logits.sigmoid())
    for value, logit in zip(cost, logits, strict=True):
        yes, no = (sigmoid_focal_loss(logit, torch.tensor(target)) for target in (1.0, 0.0))
        assert float(value) == pytest.approx(float(yes - no), abs=1e-6)
    extremes = focal_class_cost(torch.tensor([0.0, 1.0]))
    assert torch.isfinite(extremes).all() and extremes[0] > 0 > extremes[1]
