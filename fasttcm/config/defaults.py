"""Every configuration key, its default and, for words, the values allowed.

A value here only points at the constructor argument of the same meaning; published values are the defaults.
"""

from fvcore.common.config import CfgNode

from fasttcm.config.heads import HEADS

__all__ = ["CHOICES", "get_defaults"]

CHOICES: dict[str, tuple[str, ...]] = {
    "MODEL.BACKBONE.NAME": ("imagenet_r50", "clip_r50", "tcm_cr50", "fasttcm_cr50"),
    "MODEL.FPN.KIND": ("fpn", "bifpn"),
    "MODEL.FPN.TOP_BLOCK": ("conv", "maxpool", "none"),
    "MODEL.FPN.NORM": ("none", "GN", "BN"),
    "MODEL.TCM.PROMPT_KIND": ("predefined", "predefined+learnable", "learnable"),
    "MODEL.TCM.SPOTTER_LEVEL": ("", "p2", "p3", "p4", "p5", "res2", "res3", "res4", "res5"),
    "MODEL.TCM.SPOTTER_TRUNK": ("imagenet_r50", "clip_r50"),
    "MODEL.TCM.LOSS": ("dice", "balanced_bce", "ohem_dice"),
    "MODEL.TEXT.TOO_LONG": ("cut", "refuse"),
    "MODEL.ABCNET.ANSWER_REGION": ("center", "stripe"),
    "MODEL.ABCNET.READER": ("attention", "ctc"),
    "MODEL.ABCNET.TRAIN": ("all", "detection", "recognition"),
    "MODEL.DBNET.FORM": ("quad", "poly"),
    "MODEL.PAN.FORM": ("quad", "poly"),
    "MODEL.FCENET.FORM": ("poly", "quad"),
    "INPUT.FORMAT": ("RGB", "BGR"),
    "INPUT.PIPELINE": ("spotter", "window", "deepsolo", "dbnet", "pan", "fcenet"),
    "SOLVER.OPTIMIZER": ("SGD", "Adam", "AdamW", "Ranger"),
    "SOLVER.LR_SCHEDULER_NAME": ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupPolyLR"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("value", "norm"),
    "SOLVER.PRECISION": ("fp32", "bf16", "fp16"),
    "TEST.FLAVOUR": ("", "adelaidet", "deepsolo", "testr"),
}
"""Keys whose value is one of a few words."""


