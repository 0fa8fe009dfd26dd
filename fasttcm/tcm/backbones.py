"""The four backbones that every head accepts, by name."""

import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fasttcm.clip import ClipResNet, ClipSizes, load_clip
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.resnet import ImageNetResNet, load_imagenet_weights
from fasttcm.tcm.backbone import TCMBackbone
from fasttcm.tcm.matching import TEMPERATURE, build_matching
from fasttcm.tcm.prompts import DEFAULT_CLASS_TEXTS, PromptKind

__all__ = [
    "BACKBONES",
    "build_backbone",
    "build_clip_r50",
    "build_fasttcm_cr50",
    "build_imagenet_r50",
    "build_matched_cr50",
    "build_tcm_cr50",
]

RANDOM = "random"
"""The word that asks for new weights instead of a file."""
TRUNK_STRIDE = 32
"""Input pixels per cell of the pooled stage."""


def build_imagenet_r50(
    *,
    weights: str | os.PathLike[str],
    depth: int = 50,
    stride_in_1x1: bool = False,
    frozen_batch_norm: bool = True,
    freeze_at: int = 2,
    deformable_stages: Sequence[str] = (),
    width: int = 64,
) -> ImageNetResNet:
    """An ImageNet ResNet, see :class:`ImageNetResNet`; ``weights`` is a local torchvision file or ``random``."""
    backbone = ImageNetResNet(
        depth=depth,
        stride_in_1x1=stride_in_1x1,
        frozen_batch_norm=frozen_batch_norm,
        freeze_at=freeze_at,
        deformable_stages=deformable_stages,
        width=width,
    )
    if weights != RANDOM:
        load_imagenet_weights(backbone, weights)
    return backbone


def build_clip_r50(
    *,
    weights: str | os.PathLike[str],
    sizes: ClipSizes | None = None,
    freeze_at: int = 0,
    frozen_batch_norm: bool = False,
) -> ClipResNet:
    """CLIP's trunk alone (CR50, the ablation's baseline).

    Args:
        weights: RN50.pt or another file that :func:`~fasttcm.clip.load_clip` reads, or ``random``.
        sizes: what the weights must be; ``None``: whatever they are.
        freeze_at: parts that do not train, see :class:`~fasttcm.clip.ClipResNet`.
        frozen_batch_norm: all normalisations keep their statistics and weights.
    """
    trunk = load_clip(weights, sizes=sizes).trunk
    return _frozen_trunk(trunk, freeze_at=freeze_at, frozen_batch_norm=frozen_batch_norm)


def _frozen_trunk(trunk: ClipResNet, *, freeze_at: int, frozen_batch_norm: bool) -> ClipResNet:
    """A trunk of the same weights with frozen parts, in train mode."""
    layers = [len(trunk.get_submodule(f"layer{stage}")) for stage in range(1, 5)]  # type: ignore[arg-type]
    frozen = ClipResNet(layers=layers, width=trunk.width, freeze_at=freeze_at, frozen_batch_norm=frozen_batch_norm)
    frozen.load_state_dict(trunk.state_dict())
    return frozen


def build_matched_cr50(
    *,
    image_conditioned: bool,
    weights: str | os.PathLike[str],
    sizes: ClipSizes | None = None,
    freeze_at: int = 0,
    frozen_batch_norm: bool = False,
    class_texts: Sequence[str] = DEFAULT_CLASS_TEXTS,
    prompt_kind: PromptKind = "predefined+learnable",
    num_contexts: int = 4,
    context_length: int = 14,
    decoder_width: int = 256,
    decoder_heads: int = 4,
    decoder_layers: int = 3,
    dropout: float = 0.1,
    input_resolution: int = 640,
    language_prompt: bool = True,
    text_refinement: bool = True,
    visual_prompt: bool = True,
    temperature: float = TEMPERATURE,
    logit_scale: bool = False,
    matched_level: str = "res5",
    concat: bool = True,
    text_tower: bool = True,
) -> TCMBackbone:
    """TCM or FastTCM on CLIP's towers; the defaults are the published DBNet configuration.

    Args:
        image_conditioned: TCM (true) or FastTCM (false).
        weights, sizes, freeze_at, frozen_batch_norm: as in :func:`build_clip_r50`.
        class_texts, prompt_kind, num_contexts, context_length, decoder_width, decoder_heads, decoder_layers, dropout,
            language_prompt, text_refinement, visual_prompt, temperature, logit_scale: as in
            :func:`~fasttcm.tcm.matching.build_matching`.
        matched_level, concat: as in :class:`~fasttcm.tcm.backbone.TCMBackbone`.
        input_resolution: side in pixels of the training images; the pool's table of positions is resized once to
            ``input_resolution // 32`` rows and columns.
        text_tower: ``False`` builds FastTCM for a checkpoint whose texts are frozen, without a text tower.

    Raises:
        ConfigError: arguments that do not fit together.
        CheckpointError: weights that cannot be used.
    """
    grid = input_resolution // TRUNK_STRIDE
    if grid < 1:
        raise ConfigError(f"the input resolution must be at least {TRUNK_STRIDE} pixels, got {input_resolution}")
    towers = load_clip(weights, sizes=sizes)
    matching = build_matching(
        image_conditioned=image_conditioned,
        tower=towers.text if text_tower else None,
        embed_dim=towers.sizes.embed_dim,
        class_texts=class_texts,
        prompt_kind=prompt_kind,
        num_contexts=num_contexts,
        context_length=context_length,
        decoder_width=decoder_width,
        decoder_heads=decoder_heads,
        decoder_layers=decoder_layers,
        dropout=dropout,
        language_prompt=language_prompt,
        text_refinement=text_refinement,
        visual_prompt=visual_prompt,
        temperature=temperature,
        logit_scale=logit_scale,
    )
    trunk = _frozen_trunk(towers.trunk, freeze_at=freeze_at, frozen_batch_norm=frozen_batch_norm)
    pool = towers.pool.resize_grid_(grid, grid).train()
    return TCMBackbone(trunk=trunk, pool=pool, matching=matching, matched_level=matched_level, concat=concat)


build_tcm_cr50 = partial(build_matched_cr50, image_conditioned=True)
"""TCM (Yu et al., CVPR 2023): arguments of :func:`build_matched_cr50`."""

build_fasttcm_cr50 = partial(build_matched_cr50, image_conditioned=False)
"""FastTCM (Yu et al., 2024): arguments of :func:`build_matched_cr50`."""

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "imagenet_r50": build_imagenet_r50,
    "clip_r50": build_clip_r50,
    "tcm_cr50": build_tcm_cr50,
    "fasttcm_cr50": build_fasttcm_cr50,
}
"""Name to factory; every factory takes keyword arguments only."""


def build_backbone(name: str, **options: Any) -> Backbone:
    """Build a backbone by name.

    Args:
        name: a key of :data:`BACKBONES`.
        **options: keyword arguments of its factory.

    Raises:
        ConfigError: an unknown name or option; the message lists the known ones.
    """
    if name not in BACKBONES:
        raise ConfigError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    known = inspect.signature(BACKBONES[name]).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ConfigError(f"backbone {name!r} has no option {', '.join(unknown)}; known: {', '.join(known)}")
    return BACKBONES[name](**options)
