"""Texts to token ids: open_clip's byte-pair tokenizer, but a text that does not fit is an error."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from fasttcm.errors import ConfigError

__all__ = ["END_ID", "PAD_ID", "START_ID", "VOCABULARY_SIZE", "fold_vocabulary", "tokenize"]

VOCABULARY_SIZE = 49408
"""Entries of CLIP's vocabulary: 512 byte symbols, 48894 merges, start and end."""
PAD_ID = 0
START_ID = VOCABULARY_SIZE - 2
END_ID = VOCABULARY_SIZE - 1
"""The end token has the largest id: the text tower finds it by arg-max."""
_SPECIAL_TOKENS = 2  # start and end, in every row
_SMALLEST_VOCABULARY = 4  # padding, one ordinary token, start, end


@lru_cache(maxsize=1)
def _bpe() -> SimpleTokenizer:
    return SimpleTokenizer()


def tokenize(texts: Sequence[str], context_length: int) -> Tensor:
    """Token ids of n texts, (n, context_length) int64: start, pieces, end, then zeros.

    Texts are cleaned as in CLIP: ftfy repair, HTML-unescape, white space collapsed, lower case.

    Raises:
        ConfigError: a text needs more than ``context_length`` tokens.
    """
    bpe = _bpe()
    rows = torch.full((len(texts), context_length), PAD_ID, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        ids = bpe.encode(text)
        needed = len(ids) + _SPECIAL_TOKENS
        if needed > context_length:
            raise ConfigError(
                f"text {text!r} needs {needed} tokens with start and end, the context holds {context_length}: "
                "shorten the text or raise the context length"
            )
        row[:needed] = torch.tensor([START_ID, *ids, END_ID])
    return rows


def fold_vocabulary(ids: Tensor, vocab_size: int) -> Tensor:
    """Map ids of CLIP's vocabulary into a smaller one, for small text towers that learn from scratch.

    Padding stays 0, start becomes ``vocab_size - 2``, end ``vocab_size - 1`` (still the largest id), any other id i
    becomes ``1 + (i - 1) mod (vocab_size - 3)``: always the same, but several tokens share a row. With the full
    vocabulary (or a larger one) the ids are returned as they are.

    Args:
        ids: int64 of any shape, 0 .. 49407.
        vocab_size: rows of the tower's token table, at least 4.

    Raises:
        ConfigError: ``vocab_size`` has no room for padding, start, end and one ordinary token.
    """
    if vocab_size < _SMALLEST_VOCABULARY:
        raise ConfigError(f"a text vocabulary needs at least {_SMALLEST_VOCABULARY} entries, got {vocab_size}")
    if vocab_size >= VOCABULARY_SIZE:
        return ids
    ordinary = 1 + (ids - 1) % (vocab_size - 3)
    folded = torch.where(ids == PAD_ID, PAD_ID, ordinary)
    folded = torch.where(ids == START_ID, vocab_size - 2, folded)
    return torch.where(ids == END_ID, vocab_size - 1, folded)
