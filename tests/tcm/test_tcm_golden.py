"""TCM, FastTCM and the spotter form against figures of the published implementation (all sizes as published)."""

import copy
from functools import lru_cache

import numpy as np
import pytest
import torch
from reference import assert_matches, features, fill_state_dict, fill_tensor, golden, make_image, manifest
from torch import Tensor, nn

from fasttcm.clip import ClipResNet, ClipSizes, DenseAttentionPool, TextTower, tokenize
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.losses.ohem import ohem_dice_loss
from fasttcm.structures import TextTargets
from fasttcm.tcm import (
    InstanceLanguageMatching,
    MatchingLoss,
    PromptDecoder,
    SpotterMatching,
    TCMBackbone,
    backbone_key,
    build_text,
    convert_published,
    matching_key,
    pad_to,
    spotter_key,
    upsample_logits,
)
from fasttcm.tcm.matching import TEMPERATURE
from fasttcm.tcm.prompts import DEFAULT_CLASS_TEXTS

pytestmark = pytest.mark.golden

SIZES = ClipSizes()
TABLE_SIDE = 20  # rows of the pool's table for input_resolution 640
DBNET_MEAN = (122.67891434, 116.66876762, 104.00698793)  # TCM's detector configurations, 0..255 RGB
DBNET_STD = (58.395, 57.12, 57.375)

# Published configurations: prompt kind, learned tokens, then the parts that they have.
VARIANTS = {
    "learnable_32": {"num_contexts": 32},
    "learnable_only_18": {"prompt_kind": "learnable", "num_contexts": 18, "language": False, "visual": False},
    "learnable_only_32": {"prompt_kind": "learnable", "num_contexts": 32, "language": False, "visual": False},
    "predefined_only": {"prompt_kind": "predefined", "language": False, "visual": False, "refinement": False},
    "no_visual_prompt": {"visual": False},
    "two_classes": {"class_texts": ("text", "the night sky")},
    "logit_scale": {"logit_scale": True},
}


@lru_cache(maxsize=2)
def published_tower(file: str = "tcm", prefix: str = "") -> TextTower:
    """CLIP's text tower with the filled weights, except for the table of positions: its length is the prompt's."""
    tower = TextTower(
        embed_dim=SIZES.embed_dim,
        context_length=SIZES.context_length,
        vocab_size=SIZES.vocab_size,
        width=SIZES.text_width,
        heads=SIZES.text_heads,
        layers=SIZES.text_layers,
    )
    tower.load_state_dict(filled(file, prefix + "text_encoder.", drop="positional_embedding"), strict=False)
    return tower.eval()


def filled(file: str, prefix: str, drop: str = "nothing") -> dict[str, Tensor]:
    """Filled weights of the published keys that start with a prefix, without it."""
    shapes = {k: s for k, s in manifest("tcm", file).items() if k.startswith(prefix) and not k.endswith(drop)}
    return {key[len(prefix) :]: value for key, value in fill_state_dict(shapes).items()}


def new_tower(*origin: str) -> TextTower:
    """A tower that shares the weights of a published one but can be truncated on its own."""
    shared = published_tower(*origin)
    return copy.deepcopy(shared, memo={id(parameter): parameter for parameter in shared.parameters()})


def new_matching(
    *,
    image_conditioned: bool = True,
    language: bool = True,
    visual: bool = True,
    refinement: bool = True,
    logit_scale: bool = False,
    origin: tuple[str, ...] = (),
    **prompt: object,
) -> InstanceLanguageMatching:
    return InstanceLanguageMatching(
        text=build_text(
            tower=new_tower(*origin),
            embed_dim=SIZES.embed_dim,
            image_conditioned=image_conditioned,
            language_prompt=language,
            **prompt,
        ),
        context_decoder=PromptDecoder(embed_dim=SIZES.embed_dim) if refinement else None,
        visual_prompt_generator=PromptDecoder(embed_dim=SIZES.embed_dim) if visual else None,
        embed_dim=SIZES.embed_dim,
        logit_scale=logit_scale,
    )


