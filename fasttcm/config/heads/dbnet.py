"""``MODEL.DBNET``: DBNet with mmocr's values; ``configs/dbnet`` names those of every dataset."""

from fvcore.common.config import CfgNode

__all__ = ["dbnet"]


def dbnet() -> CfgNode:
    """Keys of DBNet with their defaults."""
    node = CfgNode()
    node.LATERAL_CHANNELS = 256
    node.SMOOTH_CHANNELS = 64  # of each of the four levels
    node.SHRINK_RATIO = 0.4
    node.THR_MIN = 0.3
    node.THR_MAX = 0.7
    node.MIN_SHORT_SIDE = 8.0  # pixels; thinner texts are neither text nor background in training
    node.ALPHA = 5.0  # factor of the probability loss
    node.BETA = 10.0  # factor of the threshold loss
    node.BALANCED_BCE = True  # False: dice for the probability
    node.NEGATIVE_RATIO = 3.0
    node.MASK_TH = 0.3  # a pixel is text above this probability
    node.INFERENCE_TH_TEST = 0.3  # least mean probability of a text
    node.MIN_TEXT_WIDTH = 5.0  # pixels, of quads
    node.APPROX_RATIO = 0.01  # contours are simplified to within this part of their length; 0: not at all
    node.UNCLIP_RATIO = 1.5
    node.MAX_CANDIDATES = 3000
    node.FORM = "quad"
    node.PUBLISHED_MATCHING_LOSS = False  # weigh every image by every image's masks, as published
    return node
