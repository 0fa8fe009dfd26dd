"""Figures of openai/CLIP's RN50 (weights of the fill rule) and of the tiny TorchScript archive."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference import assert_matches, fill_state_dict, golden, golden_root, make_image, manifest
from torch import Tensor

from fasttcm.clip import ClipTowers, load_clip, preprocess, tokenize, towers_from_state_dict
from fasttcm.layers.image_batch import CLIP_PIXEL_MEAN, CLIP_PIXEL_STD

SYSTEM = "clip_rn50"
STAGES = ("stem_conv1", "stem", "layer1", "layer2", "layer3", "layer4")
FIXED_INPUTS = {"square": (224, 224, 0), "wide": (160, 256, 1)}
"""(height, width, seed) by the SPEC, for files that do not state them."""
PREPROCESS_ATOL = 0.02
"""PIL's bicubic resampling differs a little between versions (SPEC section 6)."""
LARGEST_SEED = 20

pytestmark = pytest.mark.golden


def normalised(height: int, width: int, seed: int) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_PIXEL_MEAN, CLIP_PIXEL_STD))
    return ((make_image(height, width, seed) - mean) / std)[None]


def image_of(figures: dict[str, np.ndarray], tag: str) -> Tensor:
    """The input of a tag: from meta, else of the stored size and the seed whose picture has the stored values."""
    if f"meta/{tag}" in figures:
        return normalised(*(int(value) for value in figures[f"meta/{tag}"]))
    if f"{tag}/input.shape" not in figures:
        return normalised(*FIXED_INPUTS[tag])
    _, _, height, width = (int(value) for value in figures[f"{tag}/input.shape"])
    mean = figures[f"{tag}/input.stats"][0]
    return min((normalised(height, width, seed) for seed in range(LARGEST_SEED)), key=lambda x: abs(x.mean() - mean))


@torch.no_grad()
def stages(towers: ClipTowers, images: Tensor) -> dict[str, Tensor]:
    trunk = towers.trunk
    first = trunk.act1(trunk.bn1(trunk.conv1(images)))
    levels = list(trunk(images).features.values())
    return dict(zip(STAGES, [first, trunk.stem(images), *levels], strict=True))


def check_image_tower(figures: dict[str, np.ndarray], towers: ClipTowers, tag: str) -> None:
    images = image_of(figures, tag)
    assert_matches(figures, f"{tag}/input", images)
    maps = stages(towers, images)
    for stage, value in maps.items():
        assert_matches(figures, f"{tag}/{stage}", value)
    last = maps["layer4"]
    assert_matches(figures, f"{tag}/position", towers.pool.resized_position(*last.shape[-2:]))
    with torch.no_grad():
        pooled, dense = towers.pool(last)
    assert_matches(figures, f"{tag}/global", pooled)
    assert_matches(figures, f"{tag}/dense", dense)


@torch.no_grad()
def encode_image(towers: ClipTowers, images: Tensor) -> Tensor:
    return towers.pool(towers.trunk(images).features["res5"])[0]


@pytest.fixture(scope="module")
def rn50_figures() -> dict[str, np.ndarray]:
    return golden(SYSTEM, "clip_rn50")


@pytest.fixture(scope="module")
def rn50() -> ClipTowers:
    return towers_from_state_dict(fill_state_dict(manifest(SYSTEM, "clip_rn50")))


@pytest.mark.parametrize("tag", ["square", "wide"])
def test_clip_rn50_image_tower(rn50_figures, rn50, tag):
    check_image_tower(rn50_figures, rn50, tag)


def test_clip_rn50_global_vector_is_clips_image_embedding(rn50_figures, rn50):
    assert_matches(rn50_figures, "square/encode_image", encode_image(rn50, image_of(rn50_figures, "square")))


def test_clip_rn50_tokens(rn50_figures):
    expected = rn50_figures["text/tokens"]
    ids = tokenize([str(prompt) for prompt in rn50_figures["meta/prompts"]], expected.shape[1])
    np.testing.assert_array_equal(ids.numpy(), expected)


@torch.no_grad()
def test_clip_rn50_text_tower(rn50_figures, rn50):
    text = rn50.text
    ids = torch.from_numpy(rn50_figures["text/tokens"])
    seen: dict[str, Tensor] = {}
    blocks = text.transformer.resblocks
    parts = {"block0": blocks[0], f"block{len(blocks) - 1}": blocks[-1], "ln_final": text.ln_final}
    hooks = [
        part.register_forward_hook(lambda _module, _inputs, output, name=name: seen.__setitem__(name, output))
        for name, part in parts.items()
    ]
    features = text(ids)
    for hook in hooks:
        hook.remove()
    assert_matches(rn50_figures, "text/embedded", text.embed(ids) + text.positional_embedding[: ids.shape[1]])
    for name in parts:
        assert_matches(rn50_figures, f"text/{name}", seen[name])
    assert_matches(rn50_figures, "text/features", features)


@torch.no_grad()
def test_clip_rn50_logits(rn50_figures, rn50):
    scale = math.exp(rn50.logit_scale)
    assert scale == pytest.approx(float(rn50_figures["logit_scale_exp"]), rel=1e-6)
    image = encode_image(rn50, image_of(rn50_figures, "square"))
    text = rn50.text(torch.from_numpy(rn50_figures["text/tokens"]))
    logits = scale * torch.nn.functional.normalize(image) @ torch.nn.functional.normalize(text).T
    assert_matches(rn50_figures, "logits_per_image", logits)


def test_clip_rn50_preprocess(rn50_figures):
    height, width, seed = (int(value) for value in rn50_figures["meta/photo"])
    pixels = make_image(height, width, seed).round().byte().permute(1, 2, 0).numpy()
    actual = preprocess(Image.fromarray(pixels))
    assert actual.shape == tuple(rn50_figures["preprocess.shape"])
    std = float(rn50_figures["preprocess.stats"][1])
    assert_matches(rn50_figures, "preprocess", actual, tolerance=PREPROCESS_ATOL / std)


@pytest.fixture(scope="module")
def tiny_figures() -> dict[str, np.ndarray]:
    return golden(SYSTEM, "tiny_rn")


@pytest.fixture(scope="module")
def tiny() -> ClipTowers:
    path = golden_root() / SYSTEM / "tiny_rn.pt"
    if not path.is_file():
        path = Path(__file__).parents[1] / "golden" / SYSTEM / "tiny_rn.pt"
    return load_clip(str(path))


def test_clip_rn50_tiny_archive_image_tower(tiny_figures, tiny):
    check_image_tower(tiny_figures, tiny, "wide")


def test_clip_rn50_tiny_archive_encode_image(tiny_figures, tiny):
    assert_matches(tiny_figures, "encode_image", encode_image(tiny, image_of(tiny_figures, "square")))


@torch.no_grad()
def test_clip_rn50_tiny_archive_encode_text(tiny_figures, tiny):
    assert_matches(tiny_figures, "encode_text", tiny.text(torch.from_numpy(tiny_figures["tokens"])))