def fill_matching(matching: InstanceLanguageMatching, shapes: dict[str, tuple[int, ...]], prefix: str = "") -> None:
    """Load every part of the published state dict except the shared tower, whose positions are loaded."""
    tower = "text_encoder."
    own = matching.text.encoder.tower.positional_embedding.shape
    shapes = {key: tuple(own) if key == prefix + tower + "positional_embedding" else s for key, s in shapes.items()}
    state = {
        key: torch.from_numpy(fill_tensor(key, shape))
        for key, shape in shapes.items()
        if not key.startswith(prefix + tower) or key.endswith("positional_embedding")
    }
    plain = {key[len(prefix) :]: value for key, value in state.items()}
    converted = convert_published(plain, matching, {key: matching_key(key) for key in plain})
    missing, unexpected = matching.load_state_dict(converted, strict=False)
    assert not unexpected
    assert all(".tower." in key for key in missing), missing
    matching.eval()


def variant_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Published keys of a variant: those of the base configuration with another number of contexts."""
    options = VARIANTS[name]
    shapes = {key: s for key, s in manifest("tcm", "tcm").items() if not key.startswith("backbone.")}
    contexts = 0 if options.get("prompt_kind") == "predefined" else options.get("num_contexts", 4)
    shapes["contexts"] = (1, contexts, SIZES.text_width)
    if not options.get("language", True):
        shapes = {key: s for key, s in shapes.items() if not key.startswith("prompt_generator.")}
    if not options.get("visual", True):
        shapes = {key: s for key, s in shapes.items() if not key.startswith("visual_prompt_generator.")}
    if not options.get("refinement", True):
        shapes = {key: s for key, s in shapes.items() if not key.startswith("context_decoder.")}
    if options.get("logit_scale"):
        shapes["logit_scale"] = ()
    return shapes


def named_features(figures: dict[str, np.ndarray], *names: str) -> list[Tensor]:
    """Random features that the figures were computed from; grids and batch from ``meta``."""
    prefix, batch = str(figures["meta/features_prefix"]), int(figures["meta/batch"])
    grid = tuple(int(n) for n in figures["meta/grid"])
    spotter_grid = tuple(int(n) for n in figures["meta/spotter_grid"])
    shapes = {
        "global": (batch, SIZES.embed_dim),
        "visual": (batch, SIZES.embed_dim, *grid),
        "text": (batch, 1, SIZES.embed_dim),
        "p4": (batch, 256, *spotter_grid),
        "res4": (batch, 1024, *spotter_grid),
    }
    return [features(f"{prefix}.{name}", shapes[name]) for name in names]


def tokens_of(visual: Tensor) -> Tensor:
    return visual.flatten(2).transpose(1, 2)


@pytest.fixture(scope="module")
def figures() -> dict[str, np.ndarray]:
    return golden("tcm", "tcm")


@pytest.fixture(scope="module")
def tcm() -> InstanceLanguageMatching:
    matching = new_matching()
    fill_matching(matching, {k: s for k, s in manifest("tcm", "tcm").items() if not k.startswith("backbone.")})
    return matching


@torch.no_grad()
def test_tcm_modules(figures, tcm):
    image, visual, text = named_features(figures, "global", "visual", "text")
    assert_matches(figures, "input/global", image)
    assert_matches(figures, "input/visual", visual)
    encoder = tcm.text.encoder
    assert torch.equal(encoder.token_ids, torch.from_numpy(figures["module/tokens"]).long())
    cue = tcm.text.prompt_generator(image)
    assert_matches(figures, "module/prompt_generator", cue)
    sequence, end = encoder.assemble(cue)
    assert_matches(figures, "module/prompt_sequence", sequence)
    assert end.tolist() == figures["module/prompt_end"].tolist()
    assert_matches(figures, "module/text_encoder", encoder(cue))
    assert_matches(figures, "module/text_encoder_no_cue", encoder())
    memory = torch.cat([image[:, None], tokens_of(visual)], dim=1)
    assert_matches(figures, "module/context_decoder_memory", tcm.context_decoder.memory_proj(memory))
    assert_matches(figures, "module/context_decoder", tcm.context_decoder(text, memory))
    prompt = tcm.visual_prompt_generator(tokens_of(visual), text)
    assert_matches(figures, "module/visual_prompt_generator", prompt)


@torch.no_grad()
def test_tcm_matching(figures, tcm):
    matched = tcm(*named_features(figures, "global", "visual"))
    assert_matches(figures, "tcm/text", matched.text)
    assert_matches(figures, "tcm/score", matched.score)
    assert torch.allclose(matched.logits, matched.score / TEMPERATURE)


@pytest.mark.parametrize("name", VARIANTS, ids=lambda name: f"tcm-{name}")
@torch.no_grad()
def test_variant(figures, name):
    options = dict(VARIANTS[name])
    ids = torch.from_numpy(figures[f"variant/{name}/tokens"]).long()
    if options.get("prompt_kind") != "learnable":
        assert torch.equal(tokenize(options.get("class_texts", DEFAULT_CLASS_TEXTS), ids.shape[1]), ids)
    matching = new_matching(**options, context_length=ids.shape[1])
    fill_matching(matching, variant_shapes(name))
    matched = matching(*named_features(figures, "global", "visual"))
    assert_matches(figures, f"variant/{name}/text", matched.text)
    assert_matches(figures, f"variant/{name}/score", matched.score)


def pixel_maps(figures: dict[str, np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, H, W) at image size, target and mask, drawn from the boxes of ``meta``."""
    name = "loss/target.shape" if "loss/target.shape" in figures else "loss/target"
    batch, height, width = figures[name].tolist() if name.endswith("shape") else figures[name].shape
    target, mask = torch.zeros(batch, height, width), torch.ones(batch, height, width)
    for maps, boxes, value in ((target, "target", 1.0), (mask, "ignore", 0.0)):
        for image, y0, x0, y1, x1 in figures[f"meta/{boxes}_boxes"].tolist():
            maps[image, y0:y1, x0:x1] = value
    logits = upsample_logits(torch.from_numpy(figures["tcm/score"]) / TEMPERATURE, (height, width))[:, 0]
    return logits, target, mask


