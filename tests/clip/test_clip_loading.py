import dataclasses
import hashlib
import logging
import math
import socket
from pathlib import Path

import pytest
import torch
from open_clip import load_openai_model
from reference import fill_state_dict, manifest
from safetensors.torch import save_file

from fasttcm.clip import RN50_SHA256, RN50_URL, ClipSizes, ClipTowers, load_clip, towers_from_state_dict
from fasttcm.errors import CheckpointError

ARCHIVE = Path(__file__).parents[1] / "golden" / "clip_rn50" / "tiny_rn.pt"
SMALL = ClipSizes(
    embed_dim=16,
    layers=(1, 1, 1, 1),
    width=4,
    image_resolution=64,
    context_length=8,
    vocab_size=32,
    text_width=64,
    text_heads=1,
    text_layers=1,
)


def state_of(towers: ClipTowers) -> dict[str, torch.Tensor]:
    """Weights under OpenAI's names."""
    parts = {"visual.": towers.trunk, "visual.attnpool.": towers.pool, "": towers.text}
    state = {prefix + key: value for prefix, part in parts.items() for key, value in part.state_dict().items()}
    return state | {"logit_scale": torch.tensor(towers.logit_scale)}


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to open a connection fails the test."""

    def refuse(*_args: object, **_options: object) -> None:
        pytest.fail("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("open_clip.pretrained.download_pretrained_from_url", refuse)
    monkeypatch.setattr("open_clip.openai.download_pretrained_from_url", refuse)


@torch.no_grad()
def test_archive_computes_what_open_clips_own_loader_computes():
    towers, reference = load_clip(str(ARCHIVE)), load_openai_model(str(ARCHIVE), precision="fp32", device="cpu")
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(1, 63, (3, 16), generator=torch.Generator().manual_seed(0))
    pooled, _ = towers.pool(towers.trunk(images).features["res5"])
    torch.testing.assert_close(pooled, reference.encode_image(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(towers.text(ids), reference.encode_text(ids), rtol=1e-4, atol=1e-5)
    assert towers.logit_scale == pytest.approx(float(reference.logit_scale))


def test_archive_is_read_as_float32_in_eval_mode_with_its_hash():
    towers = load_clip(ARCHIVE)
    assert all(value.dtype == torch.float32 for value in towers.text.parameters())
    assert not (towers.trunk.training or towers.pool.training or towers.text.training)
    assert towers.sha256 == hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["safetensors", "torch", "nested"])
def test_plain_files_under_the_same_names_are_accepted(tmp_path, form):
    state = fill_state_dict(manifest("clip_rn50", "tiny_rn"))
    path = tmp_path / f"tiny.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "nested" else state, path)
    loaded = state_of(load_clip(path))
    for key, value in state.items():
        if key in loaded:
            assert torch.equal(loaded[key], value.float() if value.is_floating_point() else value), key
    assert set(loaded) == set(state) - {"input_resolution", "context_length", "vocab_size"}


def test_towers_survive_a_round_trip_through_a_file(tmp_path):
    towers = load_clip("random", sizes=SMALL)
    save_file({key: value.contiguous() for key, value in state_of(towers).items()}, tmp_path / "small.safetensors")
    again = load_clip(tmp_path / "small.safetensors", sizes=SMALL)
    torch.testing.assert_close(state_of(again), state_of(towers))


@pytest.mark.parametrize("name", ["RN50", "openai", "RN50.pt", "RN50-quickgelu"])
def test_a_model_name_is_a_missing_file_and_never_a_download(offline, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"cannot load CLIP from {name}: there is no such file") as raised:
        load_clip(name)
    assert RN50_URL in str(raised.value) and RN50_SHA256 in str(raised.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"not weights at all", "not a complete zip archive"),
        (b"\x80\x02}q\x00.", "not a complete zip archive"),
    ],
)
def test_files_that_are_no_archive_say_what_they_are(tmp_path, content, reason):
    path = tmp_path / "RN50.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as raised:
        load_clip(path)
    message = str(raised.value)
    assert str(path) in message and RN50_URL in message and message.count(RN50_SHA256) == 2  # in the URL and by itself
    assert "\n" not in message


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_truncated_archive(tmp_path, kept):
    content = ARCHIVE.read_bytes()
    path = tmp_path / "RN50.pt"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match="cut short"):
        load_clip(path)


def test_damaged_safetensors(tmp_path):
    path = tmp_path / "RN50.safetensors"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match=r"RN50\.safetensors"):
        load_clip(path)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": Path("x")}}, path)
    with pytest.raises(CheckpointError, match="evil") as raised:
        load_clip(path)
    assert "\n" not in str(raised.value)


def test_sizes_and_causal_mask_among_the_weights_are_no_fault():
    state = fill_state_dict(manifest("clip_rn50", "tiny_rn"))
    extra = {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(64), "attn_mask": torch.zeros(16, 16)}
    torch.testing.assert_close(state_of(towers_from_state_dict(state | extra)), state_of(towers_from_state_dict(state)))


def test_folder_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_clip(tmp_path)


def test_layout_of_another_network_names_a_missing_key():
    with pytest.raises(CheckpointError, match=r"cannot load CLIP from resnet\.pth: .*attnpool.* is missing"):
        towers_from_state_dict({"fc.weight": torch.zeros(2, 2)}, source="resnet.pth")


def test_missing_left_over_and_misshapen_tensors_are_named():
    state = fill_state_dict(manifest("clip_rn50", "tiny_rn"))
    del state["visual.bn2.running_var"]
    state["visual.layer4.0.extra"] = torch.zeros(1)
    state["ln_final.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as raised:
        towers_from_state_dict(state)
    message = str(raised.value)
    assert "missing: visual.bn2.running_var" in message
    assert "left over: visual.layer4.0.extra" in message
    assert "ln_final.bias (3,) (expected (64,))" in message


def test_contradicted_sizes_are_an_error_that_names_fields_and_both_values():
    own = load_clip(ARCHIVE).sizes
    assert load_clip(ARCHIVE, sizes=own).sizes == own
    with pytest.raises(
        CheckpointError, match=r"tiny_rn\.pt .*layers: \(2, 1, 1, 1\) against \(3, 4, 6, 3\).*width: 2 against 64"
    ):
        load_clip(ARCHIVE, sizes=dataclasses.replace(own, width=64, layers=(3, 4, 6, 3)))


def test_unpublished_file_of_rn50s_sizes_is_used_with_a_warning(caplog, monkeypatch):
    """The sizes taken for RN50's are those of the small archive here: the rule is the same, the file is not 250 MB."""
    monkeypatch.setattr("fasttcm.clip.loading._RN50_SIZES", load_clip(ARCHIVE).sizes)
    with caplog.at_level(logging.WARNING, logger="fasttcm.clip.loading"):
        digest = load_clip(ARCHIVE).sha256
    assert len(caplog.records) == 1
    assert digest in caplog.text and RN50_SHA256 in caplog.text and str(ARCHIVE) in caplog.text


def test_small_archive_is_not_compared_with_the_published_hash(caplog):
    load_clip(ARCHIVE)
    assert caplog.records == []


def test_new_towers_have_the_sizes_and_initialisation_asked_for():
    torch.manual_seed(0)
    towers = load_clip("random", sizes=SMALL)
    assert towers.sizes == SMALL and towers.sha256 is None
    assert towers.logit_scale == pytest.approx(math.log(1 / 0.07))
    assert ClipSizes.from_state_dict(state_of(towers)) == SMALL
    assert towers.pool.q_proj.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert towers.text.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)
    pooled, dense = towers.pool(towers.trunk(torch.randn(1, 3, 64, 96)).features["res5"])
    assert pooled.shape == (1, 16) and dense.shape == (1, 16, 2, 3)
    assert dense.std() > 1e-3
