import itertools

import pytest
import torch
from torch.nn import functional as F

from fasttcm.losses.ctc import ctc_text_loss, pairwise_ctc_cost


def by_definition(probs: torch.Tensor, target: list[int], blank: int) -> float:
    """Minus log of the probability of all paths that collapse to ``target``, over its length."""
    total = 0.0
    for path in itertools.product(range(probs.shape[1]), repeat=probs.shape[0]):
        merged = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in merged if c != blank] == target:
            total += float(torch.stack([probs[i, c] for i, c in enumerate(path)]).prod())
    return float(-torch.tensor(total, dtype=torch.float64).log()) / len(target)


def test_pairs_cost_what_the_definition_says():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 4, dtype=torch.float64)
    targets = torch.tensor([[0, 1, 3], [2, 2, 3], [1, 3, 3]])
    lengths = torch.tensor([2, 2, 1])
    cost = pairwise_ctc_cost(logits, targets, lengths, blank=3)
    probs = logits.softmax(2)
    for q, t in itertools.product(range(3), range(3)):
        expected = by_definition(probs[q], targets[t, : lengths[t]].tolist(), 3)
        assert float(cost[q, t]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("limit", [1, 300, 2**24])
def test_chunks_and_the_smaller_vocabulary_change_nothing(limit, monkeypatch):
    monkeypatch.setattr("fasttcm.losses.ctc._MAX_ELEMENTS", limit)
    torch.manual_seed(1)
    queries, places, blank, most = 5, 12, 30, 7
    logits = torch.randn(queries, places, blank + 1)
    targets = torch.randint(0, blank, (6, most))
    lengths = torch.tensor([1, 7, 3, 5, 2, 4])
    targets[1] = torch.tensor([4, 4, 4, 4, 4, 4, 4])  # needs 13 places
    for row, length in zip(targets, lengths, strict=True):
        row[length:] = blank
    cost = pairwise_ctc_cost(logits, targets, lengths, blank)
    log_probs = logits.log_softmax(2).transpose(0, 1)
    for j, length in enumerate(lengths):
        expected = F.ctc_loss(
            log_probs,
            targets[j].expand(queries, most),
            torch.full((queries,), places),
            length.expand(queries),
            blank=blank,
            reduction="none",
            zero_infinity=True,
        )
        torch.testing.assert_close(cost[:, j], expected / length)
    assert (cost[:, 1] == 0).all() and (cost[:, 0] > 0).all()


def test_nothing_to_compare():
    none = torch.zeros(0, 5, dtype=torch.int64)
    assert pairwise_ctc_cost(torch.randn(3, 4, 6), none, none[:, 0], 5).shape == (3, 0)
    assert pairwise_ctc_cost(torch.randn(0, 4, 6), torch.zeros(2, 5).long(), torch.ones(2).long(), 5).shape == (0, 2)


def test_text_loss_averages_over_texts_of_their_own_length():
    torch.manual_seed(2)
    logits = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    targets, lengths = torch.tensor([[0, 1], [2, 3]]), torch.tensor([2, 1])
    loss = ctc_text_loss(logits, targets, lengths, blank=3)
    probs = logits.detach().softmax(2)
    expected = (by_definition(probs[0], [0, 1], 3) + by_definition(probs[1], [2], 3)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0


def test_a_text_without_a_path_is_worth_nothing_and_moves_nothing():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    loss = ctc_text_loss(logits, torch.tensor([[1, 1, 1]]), torch.tensor([3]), blank=3)
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_no_texts_give_zero_with_a_gradient():
    logits = torch.randn(0, 3, 4, requires_grad=True)
    loss = ctc_text_loss(logits * 1, torch.zeros(0, 2).long(), torch.zeros(0).long(), blank=3)
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == logits.shape


def test_half_precision_logits_are_scored_in_single_precision():
    logits = torch.randn(2, 6, 5).bfloat16()
    targets, lengths = torch.tensor([[0, 1], [2, 4]]), torch.tensor([2, 1])
    assert pairwise_ctc_cost(logits, targets, lengths, 4).dtype == torch.float32
    torch.testing.assert_close(
        ctc_text_loss(logits, targets, lengths, 4), ctc_text_loss(logits.float(), targets, lengths, 4)
    )
