"""A small spotter learns eight plain pictures by heart: targets, matching, losses, decoding and evaluation agree."""

from pathlib import Path

from tiny import pairs

from fasttcm.config import load_config
from fasttcm.data.synth import SynthOptions, generate_dataset
from fasttcm.engine.build import build_model, load_test_datasets
from fasttcm.engine.checkpoint import load_weights, read_checkpoint
from fasttcm.engine.evaluate import Evaluation, evaluate_model
from fasttcm.engine.train import train

IMAGES = 8
OPTIONS = {
    "MODEL.BACKBONE.NAME": "fasttcm_cr50",
    "MODEL.CLIP.WEIGHTS": "random",
    "MODEL.CLIP.EMBED_DIM": 64,
    "MODEL.CLIP.LAYERS": [1, 1, 1, 1],
    "MODEL.CLIP.WIDTH": 16,
    "MODEL.CLIP.CONTEXT_LENGTH": 32,
    "MODEL.CLIP.VOCAB_SIZE": 512,
    "MODEL.CLIP.TEXT_WIDTH": 64,
    "MODEL.CLIP.TEXT_HEADS": 1,
    "MODEL.CLIP.TEXT_LAYERS": 1,
    "MODEL.TCM.DECODER_WIDTH": 32,
    "MODEL.TCM.DECODER_HEADS": 2,
    "MODEL.TCM.DECODER_LAYERS": 1,
    "MODEL.TCM.DROPOUT": 0.0,
    "MODEL.TCM.INPUT_RESOLUTION": 128,
    "MODEL.TCM.LOSS": "balanced_bce",
    "MODEL.TEXT.MAX_LENGTH": 12,
    "INPUT.MIN_SIZE_TRAIN": [128],
    "INPUT.MAX_SIZE_TRAIN": 128,
    "INPUT.MIN_SIZE_TEST": 128,
    "INPUT.MAX_SIZE_TEST": 128,
    "INPUT.CROP.ENABLED": False,
    "DATALOADER.NUM_WORKERS": 0,
    "SOLVER.OPTIMIZER": "AdamW",
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.LR_MULTIPLIERS": [["sampling_offsets", 0.1]],
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.WARMUP_ITERS": 20,
    "SOLVER.IMS_PER_BATCH": IMAGES,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "norm",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 1.0,
    "TEST.IMS_PER_BATCH": IMAGES,
}
"""Beside them: the head, its sizes and the iterations."""

TRANSFORMER = {
    "HIDDEN_DIM": 64,
    "NHEADS": 4,
    "DIM_FEEDFORWARD": 128,
    "ENC_LAYERS": 1,
    "DEC_LAYERS": 2,
    "DROPOUT": 0.0,
    "NUM_QUERIES": 10,
}
"""Sizes of the heads with queries, under ``MODEL.<HEAD>``."""


def learn_by_heart(folder: Path, iterations: int, head: str, **sizes: object) -> Evaluation:
    """Train on eight pictures of 128 x 128 pixels with one or two words, straight and curved, and score them.

    Args:
        folder: for data and checkpoints.
        iterations: steps of the whole set.
        head: ``MODEL.META_ARCHITECTURE``.
        sizes: ``MODEL__TEXT__CHARSET="lower36"`` changes a key.
    """
    options = SynthOptions(
        image_size=(128, 128),
        words_per_image=(1, 2),
        word_height=(20.0, 32.0),
        perspective_probability=0.0,
        illegible_probability=0.0,
        low_contrast_probability=0.0,
        effect_strength=0.0,
        clutter=0.0,
    )
    data = generate_dataset(folder / "data", count=IMAGES, seed=3, options=options, processes=1).parent
    run = {
        "MODEL.META_ARCHITECTURE": head,
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.CHECKPOINT_PERIOD": iterations,
        "DATASETS.TRAIN": f"['{data}']",
        "DATASETS.TEST": f"['{data}']",
        "OUTPUT_DIR": folder / "train",
    }
    own = {f"MODEL.{head.upper()}.{key}": value for key, value in TRANSFORMER.items()}
    own |= {key.replace("__", "."): value for key, value in sizes.items()}
    cfg = load_config(None, pairs(OPTIONS | run | own))
    train(cfg, device="cpu")
    stored = read_checkpoint(folder / "train" / "model_final.safetensors")
    model = build_model(stored.config, weights=False)
    load_weights(model, stored.weights, "model_final.safetensors")
    (evaluation,) = evaluate_model(model, cfg, load_test_datasets(cfg)).values()
    assert len(evaluation.ground_truth["images"]) == IMAGES
    return evaluation