def _model() -> CfgNode:
    node = CfgNode()
    node.META_ARCHITECTURE = "ABCNet"  # a folder of projects/, in any case of letters
    node.WEIGHTS = ""  # checkpoint to start from or to evaluate, ours or a published one
    node.WEIGHTS_STRICT = True  # False: weights and settings that do not fit are reported, not refused
    node.PIXEL_MEAN = [122.7709383, 116.7460125, 104.09373615]  # CLIP's, 0..255, in the order of INPUT.FORMAT
    node.PIXEL_STD = [68.5005327, 66.6321579, 70.32316305]

    node.BACKBONE = CfgNode()
    node.BACKBONE.NAME = "fasttcm_cr50"
    node.BACKBONE.FREEZE_AT = 0  # 1: the stem, 2: stem and res2, ... as in detectron2
    node.BACKBONE.FROZEN_NORM = False  # batch norm with stored statistics, never updated
    node.BACKBONE.SYNC_NORM = True  # batch statistics over all processes

    node.RESNET = CfgNode()  # imagenet_r50
    node.RESNET.WEIGHTS = ""  # torchvision state-dict file, or the word "random"
    node.RESNET.DEPTH = 50
    node.RESNET.WIDTH = 64  # channels of the stem; narrower trunks are for small trials
    node.RESNET.STRIDE_IN_1X1 = False  # True: stride in the 1x1 convolution (MSRA weights, AdelaiDet)
    node.RESNET.DEFORMABLE_STAGES = []  # [res3, res4, res5]: modulated deformable 3x3 convolutions (DBNet)

    node.CLIP = CfgNode()  # clip_r50, tcm_cr50, fasttcm_cr50
    node.CLIP.WEIGHTS = ""  # path of RN50.pt, or the word "random"
    node.CLIP.EMBED_DIM = 1024
    node.CLIP.LAYERS = [3, 4, 6, 3]
    node.CLIP.WIDTH = 64
    node.CLIP.IMAGE_RESOLUTION = 224
    node.CLIP.CONTEXT_LENGTH = 77
    node.CLIP.VOCAB_SIZE = 49408
    node.CLIP.TEXT_WIDTH = 512
    node.CLIP.TEXT_HEADS = 8
    node.CLIP.TEXT_LAYERS = 12

    node.FPN = CfgNode()
    node.FPN.KIND = "fpn"  # or bifpn (ABCNet v2), where NORM is BN
    node.FPN.REPEATS = 2  # of a bifpn
    node.FPN.IN_LEVELS = ["res2", "res3", "res4", "res5"]
    node.FPN.OUT_CHANNELS = 256
    node.FPN.TOP_BLOCK = "conv"  # p6 and p7 by convolution (FCOS, ABCNet), p6 by max pooling (detectron2), or none;
    # a bifpn makes as many levels in its own way
    node.FPN.NORM = "none"

    node.TCM = CfgNode()  # tcm_cr50, fasttcm_cr50; names and values of the TCM paper
    node.TCM.CLASS_TEXTS = ["the pixels of many arbitrary-shape text instances."]
    node.TCM.PROMPT_KIND = "predefined+learnable"
    node.TCM.NUM_CONTEXTS = 4  # learnable prompt tokens
    node.TCM.CONTEXT_LENGTH = 14  # tokens kept for the class text, with start and end
    node.TCM.DECODER_WIDTH = 256
    node.TCM.DECODER_HEADS = 4
    node.TCM.DECODER_LAYERS = 3
    node.TCM.DROPOUT = 0.1
    node.TCM.INPUT_RESOLUTION = 640  # pixels; the pool's position table is resized once to this / 32
    node.TCM.LANGUAGE_PROMPT = True  # language prompt generator
    node.TCM.TEXT_REFINEMENT = True  # context decoder
    node.TCM.VISUAL_PROMPT = True  # visual prompt generator
    node.TCM.TEXT_TOWER = True  # False: the texts are a constant of the checkpoint (fasttcm convert --freeze-text)
    node.TCM.TEMPERATURE = 0.07
    node.TCM.LOGIT_SCALE = False
    node.TCM.MATCHED_LEVEL = "res5"  # the level that gets the matching map as extra channels
    node.TCM.SPOTTER_LEVEL = ""  # the spotter form: the level that the map is added to (ABCNet p4, TESTR res4)
    node.TCM.SPOTTER_TRUNK = "imagenet_r50"  # its trunk; only the text tower is CLIP's
    node.TCM.SPOTTER_GAMMA = False  # learn a factor of the added map
    node.TCM.SPOTTER_TEXT_LAYERS = 0  # first blocks of the text tower that are used; 0: all
    node.TCM.LOSS = "dice"
    node.TCM.LOSS_WEIGHT = 1.0
    node.TCM.SHRINK_RATIO = 0.9

    node.TEXT = CfgNode()
    node.TEXT.CHARSET = "ascii"  # or lower36, or a file that lists the characters: one a line, or AdelaiDet's pickle
    node.TEXT.MAX_LENGTH = 25
    node.TEXT.TOO_LONG = "cut"  # longer training texts: cut and counted, or refuse: an error

    for head, build_node in HEADS.items():
        node[head] = build_node()
    return node