def test_tcm_pixel_losses(figures):
    logits, target, mask = pixel_maps(figures)
    assert_matches(figures, "loss/target", target)
    assert_matches(figures, "loss/mask", mask)
    assert_matches(figures, "loss/upsampled", logits[:, None])
    assert_matches(figures, "loss/bce", balanced_bce_loss(logits, target, mask))
    alone = [name for name in figures if name.startswith("loss/bce_image")]
    assert alone
    for name in alone:
        image = int(name.removeprefix("loss/bce_image"))
        assert_matches(figures, name, balanced_bce_loss(logits[image], target[image], mask[image]))
    assert_matches(figures, "loss/dice", dice_loss(logits, target, mask))
    assert_matches(figures, "loss/dice_image0", dice_loss(logits[0], target[0], mask[0]))
    assert_matches(figures, "loss/pan", ohem_dice_loss(logits, target, mask))


def test_tcm_fcenet_loss(figures):
    logits = torch.from_numpy(figures["tcm/score"])[:, 0] / TEMPERATURE
    target, mask = (torch.from_numpy(figures[f"loss/fce_{name}"]) for name in ("target", "mask"))
    assert_matches(figures, "loss/fce", balanced_bce_loss(logits, target, pad_to(mask, tuple(logits.shape[-2:]))))


def test_tcm_spotter_losses(figures):
    logits, target, _ = pixel_maps(figures)
    assert_matches(figures, "loss/spotter_dice", dice_loss(logits, target))
    terms = torch.stack([dice_loss(*maps) for maps in zip(logits, target, strict=True)])
    assert_matches(figures, "loss/spotter_dice_per_image", terms)

    # The same from polygons: the figures' regions are not shrunk, and filling includes the outline.
    size = tuple(target.shape[-2:])
    polygons: list[list[np.ndarray]] = [[] for _ in logits]
    for image, y0, x0, y1, x1 in figures["meta/target_boxes"].tolist():
        ring = [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]
        polygons[image].append(np.array(ring, np.float32))
    text_logits = torch.from_numpy(figures["tcm/score"]) / TEMPERATURE
    loss = MatchingLoss(kind="dice", weight=1.0, shrink_ratio=1.0)
    value = loss(text_logits, [text_targets(rings) for rings in polygons], [size] * len(logits), size)
    assert float(value) == pytest.approx(float(terms.mean()), abs=1e-5)


def text_targets(polygons: list[np.ndarray]) -> TextTargets:
    n = len(polygons)
    return TextTargets(
        polygons,
        torch.zeros(n, 16),
        torch.zeros(n, 4),
        ["a"] * n,
        torch.zeros(n, dtype=torch.bool),
        torch.zeros(n).long(),
    )


@pytest.fixture(scope="module")
def tcm_backbone(tcm) -> TCMBackbone:
    backbone = TCMBackbone(
        trunk=ClipResNet(layers=SIZES.layers, width=SIZES.width),
        pool=DenseAttentionPool(
            in_channels=SIZES.stage_channels[-1],
            embed_dim=SIZES.embed_dim,
            num_heads=SIZES.pool_heads,
            grid=(TABLE_SIDE, TABLE_SIDE),
        ),
        matching=tcm,
    )
    published = {"backbone." + key: value for key, value in filled("tcm", "backbone.").items()}
    converted = convert_published(published, backbone, {key: backbone_key(key) for key in published})
    missing, unexpected = backbone.load_state_dict(converted, strict=False)
    assert not unexpected
    assert all(key.startswith("matching.") for key in missing), missing
    return backbone.eval()


