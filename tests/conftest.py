"""One thread a test process: the suite runs several processes, and small tensors gain nothing from more."""

from pathlib import Path

import pytest
import torch
from tiny import sample, tiny_config

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of an untrained tiny model that reports a few words in every picture."""
    from fasttcm.engine.build import build_model
    from fasttcm.engine.checkpoint import save_model

    torch.manual_seed(0)
    cfg = tiny_config(MODEL__ABCNET__INFERENCE_TH_TEST=0.0, MODEL__ABCNET__POST_NMS_TOPK=5)
    model = build_model(cfg).train()
    model([sample("abc", seed=1)])  # moves the running statistics away from their start
    torch.nn.init.constant_(model.head.box_pred.bias, 1.0)  # no box is empty, whatever the seed draws
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(file, model, cfg, 3)
    return file
