"""Targets, matching, losses, decoding and evaluation agree: a small DeepSolo learns eight pictures by heart."""

from pathlib import Path

import pytest
from tiny import pairs

from fasttcm.config import load_config
from fasttcm.data.synth import SynthOptions, generate_dataset
from fasttcm.engine.build import build_model, load_test_datasets
from fasttcm.engine.checkpoint import load_weights, read_checkpoint
from fasttcm.engine.evaluate import evaluate_model, figures
from fasttcm.engine.train import train

IMAGES = 8
OPTIONS = {
    "MODEL.META_ARCHITECTURE": "DeepSolo",
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
    "MODEL.TEXT.CHARSET": "lower36",
    "MODEL.TEXT.MAX_LENGTH": 12,
    "MODEL.DEEPSOLO.HIDDEN_DIM": 64,
    "MODEL.DEEPSOLO.NHEADS": 4,
    "MODEL.DEEPSOLO.DIM_FEEDFORWARD": 128,
    "MODEL.DEEPSOLO.ENC_LAYERS": 1,
    "MODEL.DEEPSOLO.DEC_LAYERS": 2,
    "MODEL.DEEPSOLO.NUM_QUERIES": 10,
    "MODEL.DEEPSOLO.NUM_POINTS": 20,
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
    "SOLVER.MAX_ITER": 500,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "norm",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 1.0,
    "SOLVER.CHECKPOINT_PERIOD": 500,
    "TEST.IMS_PER_BATCH": IMAGES,
}


def pictures(folder: Path) -> Path:
    """Eight plain pictures of 128 x 128 pixels with one or two words, straight and curved."""
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
    return generate_dataset(folder / "data", count=IMAGES, seed=3, options=options, processes=1).parent


@pytest.mark.slow
def test_deepsolo_learns_eight_pictures_by_heart(tmp_path):
    data = pictures(tmp_path)
    files = {"DATASETS.TRAIN": f"['{data}']", "DATASETS.TEST": f"['{data}']", "OUTPUT_DIR": tmp_path / "train"}
    cfg = load_config(None, pairs(OPTIONS | files))
    folder = train(cfg, device="cpu")
    stored = read_checkpoint(folder / "model_final.safetensors")
    model = build_model(stored.config, weights=False)
    load_weights(model, stored.weights, "model_final.safetensors")
    (evaluation,) = evaluate_model(model, cfg, load_test_datasets(cfg)).values()
    assert evaluation.results["none"].end_to_end.hmean == 1.0, figures(evaluation)
    assert len(evaluation.ground_truth["images"]) == IMAGES
