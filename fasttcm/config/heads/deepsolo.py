"""``MODEL.DEEPSOLO``: the published model for Total-Text; comments name the values for CTW1500."""

from fvcore.common.config import CfgNode

__all__ = ["deepsolo"]


def deepsolo() -> CfgNode:
    """Keys of DeepSolo with their defaults."""
    node = CfgNode()
    node.IN_LEVELS = ["res3", "res4", "res5"]
    node.NUM_FEATURE_LEVELS = 4  # those, and further ones by strided convolution
    node.HIDDEN_DIM = 256
    node.NHEADS = 8
    node.DIM_FEEDFORWARD = 1024
    node.ENC_LAYERS = 6
    node.DEC_LAYERS = 6
    node.ENC_N_POINTS = 4  # sampling points a head and level
    node.DEC_N_POINTS = 4
    node.DROPOUT = 0.0
    node.NUM_QUERIES = 100  # texts an image can have
    node.NUM_POINTS = 25  # points a text; 50 for CTW1500. No longer text can be read
    node.PRIOR_PROB = 0.01
    node.INFERENCE_TH_TEST = 0.4
    node.FOCAL_ALPHA = 0.25
    node.FOCAL_GAMMA = 2.0
    node.CLASS_WEIGHT = 1.0  # of the losses, and of the matching costs of the same kind
    node.POINT_WEIGHT = 1.0  # CTW1500: 0.5
    node.TEXT_WEIGHT = 0.5  # CTW1500, fine-tuning: 1.0
    node.BOUNDARY_WEIGHT = 0.5  # CTW1500: 0.25
    node.PROPOSAL_CLASS_WEIGHT = 1.0
    node.PROPOSAL_CURVE_WEIGHT = 1.0  # CTW1500: 0.5
    node.AUX_LOSS = True  # losses also of the layers before the last
    return node
