"""Connectionist temporal classification: as a loss of matched texts, and as a matching cost of all pairs."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ctc_text_loss", "pairwise_ctc_cost"]

_MAX_ELEMENTS = 2**24
"""Log-probabilities held at once while the pairs are scored: 64 MiB."""


def ctc_text_loss(logits: Tensor, targets: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """CTC loss of m texts, each divided by its length, averaged; texts that have no path count as 0.

    Args:
        logits: (m, P, V + 1) class logits at P places; computed in float32.
        targets: (m, T) int64 classes, padded with anything.
        lengths: (m,) int64 characters of each target.
        blank: class of the blank.

    Returns:
        A scalar; 0, with zero gradient, when m is 0.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if len(logits) == 0:
        return logits.sum()
    places = lengths.new_full((len(logits),), logits.shape[1])
    log_probs = logits.log_softmax(2).transpose(0, 1)
    return F.ctc_loss(log_probs, targets, places, lengths, blank=blank, zero_infinity=True)


@torch.no_grad()
def pairwise_ctc_cost(logits: Tensor, targets: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """CTC loss of every prediction against every target, divided by the target's length.

    CTC reads only the probabilities of the blank and of the target's own characters. So each target is scored over
    these T + 1 classes instead of all V + 1: the same numbers, and memory that does not depend on the vocabulary.

    Args:
        logits: (Q, P, V + 1) class logits at P places; computed in float32.
        targets: (n, T) int64 classes, padded with anything that is a class.
        lengths: (n,) int64 characters of each target.
        blank: class of the blank.

    Returns:
        (Q, n) float32 (or float64) costs; a target that no path of P places can spell costs 0.
    """
    queries, places = logits.shape[:2]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cost = logits.new_zeros(queries, len(targets))
    if cost.numel() == 0:
        return cost
    log_probs = logits.log_softmax(2).transpose(0, 1)  # (P, Q, V + 1)
    # A repeated character must stay one class, or CTC would not ask for a blank between its two places.
    first = (targets[:, :, None] == targets[:, None, :]).int().argmax(2) + 1
    classes = torch.cat([torch.full_like(targets[:, :1], blank), targets], 1)
    chunk = max(1, _MAX_ELEMENTS // (queries * places * classes.shape[1]))
    for start in range(0, len(targets), chunk):
        some = slice(start, start + chunk)
        count = len(classes[some])
        read = log_probs[:, :, classes[some]].flatten(1, 2)  # (P, Q * count, T + 1)
        loss = F.ctc_loss(
            read,
            first[some].repeat(queries, 1),
            lengths.new_full((queries * count,), places),
            lengths[some].repeat(queries),
            blank=0,
            reduction="none",
            zero_infinity=True,
        )
        cost[:, some] = loss.view(queries, count)
    return cost / lengths.clamp(min=1)