@torch.no_grad()
def test_tcm_whole_backbone(figures, tcm_backbone):
    height, width, seed = figures["meta/image"].tolist()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (DBNET_MEAN, DBNET_STD))
    images = ((make_image(height, width, seed) - mean) / std)[None]
    assert_matches(figures, "whole/input", images)
    stages = tcm_backbone.trunk(images).features
    for i, level in enumerate(stages):
        assert_matches(figures, f"whole/layer{i + 1}", stages[level])
    image, dense = tcm_backbone.pool(stages["res5"])
    assert_matches(figures, "whole/global", image)
    assert_matches(figures, "whole/dense", dense)
    matched = tcm_backbone.matching(image, dense)
    assert_matches(figures, "whole/text", matched.text)
    assert_matches(figures, "whole/score", matched.score)
    output = tcm_backbone(images)
    assert_matches(figures, "whole/last_stage", output.features["res5"])
    assert_matches({"logits": figures["whole/score"] / TEMPERATURE}, "logits", output.text_logits)


@pytest.mark.parametrize("file", ["fasttcm", "fasttcm_published"], ids=lambda file: f"tcm-{file}")
@torch.no_grad()
def test_fasttcm_matching(file):
    figures = golden("tcm", "fasttcm")
    matching = new_matching(image_conditioned=False)
    fill_matching(matching, {k: s for k, s in manifest("tcm", file).items() if not k.startswith("backbone.")})
    matched = matching(*named_features(figures, "global", "visual"))
    (image,) = named_features(figures, "global")
    assert_matches(figures, "fast/cached_text", matching.text.cached_text)
    assert_matches(figures, "fast/bsm", matching.text(image).embeddings)
    assert_matches(figures, "fast/gate", matched.gate)
    assert_matches(figures, "fast/text", matched.text)
    assert_matches(figures, "fast/score", matched.score)


def new_spotter_matching(*, channels: int, project: bool, learned_gamma: bool = False) -> SpotterMatching:
    prefix = "clip_pix_cls."
    spotter = SpotterMatching(
        matching=new_matching(origin=("tcm_spotter_p4", prefix)),
        in_channels=channels,
        embed_dim=SIZES.embed_dim,
        project=project,
        learned_gamma=learned_gamma,
    )
    shapes = manifest("tcm", "tcm_spotter_p4")
    fill_matching(spotter.matching, {k: s for k, s in shapes.items() if matching_key(k[len(prefix) :])}, prefix)
    own = {k: s for k, s in shapes.items() if not matching_key(k[len(prefix) :])}
    converted = convert_published(fill_state_dict(own), spotter, {key: spotter_key(key) for key in own})
    _, unexpected = spotter.load_state_dict(converted, strict=False)
    assert all(name.startswith("visual_embedding_proj.") and not project for name in unexpected)
    return spotter.eval()


@torch.no_grad()
def test_tcm_spotter_on_p4():
    figures = golden("tcm", "tcm_spotter")
    (p4,) = named_features(figures, "p4")
    spotter = new_spotter_matching(channels=p4.shape[1], project=True)
    assert isinstance(spotter.visual_embedding_proj, nn.Sequential)
    assert_matches(figures, "spotter/projection", spotter.visual_embedding_proj(p4))
    added, matched = spotter(p4)
    assert_matches(figures, "spotter/text", matched.text)
    assert_matches(figures, "spotter/score", matched.score)
    assert_matches(figures, "spotter/p4", added)
    with_gamma = new_spotter_matching(channels=p4.shape[1], project=True, learned_gamma=True)
    assert_matches(figures, "spotter/p4_gamma", with_gamma(p4)[0])


@torch.no_grad()
def test_tcm_spotter_on_res4():
    figures = golden("tcm", "tcm_spotter")
    (res4,) = named_features(figures, "res4")
    added, matched = new_spotter_matching(channels=res4.shape[1], project=False)(res4)
    assert_matches(figures, "spotter_res4/text", matched.text)
    assert_matches(figures, "spotter_res4/score", matched.score)
    assert torch.allclose(added - res4, matched.score.expand_as(res4), atol=1e-5)
