"""From a configuration to a model, its transforms and its datasets."""

import importlib
import logging
import pkgutil
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import nn

import fasttcm.projects
from fasttcm.charset import Charset
from fasttcm.clip import ClipSizes
from fasttcm.data import augment
from fasttcm.data.catalog import DatasetEntry, load_dataset, resolve_dataset
from fasttcm.data.coco import TextDataset, concatenate
from fasttcm.data.mapper import TestMapper, TrainMapper
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.fpn import FPN
from fasttcm.tcm import build_backbone as build_bottom_up

__all__ = [
    "TestDatasets",
    "build_backbone",
    "build_model",
    "build_test_mapper",
    "build_train_mapper",
    "load_test_datasets",
    "load_train_dataset",
    "project_names",
    "resolve_device",
]

_LOG = logging.getLogger(__name__)

TestDatasets = dict[str, tuple[DatasetEntry, TextDataset]]
"""Name in the configuration to catalogue entry and index."""


def project_names() -> list[str]:
    """The heads there are: the packages of ``fasttcm.projects``."""
    return sorted({module.name for module in pkgutil.iter_modules(fasttcm.projects.__path__) if module.ispkg})


def resolve_device(name: str) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:1``, ... or ``auto`` (a GPU if there is one)."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for, but PyTorch sees no GPU; use --device cpu")
    return device


def build_backbone(cfg: CfgNode, *, weights: bool = True, pyramid: bool = True) -> Backbone:
    """The backbone named by ``MODEL.BACKBONE.NAME``, under a pyramid for the heads that expect one.

    Args:
        cfg: the configuration.
        weights: ``False`` initialises at random whatever the configuration names, for a model whose weights come
            from a checkpoint.
        pyramid: ``True`` for the levels ``p2``, ... of ``MODEL.FPN``, ``False`` for the bare ``res2`` .. ``res5``.
    """
    model = cfg.MODEL
    name = model.BACKBONE.NAME
    common = {"freeze_at": model.BACKBONE.FREEZE_AT, "frozen_batch_norm": model.BACKBONE.FROZEN_NORM}
    source, key = (model.RESNET, "MODEL.RESNET") if name == "imagenet_r50" else (model.CLIP, "MODEL.CLIP")
    path = source.WEIGHTS if weights else "random"
    if not path:
        raise ConfigError(f"{key}.WEIGHTS is empty: name a weight file, or the word 'random' to start from nothing")
    if name == "imagenet_r50":
        options = {"weights": path, "depth": model.RESNET.DEPTH, "stride_in_1x1": model.RESNET.STRIDE_IN_1X1}
    else:
        options = {"weights": path, "sizes": _clip_sizes(model.CLIP)}
    if name in ("tcm_cr50", "fasttcm_cr50"):
        options |= _tcm_options(model.TCM)
    bottom_up = build_bottom_up(name, **common, **options)
    if not pyramid:
        return bottom_up
    return FPN(
        bottom_up=bottom_up,
        in_levels=model.FPN.IN_LEVELS,
        out_channels=model.FPN.OUT_CHANNELS,
        top_block=model.FPN.TOP_BLOCK,
        norm=model.FPN.NORM,
    )


def _clip_sizes(clip: CfgNode) -> ClipSizes:
    return ClipSizes(
        embed_dim=clip.EMBED_DIM,
        layers=tuple(clip.LAYERS),
        width=clip.WIDTH,
        image_resolution=clip.IMAGE_RESOLUTION,
        context_length=clip.CONTEXT_LENGTH,
        vocab_size=clip.VOCAB_SIZE,
        text_width=clip.TEXT_WIDTH,
        text_heads=clip.TEXT_HEADS,
        text_layers=clip.TEXT_LAYERS,
    )


