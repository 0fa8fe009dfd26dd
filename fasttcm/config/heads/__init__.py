"""The configuration node of every head, ``MODEL.<HEAD>``: one module a head, published values as defaults."""

from collections.abc import Callable

from fvcore.common.config import CfgNode

from fasttcm.config.heads.abcnet import abcnet
from fasttcm.config.heads.dbnet import dbnet
from fasttcm.config.heads.deepsolo import deepsolo
from fasttcm.config.heads.fcenet import fcenet
from fasttcm.config.heads.pan import pan
from fasttcm.config.heads.testr import testr

__all__ = ["HEADS"]

HEADS: dict[str, Callable[[], CfgNode]] = {
    "ABCNET": abcnet,
    "DBNET": dbnet,
    "DEEPSOLO": deepsolo,
    "FCENET": fcenet,
    "PAN": pan,
    "TESTR": testr,
}
"""Name of the node (the head's, in capitals) to what makes it."""
