"""``MODEL.TESTR``: the published TESTR, polygon variant (Total-Text settings)."""

from fvcore.common.config import CfgNode

__all__ = ["testr"]


def testr() -> CfgNode:
    """Keys of TESTR with their defaults."""
    node = CfgNode()
    node.IN_LEVELS = ["res3", "res4", "res5"]  # a coarser level follows by convolution, up to NUM_FEATURE_LEVELS
    node.NUM_FEATURE_LEVELS = 4
    node.HIDDEN_DIM = 256
    node.NHEADS = 8
    node.DIM_FEEDFORWARD = 1024
    node.ENC_LAYERS = 6
    node.DEC_LAYERS = 6
    node.ENC_N_POINTS = 4  # sampling points of deformable attention per head and level
    node.DEC_N_POINTS = 4
    node.DROPOUT = 0.1
    node.NUM_QUERIES = 100
    node.NUM_CTRL_POINTS = 16  # points of an outline, half of them on the top side
    node.INFERENCE_TH_TEST = 0.45
    node.FOCAL_ALPHA = 0.25
    node.FOCAL_GAMMA = 2.0
    node.CLASS_WEIGHT = 2.0  # of the losses, and of the matching costs of the same kind
    node.POINT_WEIGHT = 5.0
    node.TEXT_WEIGHT = 4.0
    node.BOX_WEIGHT = 5.0
    node.GIOU_WEIGHT = 2.0
    node.CHAR_SCORES = False  # keep every character's probabilities, for the weighted lexicon search (ICDAR 2015)
    return node
