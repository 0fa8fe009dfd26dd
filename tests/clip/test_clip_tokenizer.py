import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from fasttcm.clip import END_ID, PAD_ID, START_ID, VOCABULARY_SIZE, fold_vocabulary, tokenize
from fasttcm.errors import ConfigError

PIXELS = "the pixels of many arbitrary-shape text instances."
PIXELS_IDS = [49406, 518, 34099, 539, 1346, 22702, 856, 268, 6448, 4160, 1264, 3515, 269, 49407]
"""openai/CLIP's ids (SPEC section 3)."""


def test_known_prompt_fits_exactly():
    assert tokenize([PIXELS], 14).tolist() == [PIXELS_IDS]
    assert tokenize([PIXELS], 16).tolist() == [[*PIXELS_IDS, 0, 0]]


def test_one_token_too_many_is_an_error_that_names_text_length_and_limit():
    with pytest.raises(ConfigError, match=r"'the pixels .*' needs 14 tokens with start and end, the context holds 13"):
        tokenize(["text", PIXELS], 13)


def test_special_ids_are_the_last_two():
    bpe = SimpleTokenizer()
    assert (bpe.sot_token_id, bpe.eot_token_id) == (START_ID, END_ID)
    assert bpe.vocab_size == VOCABULARY_SIZE


def test_empty_text_and_no_text():
    assert tokenize([""], 4).tolist() == [[START_ID, END_ID, PAD_ID, PAD_ID]]
    assert tokenize([], 4).shape == (0, 4)
    assert tokenize([], 4).dtype == torch.int64


def test_cleaning_makes_equal_rows():
    rows = tokenize(["Fish &amp;amp; Chips", "  fish  &\tchips ", "FISH &amp; CHIPS"], 8)
    assert (rows == rows[0]).all()


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.integers(0, VOCABULARY_SIZE - 1)), vocab_size=st.integers(4, 300))
def test_folding_keeps_padding_and_special_tokens_apart(ids, vocab_size):
    ids = [*ids, PAD_ID, START_ID, END_ID]
    folded = fold_vocabulary(torch.tensor(ids), vocab_size).tolist()
    for source, target in zip(ids, folded, strict=True):
        if source in (PAD_ID, START_ID, END_ID):
            assert target == {PAD_ID: 0, START_ID: vocab_size - 2, END_ID: vocab_size - 1}[source]
        else:
            assert target == 1 + (source - 1) % (vocab_size - 3)
            assert 1 <= target <= vocab_size - 3


def test_folding_keeps_rows_and_the_place_of_the_end_token():
    ids = tokenize(["text", PIXELS], 20)
    folded = fold_vocabulary(ids, 64)
    assert torch.equal(folded.argmax(-1), ids.argmax(-1))
    assert len(folded.unique()) > 8


def test_full_vocabulary_is_not_folded():
    ids = tokenize([PIXELS], 14)
    assert torch.equal(fold_vocabulary(ids, VOCABULARY_SIZE), ids)


def test_vocabulary_without_room_is_refused():
    with pytest.raises(ConfigError, match="at least 4 entries, got 3"):
        fold_vocabulary(torch.tensor([0]), 3)
