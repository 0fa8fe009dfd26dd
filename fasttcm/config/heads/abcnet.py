"""``MODEL.ABCNET``: the published ABCNet v1; comments name the values of v2."""

from fvcore.common.config import CfgNode

__all__ = ["abcnet"]


def abcnet() -> CfgNode:
    """Keys of ABCNet with their defaults."""
    node = CfgNode()
    node.HEAD_LEVELS = ["p3", "p4", "p5", "p6", "p7"]
    node.SIZES_OF_INTEREST = [64, 128, 256, 512]  # pixels to the farthest side; region stripe: heights of texts
    node.HEAD_CHANNELS = 0  # 0: the pyramid's
    node.NUM_CONVS = 4
    node.ANSWER_REGION = "center"  # or stripe: the locations along the middle of a text, not the square at its centre
    node.CENTER_RADIUS = 1.5  # strides; of that square
    node.PRIOR_PROB = 0.01
    node.FOCAL_ALPHA = 0.25
    node.FOCAL_GAMMA = 2.0
    node.NMS_TH = 0.5
    node.FUSE_ENDS = False  # corners of a text from all locations on it, the nearest first
    node.COVERED_TH = 1.0  # then texts go that share more than this of the smaller area with a better one; 1: not used
    node.INFERENCE_TH_TRAIN = 0.7
    node.INFERENCE_TH_TEST = 0.45
    node.TEXT_TH_TEST = 0.0  # words whose reading scores less are dropped
    node.PRE_NMS_TOPK = 1000
    node.POST_NMS_TOPK = 100
    node.POOLER_LEVELS = ["p2", "p3", "p4"]  # or [image, image2, image4]: the picture itself at 1, 1/2 and 1/4
    node.POOLER_RESOLUTION = [8, 32]
    node.POOLER_SAMPLING_RATIO = 1
    node.POOLER_HALF_PIXEL = True  # False: as AdelaiDet's CPU kernel, which reads half a cell off (comparison only)
    node.CANONICAL_SIZE = 96  # pixels
    node.CANONICAL_LEVEL = 3
    node.READER = "attention"  # or ctc: a small CRNN
    node.READER_WIDTHS = [32, 64, 128, 192]  # ctc: channels of its stages; RECOGNIZER_CHANNELS: of the LSTM each way
    node.READER_BLOCKS = 1  # ctc: residual blocks of the last stage
    node.READER_MAX_REGIONS = 0  # ctc: most texts of a batch that train; 0: all
    node.READER_GUIDE_WEIGHT = 0.0  # ctc: of a loss that names every column as if characters were equally wide
    node.CURVE_JITTER = 0.0  # text heights; noise on the annotated curves that the recogniser trains on
    node.READING_ROOM = [0.0, 0.0]  # text heights at the ends and sides; added to predicted curves before they are read
    node.TRAIN = "all"  # detection or recognition: the other part is frozen and not run
    node.RECOGNIZER_CHANNELS = 256
    node.COORD_CONVS = 0  # v2: 4 convolutions over features and coordinates, before the regions are cut out
    node.TOWER_CONVS = 2
    node.RECOGNIZER_DROPOUT = 0.1
    node.TEACHER_FORCING = 0.5  # probability per step
    node.ADAPTIVE_TRAINING = False  # v2: the recogniser also trains on predicted curves
    node.REC_LOSS_WEIGHT = 0.05
    node.PAD_LOSS_WEIGHT = 1.0  # weight of the steps after the end of a word
    node.IGNORE_REGIONS = True  # illegible words are neither text nor background
    return node
