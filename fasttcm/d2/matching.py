"""The instance-language matching loss for any detectron2 meta-architecture.

    MODEL:
      META_ARCHITECTURE: WithMatchingLoss
      BACKBONE: {NAME: build_fasttcm_fpn_backbone}
      TCM: {META_ARCHITECTURE: GeneralizedRCNN}

adds ``loss_match`` to the losses of ``GeneralizedRCNN``. Names of weights stay those of the wrapped architecture.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

from fasttcm.d2.backbones import take_matching_map
from fasttcm.d2.instances import instances_to_targets
from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets
from fasttcm.tcm import MatchingLoss

__all__ = ["build_with_matching_loss", "with_matching_loss"]


def build_with_matching_loss(cfg: CfgNode) -> nn.Module:
    """``MODEL.TCM.META_ARCHITECTURE`` with the matching loss of ``MODEL.TCM.{LOSS,LOSS_WEIGHT,SHRINK_RATIO}``.

    Raises:
        ConfigError: an architecture that is not registered.
    """
    name = cfg.MODEL.TCM.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY or META_ARCH_REGISTRY.get(name) is build_with_matching_loss:
        raise ConfigError(
            f"MODEL.TCM.META_ARCHITECTURE is {name!r}, which is not a registered meta-architecture of detectron2; "
            "import the project that registers it first"
        )
    model: nn.Module = with_matching_loss(META_ARCH_REGISTRY.get(name))(cfg)
    tcm = cfg.MODEL.TCM
    model.matching_loss = MatchingLoss(kind=tcm.LOSS, weight=tcm.LOSS_WEIGHT, shrink_ratio=tcm.SHRINK_RATIO)
    return model


@cache
def with_matching_loss(architecture: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose training losses include ``loss_match``, taken from the attribute ``matching_loss``.

    Args:
        architecture: a meta-architecture: takes ``batched_inputs`` with ``image`` and, in training, ``instances`` (and
            ``targets`` from :class:`~fasttcm.d2.mapper.TextMapper`, which also know what to ignore), and contains one
            of our backbones.
    """

    class Matched(architecture):  # type: ignore[misc, valid-type]
        matching_loss: MatchingLoss

        def forward(self, batched_inputs: Sequence[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
            output = super().forward(batched_inputs, *args, **kwargs)
            if not self.training:
                return output
            found = take_matching_map(self)
            if found is None:
                raise ConfigError(
                    "WithMatchingLoss needs a backbone with a matching map: MODEL.BACKBONE.NAME build_tcm_backbone, "
                    "build_fasttcm_backbone or their FPN forms"
                )
            targets = [_targets(sample).to(found.logits.device) for sample in batched_inputs]
            sizes = [(sample["image"].shape[-2], sample["image"].shape[-1]) for sample in batched_inputs]
            loss = self.matching_loss(found.logits, targets, sizes, found.padded_size)
            return {**output, "loss_match": loss}

    Matched.__name__ = Matched.__qualname__ = f"{architecture.__name__}WithMatchingLoss"
    return Matched


def _targets(sample: dict[str, Any]) -> TextTargets:
    targets: TextTargets = sample["targets"] if "targets" in sample else instances_to_targets(sample["instances"])
    return targets
