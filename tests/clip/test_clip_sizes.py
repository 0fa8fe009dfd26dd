import pytest
import torch
from reference import fill_state_dict, manifest

from fasttcm.clip import ClipSizes
from fasttcm.errors import CheckpointError, ConfigError

TINY = ClipSizes(
    embed_dim=64,
    layers=(2, 1, 1, 1),
    width=2,
    image_resolution=224,
    context_length=16,
    vocab_size=64,
    text_width=64,
    text_heads=1,
    text_layers=1,
)


def shapes_of(file: str) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in manifest("clip_rn50", file).items()}


def test_defaults_are_those_of_the_published_rn50():
    assert ClipSizes.from_state_dict(shapes_of("clip_rn50")) == ClipSizes()
    assert ClipSizes().stage_channels == (256, 512, 1024, 2048)
    assert ClipSizes().pool_heads == 32
    assert ClipSizes().grid == (7, 7)


def test_sizes_of_a_small_model_are_read_off_its_keys():
    assert ClipSizes.from_state_dict(fill_state_dict(manifest("clip_rn50", "tiny_rn"))) == TINY
    assert TINY.stage_channels == (8, 16, 32, 64)
    assert TINY.pool_heads == 1


def test_contradictions_name_the_field_and_both_values():
    assert ClipSizes().contradictions(ClipSizes()) == []
    assert ClipSizes().contradictions(ClipSizes(width=32, layers=(1, 1, 1, 1))) == [
        "layers: (3, 4, 6, 3) against (1, 1, 1, 1)",
        "width: 64 against 32",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embed_dim", 0),
        ("layers", (3, 4, 6)),
        ("layers", (3, 4, 0, 3)),
        ("width", 7),
        ("image_resolution", 225),
        ("text_heads", 7),
        ("text_layers", -1),
    ],
)
def test_impossible_sizes_are_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=field.replace("text_heads", "text_heads 7")):
        ClipSizes(**{field: value})


def test_missing_key_is_named():
    state = shapes_of("tiny_rn")
    del state["ln_final.weight"]
    with pytest.raises(CheckpointError, match=r"ln_final\.weight is missing"):
        ClipSizes.from_state_dict(state)


@pytest.mark.parametrize("rows", [0, 1, 49])
def test_table_of_positions_that_is_no_square_is_refused(rows):
    state = {**shapes_of("tiny_rn"), "visual.attnpool.positional_embedding": torch.empty(rows, 64)}
    with pytest.raises(CheckpointError):
        ClipSizes.from_state_dict(state)


def test_stage_without_blocks_is_refused():
    state = {key: value for key, value in shapes_of("tiny_rn").items() if not key.startswith("visual.layer3")}
    with pytest.raises(CheckpointError, match="layers must be positive"):
        ClipSizes.from_state_dict(state)
