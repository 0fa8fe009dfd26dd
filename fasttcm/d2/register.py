"""Put everything into detectron2's registries."""

from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

from fasttcm.d2.backbones import BUILDERS
from fasttcm.d2.config import MATCHED_ARCHITECTURE
from fasttcm.d2.datasets import register_datasets
from fasttcm.d2.matching import build_with_matching_loss
from fasttcm.d2.meta_arch import FastTCMModel

__all__ = ["HEADS", "register"]

HEADS = ("ABCNet", "DBNet", "DeepSolo", "FCENet", "PAN", "TESTR")
"""Our heads as configurations write them."""


def register() -> None:
    """Register backbones, meta-architectures and datasets; what is registered already stays (call it as you like).

    A meta-architecture of another project that has the name of one of ours (AdelaiDet's are called otherwise) keeps it.
    """
    for name, builder in BUILDERS.items():
        if name not in BACKBONE_REGISTRY:
            BACKBONE_REGISTRY._do_register(name, builder)
    if MATCHED_ARCHITECTURE not in META_ARCH_REGISTRY:
        META_ARCH_REGISTRY._do_register(MATCHED_ARCHITECTURE, build_with_matching_loss)
    for name in HEADS:
        if name not in META_ARCH_REGISTRY:
            META_ARCH_REGISTRY._do_register(name, FastTCMModel)
    register_datasets()
