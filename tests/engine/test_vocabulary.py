"""A vocabulary from a file: trained with, carried by the checkpoint, compared with what a configuration asks for."""

import logging
from pathlib import Path

import pytest
import torch
from reference import manifest
from tiny import sample, tiny_config

from fasttcm import Spotter
from fasttcm.charset import LISTED, Charset
from fasttcm.engine.build import build_model
from fasttcm.engine.checkpoint import read_checkpoint, save_model
from fasttcm.engine.vocabulary import charset_difference, with_characters
from fasttcm.errors import CheckpointError, ConfigError

WORDS = "天地玄黄宇宙洪荒"
HEADS = ("DeepSolo", "TESTR", "ABCNet")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    file = tmp_path / "characters.txt"
    file.write_text("\n".join(WORDS) + "\n")
    return file


@pytest.mark.parametrize("head", HEADS)
def test_a_model_reads_the_characters_of_a_file_and_brings_them_along(head: str, listed: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = tiny_config(
        MODEL__META_ARCHITECTURE=head,
        MODEL__TEXT__CHARSET=str(listed),
        **{f"MODEL__{head.upper()}__INFERENCE_TH_TEST": 0.0},
    )
    model = build_model(cfg).train()
    losses = model([sample("天地", "玄x"), sample("荒", seed=1)])
    assert all(torch.isfinite(value) for value in losses.values())
    assert model.encode.foreign == 1 and model.encode(["地荒?"]) == [[1, 7, 8, 9, 9, 9]]
    image = sample(seed=2)
    with torch.inference_mode():
        (expected,) = model.eval()([image])
    save_model(tmp_path / "m.safetensors", model, cfg, 1)
    listed.unlink()
    spotter = Spotter.from_checkpoint(tmp_path / "m.safetensors", device="cpu")
    assert spotter.model.charset == Charset(WORDS)
    with torch.inference_mode():
        (found,) = spotter.model([image])
    assert found.texts == expected.texts and set("".join(found.texts)) <= set(WORDS + "口")


def test_the_configuration_of_a_run_holds_the_characters_themselves(listed: Path) -> None:
    cfg = tiny_config(MODEL__TEXT__CHARSET=str(listed))
    whole = with_characters(cfg)
    assert whole.MODEL.TEXT.CHARSET == LISTED + WORDS and with_characters(whole) is whole
    assert str(listed) == cfg.MODEL.TEXT.CHARSET and with_characters(tiny_config()) == tiny_config()
    with pytest.raises(AttributeError):
        whole.MODEL.TEXT.CHARSET = "ascii"


def test_a_difference_names_both_sides(listed: Path, tmp_path: Path) -> None:
    swapped = tmp_path / "swapped.txt"
    swapped.write_text("天地黄玄" + WORDS[4:])
    where = "MODEL.TEXT.CHARSET is {} in the checkpoint and {} in the configuration"
    assert charset_difference("ascii", "ascii") == charset_difference(LISTED + WORDS, str(listed)) == []
    cases = [
        ("ascii", "lower36", where.format("'ascii'", "'lower36'")),
        (LISTED + WORDS, "ascii", where.format("a list of 8 characters", "'ascii'")),
        ("ascii", str(listed), where.format("'ascii'", f"{str(listed)!r} of 8 characters")),
        ("unlisted:5461", "ascii", where.format("5461 characters, which it does not name,", "'ascii'")),
        (
            LISTED + WORDS,
            str(swapped),
            where.format("a list of 8 characters", f"{str(swapped)!r} of 8 characters")
            + " (from class 2 on: '玄黄宇' and '黄玄宇')",
        ),
    ]
    for stored, given, expected in cases:
        assert charset_difference(stored, given) == [expected]
    assert charset_difference("unlisted:8", str(listed)) == []
    with pytest.raises(ConfigError, match="nor a file here"):
        charset_difference("ascii", "asci")


def published_state(classes: int) -> dict[str, torch.Tensor]:
    """A DeepSolo of that many classes, zeros with the published names."""
    shapes = manifest("deepsolo", "deepsolo_r50_totaltext")
    text = "detection_transformer.ctrl_point_text."
    return {key: torch.zeros((classes, *shape[1:]) if key.startswith(text) else shape) for key, shape in shapes.items()}


def test_a_published_checkpoint_of_a_vocabulary_of_its_own_needs_the_file(
    listed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"model": published_state(len(WORDS) + 2)}, tmp_path / "rects.pth")
    with pytest.raises(ConfigError, match=r"reads 8 characters and does not say which; let MODEL\.TEXT\.CHARSET"):
        Spotter.from_checkpoint(tmp_path / "rects.pth", device="cpu")
    with pytest.raises(CheckpointError, match=r"is 8 characters, which it does not name, .* and 'ascii' in the config"):
        Spotter.from_checkpoint(tmp_path / "rects.pth", device="cpu", overrides=["MODEL.TEXT.CHARSET", "ascii"])
    overrides = ["MODEL.TEXT.CHARSET", str(listed)]
    with caplog.at_level(logging.INFO):
        spotter = Spotter.from_checkpoint(tmp_path / "rects.pth", device="cpu", overrides=overrides)
    assert spotter.model.charset.characters == WORDS and "a published checkpoint of deepsolo" in caplog.text
    save_model(tmp_path / "ours.safetensors", spotter.model, spotter.config, 1)
    assert read_checkpoint(tmp_path / "ours.safetensors").config.MODEL.TEXT.CHARSET == LISTED + WORDS
