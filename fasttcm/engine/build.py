"""From a configuration to a model, its transforms and its datasets."""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

import fasttcm.projects
from fasttcm.charset import Charset
from fasttcm.clip import ClipSizes
from fasttcm.data import augment
from fasttcm.data.augment_deepsolo import deepsolo_transforms
from fasttcm.data.augment_detection import db_transforms
from fasttcm.data.augment_fce import fce_transforms
from fasttcm.data.augment_pan import pan_transforms
from fasttcm.data.augment_window import RandomWindow
from fasttcm.data.catalog import DatasetEntry, load_dataset, resolve_dataset
from fasttcm.data.coco import TextDataset, concatenate
from fasttcm.data.loading import EpochOrder
from fasttcm.data.mapper import TestMapper, TrainMapper
from fasttcm.data.sampling import GroupedOrder, Order, WeightedOrder, fraction_subset, is_wide
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.bifpn import BiFPN
from fasttcm.layers.fpn import FPN, TOP_LEVELS
from fasttcm.tcm import SpotterMatchedBackbone, build_spotter_matched
from fasttcm.tcm import build_backbone as build_bottom_up

__all__ = [
    "TestDatasets",
    "bottom_up_options",
    "build_backbone",
    "build_model",
    "build_test_mapper",
    "build_train_mapper",
    "build_train_order",
    "load_test_datasets",
    "load_train_dataset",
    "project_names",
    "resolve_device",
]

_LOG = logging.getLogger(__name__)

_DETECTOR_PIPELINES: dict[str, Callable[..., list[augment.Transform]]] = {
    "dbnet": db_transforms,
    "pan": pan_transforms,
    "fcenet": fce_transforms,
}
"""``INPUT.PIPELINE`` to the transforms that make squares of ``INPUT.TRAIN_SIZE``."""

MATCHED_BACKBONES = ("tcm_cr50", "fasttcm_cr50")
"""Backbones with an instance-language matching."""

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
    tcm, name = cfg.MODEL.TCM, cfg.MODEL.BACKBONE.NAME
    level = tcm.SPOTTER_LEVEL if name in MATCHED_BACKBONES else ""
    if level.startswith("p") and not pyramid:
        raise ConfigError(f"MODEL.TCM.SPOTTER_LEVEL is {level}, but this head has no pyramid; use res4")
    kind = tcm.SPOTTER_TRUNK if level else name
    backbone = build_bottom_up(kind, **bottom_up_options(cfg, kind, weights=weights))
    if level.startswith("res"):
        backbone = _spotter_matched(cfg, backbone, weights=weights)
    if pyramid:
        backbone = _pyramid(cfg, backbone)
    return _spotter_matched(cfg, backbone, weights=weights) if level.startswith("p") else backbone


def _pyramid(cfg: CfgNode, bottom_up: Backbone) -> FPN | BiFPN:
    fpn = cfg.MODEL.FPN
    shared = {"bottom_up": bottom_up, "in_levels": fpn.IN_LEVELS, "out_channels": fpn.OUT_CHANNELS, "norm": fpn.NORM}
    if fpn.KIND == "bifpn":
        return BiFPN(repeats=fpn.REPEATS, top_levels=TOP_LEVELS[fpn.TOP_BLOCK], **shared)
    return FPN(top_block=fpn.TOP_BLOCK, **shared)


def _spotter_matched(cfg: CfgNode, bottom_up: Backbone, *, weights: bool) -> SpotterMatchedBackbone:
    """The spotter form of TCM or FastTCM on a level of ``bottom_up``, from ``MODEL.{CLIP,TCM}``."""
    tcm = cfg.MODEL.TCM
    options = bottom_up_options(cfg, cfg.MODEL.BACKBONE.NAME, weights=weights)
    if not options.pop("text_tower"):
        raise ConfigError("MODEL.TCM.SPOTTER_LEVEL needs the text tower; set MODEL.TCM.TEXT_TOWER True")
    for image_side in ("freeze_at", "frozen_batch_norm", "input_resolution", "matched_level"):
        del options[image_side]
    return build_spotter_matched(
        bottom_up=bottom_up,
        level=tcm.SPOTTER_LEVEL,
        image_conditioned=cfg.MODEL.BACKBONE.NAME == "tcm_cr50",
        text_layers=tcm.SPOTTER_TEXT_LAYERS,
        learned_gamma=tcm.SPOTTER_GAMMA,
        **options,
    )


