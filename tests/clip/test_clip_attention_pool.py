import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor

from fasttcm.clip import DenseAttentionPool

CHANNELS, EMBED, HEADS = 32, 16, 4


def make_pool(grid: tuple[int, int] = (7, 7), heads: int = HEADS) -> DenseAttentionPool:
    torch.manual_seed(0)
    return DenseAttentionPool(in_channels=CHANNELS, embed_dim=EMBED, num_heads=heads, grid=grid)


def feature_map(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randn(count, CHANNELS, height, width, generator=torch.Generator().manual_seed(1))


def test_global_output_is_that_of_open_clips_pool():
    pool = make_pool()
    published = AttentionPool2d(7, CHANNELS, HEADS, EMBED)
    published.load_state_dict(pool.state_dict())
    x = feature_map(7, 7)
    torch.testing.assert_close(pool(x)[0], published(x), rtol=1e-5, atol=1e-5)


def test_dense_output_asks_with_every_cell():
    """Against attention written out per head and query."""
    pool = make_pool(grid=(2, 3))
    x = feature_map(2, 3, count=1)
    cells = x[0].reshape(CHANNELS, 6).T
    tokens = torch.cat([cells.mean(0, keepdim=True), cells]) + pool.positional_embedding
    q, k, v = pool.q_proj(tokens), pool.k_proj(tokens), pool.v_proj(tokens)
    size = CHANNELS // HEADS
    expected = torch.zeros(7, CHANNELS)
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        expected[:, part] = (q[:, part] @ k[:, part].T / size**0.5).softmax(-1) @ v[:, part]
    expected = pool.c_proj(expected)
    pooled, dense = pool(x)
    torch.testing.assert_close(pooled[0], expected[0])
    torch.testing.assert_close(dense[0, :, 1, 2], expected[1 + 1 * 3 + 2])
    torch.testing.assert_close(dense[0].flatten(1).T, expected[1:])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (5, 8), (7, 7), (20, 3)])
def test_any_size_gives_one_vector_per_cell(height, width):
    pooled, dense = make_pool()(feature_map(height, width))
    assert pooled.shape == (2, EMBED)
    assert dense.shape == (2, EMBED, height, width)
    assert pooled.isfinite().all() and dense.isfinite().all()


def test_single_cell_equals_its_global_vector_up_to_position():
    pool = make_pool(grid=(1, 1))
    with torch.no_grad():
        pool.positional_embedding[1] = pool.positional_embedding[0]
    pooled, dense = pool(feature_map(1, 1))
    torch.testing.assert_close(dense[:, :, 0, 0], pooled)


def test_moving_cells_with_their_positions_moves_the_dense_output():
    pool = make_pool(grid=(2, 2))
    x = feature_map(2, 2)
    pooled, dense = pool(x)
    with torch.no_grad():
        pool.positional_embedding.copy_(pool.positional_embedding[[0, 2, 1, 4, 3]])
    pooled_flipped, dense_flipped = pool(x.flip(3))
    torch.testing.assert_close(pooled_flipped, pooled)
    torch.testing.assert_close(dense_flipped, dense.flip(3))


def test_position_resize_halves_by_averaging_the_two_middle_samples():
    """Bilinear without antialias from 4 to 2: each new sample lies halfway between two old ones."""
    pool = make_pool(grid=(1, 4))
    table = pool.positional_embedding
    expected = torch.stack([table[0], (table[1] + table[2]) / 2, (table[3] + table[4]) / 2])
    torch.testing.assert_close(pool.resized_position(1, 2), expected)


def test_position_resize_without_antialias_skips_distant_samples():
    """From 9 to 3 the new samples are old samples 1, 4 and 7 alone: an antialiased resize would mix in others."""
    pool = make_pool(grid=(1, 9))
    torch.testing.assert_close(pool.resized_position(1, 3), pool.positional_embedding[[0, 2, 5, 8]])


def test_position_of_the_stored_grid_is_the_table_itself():
    pool = make_pool()
    assert pool.resized_position(7, 7) is pool.positional_embedding


def test_stored_resize_changes_the_table_once_and_for_all():
    pool = make_pool()
    once = pool.resized_position(20, 12)
    direct = pool.resized_position(5, 8)
    pool.resize_grid_(20, 12)
    assert pool.grid == (20, 12)
    assert pool.state_dict()["positional_embedding"].shape == (241, CHANNELS)
    torch.testing.assert_close(pool.resized_position(20, 12), once)
    assert not torch.allclose(pool.resized_position(5, 8), direct, atol=1e-4)
    assert isinstance(pool.positional_embedding, torch.nn.Parameter)
    assert pool(feature_map(5, 8))[1].shape == (2, EMBED, 5, 8)


def test_stored_resize_keeps_a_frozen_table_frozen():
    pool = make_pool().requires_grad_(False)
    assert not pool.resize_grid_(3, 3).positional_embedding.requires_grad


@pytest.mark.parametrize("size", [(7, 7), (4, 6)])
def test_gradients_reach_every_parameter_and_the_features(size):
    pool, x = make_pool(), feature_map(*size).requires_grad_()
    pooled, dense = pool(x)
    (pooled.square().sum() + dense.square().sum()).backward()
    assert x.grad is not None and x.grad.abs().min() > 0
    for name, value in pool.named_parameters():
        if name == "k_proj.bias":  # shifts all logits of a query alike: the softmax does not see it
            assert value.grad.abs().max() < 1e-3
        else:
            assert value.grad is not None and value.grad.any(), name


def test_autocast_stays_near_full_precision():
    pool, x = make_pool(), feature_map(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        pooled, dense = pool(x)
    full = pool(x)
    assert (pooled - full[0]).abs().max() < 0.05 * full[0].std()
    assert (dense - full[1]).abs().max() < 0.1 * full[1].std()


def test_empty_batch():
    pooled, dense = make_pool()(feature_map(2, 3, count=0))
    assert pooled.shape == (0, EMBED) and dense.shape == (0, EMBED, 2, 3)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="num_heads 5 does not divide in_channels 32"):
        make_pool(heads=5)
    with pytest.raises(ValueError, match="grid"):
        make_pool(grid=(0, 3))
