import pytest
import torch
from reference import fill_state_dict, manifest
from torch import Tensor

from fasttcm.clip import TextTower

VOCABULARY = 50
END = VOCABULARY - 1
OTHER_KEYS = ("visual.", "logit_scale", "input_resolution", "context_length", "vocab_size")


def make_tower(context_length: int = 12) -> TextTower:
    tower = TextTower(embed_dim=24, context_length=context_length, vocab_size=VOCABULARY, width=32, heads=2, layers=2)
    tower.load_state_dict(fill_state_dict({key: tuple(value.shape) for key, value in tower.state_dict().items()}))
    return tower


def ids_of(*texts: list[int], length: int = 12) -> Tensor:
    return torch.tensor([[48, *text, END, *[0] * (length - len(text) - 2)] for text in texts])


def test_state_dict_names_are_clips():
    expected = {
        key: shape
        for key, shape in manifest("clip_rn50", "tiny_rn").items()
        if not key.startswith("visual.")
        and key not in ("logit_scale", "input_resolution", "context_length", "vocab_size")
    }
    tower = TextTower(embed_dim=64, context_length=16, vocab_size=64, width=64, heads=1, layers=1)
    assert {key: tuple(value.shape) for key, value in tower.state_dict().items()} == expected


def test_padding_and_shorter_contexts_change_nothing():
    tower = make_tower()
    long = tower(ids_of([5, 9, 7]))
    torch.testing.assert_close(tower(ids_of([5, 9, 7], length=6)), long)
    torch.testing.assert_close(tower(ids_of([5, 9, 7], length=5)), long)
    padded = ids_of([5, 9, 7])
    padded[:, 5:] = 3  # the causal mask hides what follows the end token
    torch.testing.assert_close(tower(padded), long)


def test_every_earlier_token_and_its_order_matter():
    tower = make_tower()
    out = tower(ids_of([5, 9, 7], [9, 5, 7], [5, 9, 8]))
    distances = torch.pdist(out)
    assert distances.min() > 0.05 * out.std()


def test_texts_of_a_batch_do_not_mix():
    tower = make_tower()
    batch = ids_of([5, 9, 7], [1], [2, 2, 2, 2])
    torch.testing.assert_close(tower(batch), torch.cat([tower(row[None]) for row in batch]))


def test_output_is_taken_at_the_first_largest_id():
    tower = make_tower()
    row = ids_of([5, 9])
    twice = row.clone()
    twice[0, -1] = END
    torch.testing.assert_close(tower(twice), tower(row))


def test_embeddings_entry_equals_ids_entry():
    tower = make_tower()
    ids = ids_of([5, 9, 7], [4])
    end = torch.tensor([4, 2])
    torch.testing.assert_close(tower.encode_embeddings(tower.embed(ids), end), tower(ids))
    assert not torch.allclose(tower.encode_embeddings(tower.embed(ids), end - 1), tower(ids), atol=1e-2)


def test_activation_is_quickgelu():
    mlp = make_tower().transformer.resblocks[0].mlp
    z = torch.linspace(-4, 4, 9)
    torch.testing.assert_close(mlp.gelu(z), z * torch.sigmoid(1.702 * z))


def test_truncated_context_keeps_the_first_positions():
    tower = make_tower()
    ids = ids_of([5, 9, 7], length=6)
    before, table = tower(ids), tower.positional_embedding.detach().clone()
    tower.requires_grad_(False).truncate_context_(6)
    assert tower.context_length == 6
    assert torch.equal(tower.state_dict()["positional_embedding"], table[:6])
    assert not tower.positional_embedding.requires_grad
    torch.testing.assert_close(tower(ids), before)
    with pytest.raises(ValueError, match="7 tokens exceeds the text tower's context length 6"):
        tower(ids_of([5], length=7))


@pytest.mark.parametrize("length", [0, 13])
def test_truncation_outside_the_table_is_refused(length):
    with pytest.raises(ValueError, match=f"1 .. 12, got {length}"):
        make_tower().truncate_context_(length)


def test_gradients_reach_every_parameter_and_learned_embeddings():
    tower = make_tower()
    x = tower.embed(ids_of([5, 9, 7])).detach().requires_grad_()
    tower.encode_embeddings(x, torch.tensor([11])).square().sum().backward()
    assert x.grad.abs().sum(-1).gt(0).all()
    tower(ids_of([5, 9, 7])).square().sum().backward()
    assert [name for name, value in tower.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_stay_near_float32(dtype):
    ids = ids_of([5, 9, 7])
    full, cast = make_tower()(ids), make_tower().to(dtype)(ids)
    assert cast.dtype == dtype
    assert (cast.float() - full).abs().max() < 0.1 * full.std()


def test_no_texts():
    assert make_tower()(torch.zeros(0, 12, dtype=torch.int64)).shape == (0, 24)