def bottom_up_options(cfg: CfgNode, name: str, *, weights: bool = True) -> dict[str, Any]:
    """Keyword arguments of :func:`fasttcm.tcm.build_backbone`, from ``MODEL.{BACKBONE,RESNET,CLIP,TCM}``.

    Args:
        cfg: the configuration.
        name: kind of backbone.
        weights: as in :func:`build_backbone`.

    Raises:
        ConfigError: no weight file is named.
    """
    model = cfg.MODEL
    source, key = (model.RESNET, "MODEL.RESNET") if name == "imagenet_r50" else (model.CLIP, "MODEL.CLIP")
    path = source.WEIGHTS if weights else "random"
    if not path:
        raise ConfigError(f"{key}.WEIGHTS is empty: name a weight file, or the word 'random' to start from nothing")
    options = {
        "weights": path,
        "freeze_at": model.BACKBONE.FREEZE_AT,
        "frozen_batch_norm": model.BACKBONE.FROZEN_NORM,
    }
    if name == "imagenet_r50":
        return options | {
            "depth": model.RESNET.DEPTH,
            "stride_in_1x1": model.RESNET.STRIDE_IN_1X1,
            "deformable_stages": model.RESNET.DEFORMABLE_STAGES,
            "width": model.RESNET.WIDTH,
        }
    options["sizes"] = _clip_sizes(model.CLIP)
    return options | _tcm_options(model.TCM) if name in MATCHED_BACKBONES else options


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
        "text_tower": tcm.TEXT_TOWER,
    }


def build_model(cfg: CfgNode, *, weights: bool = True) -> nn.Module:
    """The model named by ``MODEL.META_ARCHITECTURE`` on the backbone of the configuration.

    ``MODEL.WEIGHTS`` is not loaded here; see :mod:`fasttcm.engine.checkpoint`. Convolution weights are laid out
    channels last, which makes PyTorch's convolutions faster on CPUs and, in half precision, on GPUs.
    """
    name = cfg.MODEL.META_ARCHITECTURE.lower()
    if name not in project_names():
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE!r}; known: {', '.join(project_names())}"
        )
    project = importlib.import_module(f"fasttcm.projects.{name}.build")
    backbone = build_backbone(cfg, weights=weights, pyramid=project.NEEDS_PYRAMID)
    model: nn.Module = project.build(cfg, backbone)
    return model.to(memory_format=torch.channels_last)


def build_train_mapper(cfg: CfgNode) -> TrainMapper:
    """Crop, rotation, resize and colour, in AdelaiDet's order; a window; or DeepSolo's or a detector's pipeline."""
    options = cfg.INPUT
    if options.PIPELINE in _DETECTOR_PIPELINES:
        return TrainMapper(transforms=_detector_transforms(cfg), max_pixels=options.MAX_PIXELS)
    if options.PIPELINE == "deepsolo":
        return TrainMapper(transforms=_deepsolo_transforms(cfg), max_pixels=options.MAX_PIXELS)
    transforms: list[augment.Transform] = []
    if options.CROP.ENABLED and options.PIPELINE == "spotter":
        transforms.append(augment.InstanceCrop(size_range=tuple(options.CROP.SIZE)))
    if options.ROTATE:
        transforms.append(augment.RandomRotation(degrees=options.ROTATE))
    if options.PIPELINE == "window":
        transforms.append(RandomWindow(size=options.TRAIN_SIZE, scale=tuple(options.WINDOW_SCALE)))
    else:
        transforms.append(augment.ResizeShortestEdge(min_sizes=options.MIN_SIZE_TRAIN, max_size=options.MAX_SIZE_TRAIN))
    strengths = _strengths(cfg, augment.ColorJitter)
    if any(strengths.values()):
        transforms.append(augment.ColorJitter(**strengths))
    return TrainMapper(transforms=transforms, max_pixels=options.MAX_PIXELS)