def _tcm_options(tcm: CfgNode) -> dict[str, object]:
    return {
        "class_texts": tuple(tcm.CLASS_TEXTS),
        "prompt_kind": tcm.PROMPT_KIND,
        "num_contexts": tcm.NUM_CONTEXTS,
        "context_length": tcm.CONTEXT_LENGTH,
        "decoder_width": tcm.DECODER_WIDTH,
        "decoder_heads": tcm.DECODER_HEADS,
        "decoder_layers": tcm.DECODER_LAYERS,
        "dropout": tcm.DROPOUT,
        "input_resolution": tcm.INPUT_RESOLUTION,
        "language_prompt": tcm.LANGUAGE_PROMPT,
        "text_refinement": tcm.TEXT_REFINEMENT,
        "visual_prompt": tcm.VISUAL_PROMPT,
        "temperature": tcm.TEMPERATURE,
        "logit_scale": tcm.LOGIT_SCALE,
        "matched_level": tcm.MATCHED_LEVEL,
    }


def build_model(cfg: CfgNode, *, weights: bool = True) -> nn.Module:
    """The model named by ``MODEL.META_ARCHITECTURE`` on the backbone of the configuration.

    ``MODEL.WEIGHTS`` is not loaded here; see :mod:`fasttcm.engine.checkpoint`.
    """
    name = cfg.MODEL.META_ARCHITECTURE.lower()
    if name not in project_names():
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE!r}; known: {', '.join(project_names())}"
        )
    project = importlib.import_module(f"fasttcm.projects.{name}.build")
    backbone = build_backbone(cfg, weights=weights, pyramid=project.NEEDS_PYRAMID)
    model: nn.Module = project.build(cfg, backbone)
    return model


def build_train_mapper(cfg: CfgNode) -> TrainMapper:
    """Crop, rotation, resize and colour, in AdelaiDet's order."""
    options, jitter = cfg.INPUT, cfg.INPUT.COLOR_JITTER
    transforms: list[augment.Transform] = []
    if options.CROP.ENABLED:
        transforms.append(augment.InstanceCrop(size_range=tuple(options.CROP.SIZE)))
    if options.ROTATE:
        transforms.append(augment.RandomRotation(degrees=options.ROTATE))
    transforms.append(augment.ResizeShortestEdge(min_sizes=options.MIN_SIZE_TRAIN, max_size=options.MAX_SIZE_TRAIN))
    strengths = {key: float(jitter[key.upper()]) for key in ("brightness", "contrast", "saturation", "hue")}
    if any(strengths.values()):
        transforms.append(augment.ColorJitter(**strengths))
    return TrainMapper(transforms=transforms, max_pixels=options.MAX_PIXELS)


def build_test_mapper(cfg: CfgNode) -> TestMapper:
    """Resize to ``INPUT.MIN_SIZE_TEST`` and ``MAX_SIZE_TEST``."""
    return TestMapper(
        min_size=cfg.INPUT.MIN_SIZE_TEST, max_size=cfg.INPUT.MAX_SIZE_TEST, max_pixels=cfg.INPUT.MAX_PIXELS
    )


def load_train_dataset(cfg: CfgNode) -> TextDataset:
    """The images with text of every dataset of ``DATASETS.TRAIN``, one after the other."""
    if not cfg.DATASETS.TRAIN:
        raise ConfigError("DATASETS.TRAIN is empty: name a dataset, or the folder that `fasttcm synth` wrote")
    return concatenate([_load(cfg, name, filter_empty=True)[1] for name in cfg.DATASETS.TRAIN])


def load_test_datasets(cfg: CfgNode) -> TestDatasets:
    """Every dataset of ``DATASETS.TEST`` with all its images, and its catalogue entry (protocol, lexicons)."""
    return {name: _load(cfg, name, filter_empty=False) for name in cfg.DATASETS.TEST}


def _load(cfg: CfgNode, name: str, *, filter_empty: bool) -> tuple[DatasetEntry, TextDataset]:
    root = Path(cfg.DATASETS.ROOT) if cfg.DATASETS.ROOT else None
    charset = Charset.named(cfg.MODEL.TEXT.CHARSET)
    dataset = load_dataset(name, root=root, charset=charset, filter_empty=filter_empty)
    if dataset.problems.counts:
        _LOG.warning("%s: %s", name, dataset.problems.summary())
    return resolve_dataset(name, root), dataset
