"""``MODEL.FCENET``: FCENet with the values of ICDAR 2015."""

from fvcore.common.config import CfgNode

__all__ = ["fcenet"]


def fcenet() -> CfgNode:
    """Keys of FCENet with their defaults."""
    node = CfgNode()
    node.NECK_CHANNELS = 256
    node.FOURIER_DEGREE = 5
    node.NUM_POINTS = 50  # of a contour, in the loss and in the result
    node.SIZE_RANGES = [[0.0, 0.4], [0.3, 0.7], [0.6, 1.0]]  # text size over image height, of strides 8, 16, 32
    node.RESAMPLE_STEP = 4.0  # cells
    node.CENTER_SHRINK = 0.3
    node.OHEM_RATIO = 3.0
    node.INFERENCE_TH_TEST = 0.3
    node.TEXT_POWER = 1.2  # alpha; 1.0 on CTW1500 and Total-Text
    node.CENTER_POWER = 1.0  # beta; 2.0 on CTW1500 and Total-Text
    node.NMS_TH = 0.1
    node.FORM = "poly"  # the published "quad" of ICDAR 2015 has no effect there
    node.MAX_CANDIDATES = 5000  # cells a level that draw a contour, the best
    node.PUBLISHED_MATCHING_LOSS = False  # weigh every image by every image's masks, as published
    return node