def _detector_transforms(cfg: CfgNode) -> list[augment.Transform]:
    """The pipeline ``INPUT.PIPELINE`` with the strengths of ``INPUT.COLOR_JITTER``."""
    pipeline = _DETECTOR_PIPELINES[cfg.INPUT.PIPELINE]
    return pipeline(size=cfg.INPUT.TRAIN_SIZE, **_strengths(cfg, pipeline))


def _deepsolo_transforms(cfg: CfgNode) -> list[augment.Transform]:
    options = cfg.INPUT
    return deepsolo_transforms(
        degrees=options.ROTATE,
        crop_size=tuple(options.CROP.SIZE) if options.CROP.ENABLED else None,
        min_sizes=options.MIN_SIZE_TRAIN,
        max_size=options.MAX_SIZE_TRAIN,
        **_strengths(cfg, deepsolo_transforms),
    )


def _strengths(cfg: CfgNode, pipeline: Callable[..., object]) -> dict[str, float]:
    """The numbers of ``INPUT.COLOR_JITTER`` that a pipeline takes.

    Raises:
        ConfigError: another one is not 0.
    """
    known = [key.lower() for key in cfg.INPUT.COLOR_JITTER if key.lower() in inspect.signature(pipeline).parameters]
    unknown = [key for key, value in cfg.INPUT.COLOR_JITTER.items() if value and key.lower() not in known]
    if unknown:
        raise ConfigError(f"INPUT.PIPELINE {cfg.INPUT.PIPELINE} has no colour jitter in {', '.join(unknown)}; set 0")
    return {key: float(cfg.INPUT.COLOR_JITTER[key.upper()]) for key in known}


def build_test_mapper(cfg: CfgNode) -> TestMapper:
    """Resize to ``INPUT.MIN_SIZE_TEST`` and ``MAX_SIZE_TEST``."""
    return TestMapper(
        min_size=cfg.INPUT.MIN_SIZE_TEST, max_size=cfg.INPUT.MAX_SIZE_TEST, max_pixels=cfg.INPUT.MAX_PIXELS
    )


def load_train_dataset(cfg: CfgNode) -> TextDataset:
    """The images with text of every dataset of ``DATASETS.TRAIN``, one after the other, or a share of each."""
    if not cfg.DATASETS.TRAIN:
        raise ConfigError("DATASETS.TRAIN is empty: name a dataset, or the folder that `fasttcm synth` wrote")
    whole = concatenate([_load(cfg, name, filter_empty=True)[1] for name in cfg.DATASETS.TRAIN])
    return fraction_subset(whole, cfg.DATASETS.TRAIN_FRACTION, cfg.DATASETS.FRACTION_SEED)


def build_train_order(cfg: CfgNode, dataset: TextDataset) -> Order | None:
    """In which order :func:`load_train_dataset`'s images are shown; ``None`` for an empty dataset."""
    if len(dataset) == 0:  # the loader says why
        return None
    order: Order = EpochOrder(length=len(dataset), seed=cfg.SEED)
    if cfg.DATASETS.SAMPLING_WEIGHTS:
        lengths = [len(table) for table in dataset.tables]
        order = WeightedOrder(lengths, cfg.DATASETS.SAMPLING_WEIGHTS, seed=cfg.SEED)
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        order = GroupedOrder(order, is_wide(dataset), batch_size=cfg.SOLVER.IMS_PER_BATCH, seed=cfg.SEED)
    return order


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
