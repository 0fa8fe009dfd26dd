"""``MODEL.PAN``: PAN with the values of TCM's fine-tuning on ICDAR 2015."""

from fvcore.common.config import CfgNode

__all__ = ["pan"]


def pan() -> CfgNode:
    """Keys of PAN with their defaults."""
    node = CfgNode()
    node.NECK_CHANNELS = 128
    node.NECK_REPEATS = 2  # enhancement modules
    node.SHRINK_RATIOS = [1.0, 0.5]  # regions, kernels; [1.0, 0.7] for CTW1500 without TCM and for pre-training
    node.MAX_SHRINK = 20  # pixels
    node.KERNEL_WEIGHT = 0.5  # alpha
    node.EMBEDDING_WEIGHT = 0.25  # beta
    node.DELTA_AGG = 0.5
    node.DELTA_DIS = 3.0
    node.OHEM_RATIO = 3
    node.MAX_INSTANCES = 0  # of an image pulled and pushed in training, drawn at random; 0: all; published base: 32
    node.INFERENCE_TH_TEST = 0.85
    node.REGION_TH = 0.5  # probability of a text pixel, and of a kernel pixel
    node.MAX_DISTANCE = 0.85  # of similarity vectors
    node.MIN_AREA = 16  # cells of 4 x 4 pixels
    node.FORM = "quad"
    node.MAX_CANDIDATES = 3000  # texts an image, the best
    node.PUBLISHED_MEMORY_ORDER = False  # True repeats the detections of published weights, see projects/pan/README.md
    return node
