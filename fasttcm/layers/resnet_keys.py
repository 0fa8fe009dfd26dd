"""Names of a ResNet's weights in detectron2 (``res2.0.conv1.norm.weight``) in terms of torchvision's (ours)."""

import re

__all__ = ["from_detectron2"]

_RULES: tuple[tuple[str, str], ...] = (
    (r"stem\.conv1\.norm\.", "bn1."),
    (r"stem\.conv1\.", "conv1."),
    (r"res(\d)\.(\d+)\.shortcut\.norm\.", "layer{stage}.{block}.downsample.1."),
    (r"res(\d)\.(\d+)\.shortcut\.", "layer{stage}.{block}.downsample.0."),
    (r"res(\d)\.(\d+)\.conv(\d)\.norm\.", "layer{stage}.{block}.bn{conv}."),
    (r"res(\d)\.(\d+)\.conv(\d)\.", "layer{stage}.{block}.conv{conv}."),
)
"""(regular expression at the start of detectron2's name, what replaces it)."""

_STAGE_OFFSET = 1
"""detectron2 counts stages from res2, torchvision from layer1."""


def from_detectron2(key: str) -> str | None:
    """The name in torchvision of a weight that detectron2's ResNet calls ``key``; ``None`` when it calls none so."""
    for pattern, replacement in _RULES:
        match = re.match(pattern, key)
        if match:
            stage, block, conv = (*match.groups(), "", "", "")[:3]
            start = replacement.format(stage=int(stage) - _STAGE_OFFSET if stage else "", block=block, conv=conv)
            return start + key[match.end() :]
    return None
