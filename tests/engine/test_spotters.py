"""Odd batches that every spotter must survive, whatever its design."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import sample, tiny_config
from torch import nn

from fasttcm.engine.build import build_model
from fasttcm.engine.callbacks import LossLog

SPOTTERS = ("ABCNet", "DeepSolo", "TESTR")


def spotter(head: str, **changes: object) -> nn.Module:
    torch.manual_seed(0)
    return build_model(
        tiny_config(
            MODEL__META_ARCHITECTURE=head,
            **{f"MODEL__{head.upper()}__INFERENCE_TH_TEST": 0.0, "MODEL__BACKBONE__NAME": "fasttcm_cr50", **changes},
        )
    )


def degenerate() -> dict[str, object]:
    """A word that is a point, one that is a line, one whose box alone has no area, and an ordinary one."""
    batch = sample("point", "line", "flat", "abc")
    words = batch["targets"]
    words.boxes[0], words.beziers[0], words.polygons[0][:] = torch.tensor([20.0, 20, 20, 20]), 20.0, 20.0
    words.boxes[1, 3] = words.boxes[1, 1]
    words.beziers[1, 1::2] = words.boxes[1, 1]
    words.polygons[1][:, 1] = float(words.boxes[1, 1])
    words.boxes[2, 2] = words.boxes[2, 0]
    return batch


@pytest.mark.parametrize("head", SPOTTERS)
def test_words_without_area_train(head: str) -> None:
    model = spotter(head).train()
    losses = model([degenerate(), sample("de", seed=1)])
    assert "loss_match" in losses and all(torch.isfinite(value) for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("head", SPOTTERS)
def test_an_image_without_a_detection_does_not_move_the_words_of_the_others(head: str) -> None:
    model = spotter(head)
    if head == "ABCNet":
        nn.init.constant_(model.head.box_pred.bias, 2.0)  # boxes with an area
    images = [sample(seed=seed) for seed in range(3)]
    with torch.inference_mode():
        everything = model.eval()(images)
        best = torch.stack([words.scores.max() for words in everything])
        order = best.argsort(descending=True)
        threshold = float(best[order[:2]].mean())
        if head == "ABCNet":  # compares the class alone, not the score
            model.head.register_forward_hook(lambda m, i, out: _only(out, int(order[0])))
        else:
            model.threshold = threshold
        found = model(images)
    counts = [len(words) for words in found]
    assert counts[order[0]] > 0 and sum(counts) == counts[order[0]]
    kept, before = found[order[0]], everything[order[0]]
    assert kept.texts == before.texts[: len(kept)] and torch.equal(kept.scores, before.scores[: len(kept)])


def _only(output: object, image: int) -> None:
    """No other image of the batch has a text."""
    for level in output.logits:
        level[torch.arange(len(level)) != image] = -100.0


@pytest.mark.parametrize("head", SPOTTERS)
def test_what_did_not_fit_is_reported_when_training_ends(
    head: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = spotter(head, MODEL__TEXT__CHARSET="lower36").train()
    model([sample("abcdefgh", "a-b"), sample("abc", seed=1)])
    log = LossLog(tmp_path / "train.csv", start_iteration=0, max_iter=1)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        log.on_train_end(SimpleNamespace(), SimpleNamespace(model=model))
    assert "1 texts were longer than 6 characters and were cut; 1 texts had characters" in caplog.text
