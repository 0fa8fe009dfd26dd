"""FastTCM: CLIP as the backbone of a scene-text spotter, in plain PyTorch.

``from fasttcm import Spotter; Spotter()(image)`` reads the words of one picture.
"""

from typing import Any

__all__ = ["Spotter", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import :class:`Spotter` on first use, so that ``import fasttcm`` stays fast and light."""
    if name == "Spotter":
        from fasttcm.engine.spotter import Spotter

        return Spotter
    raise AttributeError(f"module 'fasttcm' has no attribute {name!r}")
