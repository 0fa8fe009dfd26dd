"""What every backbone x head must do: a new one is tested by being there."""

from pathlib import Path

import pytest
import torch
from tiny import sample, tiny_config

from fasttcm.config import CHOICES
from fasttcm.engine.build import build_backbone, build_model, project_names
from fasttcm.engine.checkpoint import load_weights, read_checkpoint, save_model
from fasttcm.structures import TextPredictions

BACKBONES = CHOICES["MODEL.BACKBONE.NAME"]
LEARNED = ("tcm_cr50", "fasttcm_cr50")
PAIRS = [(backbone, head) for head in project_names() for backbone in BACKBONES]
BATCHES = {
    "words": [sample("abc", "de", seed=1), sample("fghij", seed=2)],
    "one image without text": [sample("abc", seed=1), sample(seed=2)],
    "no text at all": [sample(seed=1), sample(seed=2)],
    "only illegible text": [sample("###", seed=1, ignore=True)],
    "different sizes": [sample("abc", seed=1, height=70, width=50), sample("de", seed=2, height=40, width=90)],
}


def wake(model: torch.nn.Module) -> None:
    """CLIP starts every bottleneck's last normalisation at zero, which stops the gradient before it for one step."""
    for parameter in model.parameters():
        if parameter.ndim == 1 and not parameter.any():
            torch.nn.init.constant_(parameter, 0.5)


def test_the_configuration_lists_every_backbone() -> None:
    from fasttcm.tcm import BACKBONES as REGISTERED

    assert set(BACKBONES) == set(REGISTERED)


@pytest.mark.parametrize("name", BACKBONES)
def test_declared_shapes_are_the_real_ones(name: str) -> None:
    pyramid = build_backbone(tiny_config(MODEL__BACKBONE__NAME=name)).eval()
    images = torch.randn(2, 3, 64, 96)
    for backbone in (pyramid.bottom_up, pyramid):
        output = backbone(images)
        shapes = {
            k: (2, s.channels, -(-64 // s.stride), -(-96 // s.stride)) for k, s in backbone.output_shape().items()
        }
        assert {key: tuple(value.shape) for key, value in output.features.items()} == shapes
        assert (output.text_logits is not None) == (name in LEARNED)
        assert all(torch.isfinite(value).all() for value in output.features.values())


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_every_trainable_parameter_gets_a_finite_gradient(backbone: str, head: str, batch: str) -> None:
    model = build_model(tiny_config(MODEL__BACKBONE__NAME=backbone, MODEL__META_ARCHITECTURE=head)).train()
    wake(model)
    losses = model(BATCHES[batch])
    assert losses and all(value.shape == () for value in losses.values())
    assert any("match" in name for name in losses) == (backbone in LEARNED)
    torch.stack(list(losses.values())).sum().backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, p in trainable.items() if p.grad is None]
    assert not [name for name, p in trainable.items() if not torch.isfinite(p.grad).all()]
    if batch == "words":
        assert sum(bool(p.grad.abs().sum() > 0) for p in trainable.values()) > 0.8 * len(trainable)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert any("encoder.tower." in name for name in frozen) == (backbone in LEARNED)
    assert not [name for name in trainable if "encoder.tower." in name]


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_a_step_changes_the_loss(backbone: str, head: str) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_config(MODEL__BACKBONE__NAME=backbone, MODEL__META_ARCHITECTURE=head)).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    totals = []
    for _ in range(12):
        torch.manual_seed(1)  # the same dropout and teacher forcing every time
        total = torch.stack(list(model(BATCHES["words"]).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_predicts_saves_and_reloads_equal(backbone: str, head: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    key = f"MODEL__{head.upper()}__INFERENCE_TH_TEST"
    cfg = tiny_config(**{"MODEL__BACKBONE__NAME": backbone, "MODEL__META_ARCHITECTURE": head, key: 0.0})
    model = build_model(cfg)
    model.train()(BATCHES["words"])  # moves the running statistics away from their start
    model.eval()
    images = BATCHES["different sizes"]
    with torch.no_grad():
        first = model(images)
        save_model(tmp_path / "m.safetensors", model, cfg, 1)
        stored = read_checkpoint(tmp_path / "m.safetensors")
        again = build_model(stored.config, weights=False)
        load_weights(again, stored.weights, "m.safetensors")
        second = again.eval()(images)
    assert sum(len(found) for found in first) > 0
    for image, a, b in zip(images, first, second, strict=True):
        assert isinstance(a, TextPredictions) and (a.height, a.width) == (image["height"], image["width"])
        assert a.texts == b.texts and torch.equal(a.scores, b.scores) and torch.equal(a.boxes, b.boxes)
        assert len(a) == len(a.polygons) == len(a.boxes) == len(a.scores) == len(a.text_scores)
        assert bool((a.scores[:-1] >= a.scores[1:]).all())


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_nothing_found_is_an_empty_result(backbone: str, head: str) -> None:
    key = f"MODEL__{head.upper()}__INFERENCE_TH_TEST"
    cfg = tiny_config(**{"MODEL__BACKBONE__NAME": backbone, "MODEL__META_ARCHITECTURE": head, key: 0.9999})
    model = build_model(cfg).eval()
    with torch.no_grad():
        found = model(BATCHES["different sizes"])
    assert [len(f) for f in found] == [0, 0]
    assert [f.boxes.shape for f in found] == [(0, 4), (0, 4)]
    assert found[0].to_json(image_id=1)["words"] == []


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_a_batch_gives_what_single_images_give(backbone: str, head: str) -> None:
    torch.manual_seed(0)
    key = f"MODEL__{head.upper()}__INFERENCE_TH_TEST"
    cfg = tiny_config(**{"MODEL__BACKBONE__NAME": backbone, "MODEL__META_ARCHITECTURE": head, key: 0.0})
    model = build_model(cfg).eval()
    images = [sample(seed=1), sample(seed=2)]
    with torch.no_grad():
        together, alone = model(images), [model([image])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.scores, b.scores, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(a.boxes, b.boxes, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_mixed_precision_stays_finite(backbone: str, head: str) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_config(MODEL__BACKBONE__NAME=backbone, MODEL__META_ARCHITECTURE=head)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(BATCHES["words"])
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert len(model(BATCHES["words"])) == len(BATCHES["words"])
