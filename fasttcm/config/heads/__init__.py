"""The configuration node of every head, ``MODEL.<HEAD>``: one module a head, published values as defaults."""

from collections.abc import Callable

from fvcore.common.config import CfgNode

from fasttcm.config.heads.abcnet import abcnet

__all__ = ["HEADS"]

HEADS: dict[str, Callable[[], CfgNode]] = {
    "ABCNET": abcnet,
}
"""Name of the node (the head's, in capitals) to what makes it."""