def _input() -> CfgNode:
    node = CfgNode()
    node.FORMAT = "RGB"
    node.PIPELINE = "spotter"  # MIN_SIZE_TRAIN .. ROTATE below, in AdelaiDet's order; deepsolo: in DeepSolo's, with its
    # colours; window: a square at a random scale and place; dbnet, pan, fcenet: published transforms to a square
    node.TRAIN_SIZE = 640  # pixels; side of that square
    node.WINDOW_SCALE = [0.5, 2.0]  # window: range of the scale
    node.MIN_SIZE_TRAIN = [640, 672, 704, 736, 768, 800, 832, 864, 896]  # pixels, one drawn per image
    node.MAX_SIZE_TRAIN = 1600
    node.MIN_SIZE_TEST = 1000
    node.MAX_SIZE_TEST = 1824
    node.CROP = CfgNode()
    node.CROP.ENABLED = True  # instance-aware crop: no word is cut
    node.CROP.SIZE = [0.1, 1.0]  # range of each side, fraction of the image
    node.ROTATE = 0.0  # largest angle in degrees
    node.COLOR_JITTER = CfgNode()
    node.COLOR_JITTER.BRIGHTNESS = 0.0
    node.COLOR_JITTER.CONTRAST = 0.0
    node.COLOR_JITTER.SATURATION = 0.0
    node.COLOR_JITTER.HUE = 0.0
    node.COLOR_JITTER.LIGHTING = 0.0  # deepsolo: factor of the published PCA lighting
    node.MAX_PIXELS = 100_000_000  # larger files are refused (decompression bombs)
    return node


def _solver() -> CfgNode:
    node = CfgNode()
    node.MAX_ITER = 260_000
    node.IMS_PER_BATCH = 8  # over all processes
    node.OPTIMIZER = "SGD"
    node.BASE_LR = 0.01
    node.MOMENTUM = 0.9
    node.WEIGHT_DECAY = 0.0001
    node.WEIGHT_DECAY_NORM = 0.0
    node.LR_MULTIPLIERS = []  # [[part of a parameter's name, factor], ...], the first that fits
    node.LR_SCHEDULER_NAME = "WarmupMultiStepLR"
    node.STEPS = [160_000, 220_000]
    node.GAMMA = 0.1
    node.POLY_POWER = 0.9  # WarmupPolyLR: (1 - iteration / MAX_ITER) ** power
    node.POLY_PERIOD = 1  # its rate changes every so many iterations (published: once an epoch)
    node.MIN_LR = 0.0  # where the schedule ends instead of 0
    node.WARMUP_ITERS = 1000
    node.WARMUP_FACTOR = 0.001
    node.CLIP_GRADIENTS = CfgNode()
    node.CLIP_GRADIENTS.ENABLED = True
    node.CLIP_GRADIENTS.CLIP_TYPE = "value"
    node.CLIP_GRADIENTS.CLIP_VALUE = 1.0
    node.PRECISION = "fp32"
    node.EMA = CfgNode()
    node.EMA.ENABLED = False
    node.EMA.DECAY = 0.999
    node.CHECKPOINT_PERIOD = 5000
    return node


def get_defaults() -> CfgNode:
    """A fresh tree of every key with its default value."""
    cfg = CfgNode()
    cfg.MODEL = _model()
    cfg.INPUT = _input()
    cfg.DATASETS = CfgNode()
    cfg.DATASETS.TRAIN = []  # names or paths
    cfg.DATASETS.TEST = []
    cfg.DATASETS.ROOT = ""  # folder of named datasets; empty: FASTTCM_DATASETS or ./datasets
    cfg.DATASETS.TRAIN_FRACTION = 1.0  # few-shot training: the share of each dataset's images that is used
    cfg.DATASETS.FRACTION_SEED = 0  # which images these are; 5 % is part of 10 %
    cfg.DATASETS.SAMPLING_WEIGHTS = []  # one a dataset of TRAIN: how often it is drawn from; empty: by its size
    cfg.DATALOADER = CfgNode()
    cfg.DATALOADER.NUM_WORKERS = 4
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = True  # batches of wide or of tall images, which saves padding
    cfg.SOLVER = _solver()
    cfg.TEST = CfgNode()
    cfg.TEST.EVAL_PERIOD = 0  # iterations; 0: at the end only
    cfg.TEST.IMS_PER_BATCH = 1
    cfg.TEST.CONFIDENCE = 0.0  # detections below are not scored
    cfg.TEST.FLAVOUR = ""  # project whose published evaluation to follow, with its rule for lexicons; empty: our own
    cfg.TEST.EXPECTED_RESULTS = []  # [[metric, value, tolerance], ...]: `fasttcm eval` fails outside the tolerance
    cfg.OUTPUT_DIR = "output"
    cfg.SEED = 0
    return cfg
