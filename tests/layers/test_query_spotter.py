"""What DeepSolo and TESTR do alike."""

import logging

import pytest
import torch
from tiny import sample, tiny_config
from torch import Tensor

from fasttcm.engine.build import build_model
from fasttcm.errors import DataError
from fasttcm.layers.query_spotter import QuerySpotter

pytestmark = pytest.mark.parametrize("head", ["DeepSolo", "TESTR"])


def tiny_model(head: str, **changes: object) -> QuerySpotter:
    """On a ResNet-18, every query an answer; ``__NUM_QUERIES=2`` changes a key of the head."""
    torch.manual_seed(0)
    node = f"MODEL__{head.upper()}"
    options = {"__INFERENCE_TH_TEST": 0.0, "__DROPOUT": 0.0, "MODEL__BACKBONE__NAME": "imagenet_r50", **changes}
    options = {node + key if key.startswith("__") else key: value for key, value in options.items()}
    return build_model(tiny_config(MODEL__META_ARCHITECTURE=head, **options))


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (9, 70), (33, 31)])
def test_images_smaller_than_a_stride_train_and_read(head: str, size: tuple[int, int]) -> None:
    model = tiny_model(head)
    tiny = sample("abc", height=size[0], width=size[1])
    total(model.train()([tiny, sample("de", seed=1)])).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    with torch.inference_mode():
        (words,) = model.eval()([tiny])
    assert torch.isfinite(words.boxes).all() and (words.height, words.width) == size


def test_fewer_tokens_than_queries_give_as_many_words_as_tokens(head: str) -> None:
    model = tiny_model(head, __NUM_QUERIES=500, MODEL__BACKBONE__FROZEN_NORM=True).eval()
    with torch.inference_mode():
        (words,) = model([sample(height=32, width=32)])
    assert len(words) == 4 * 4 + 2 * 2 + 1 + 1
    total(model.train()([sample("abc", height=32, width=32)])).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_more_words_than_queries_train(head: str) -> None:
    assert torch.isfinite(total(tiny_model(head, __NUM_QUERIES=2).train()([sample("a", "b", "c")])))


def test_a_padded_image_reads_what_it_reads_alone(head: str) -> None:
    # What the padding shows through convolutions at the border is the only difference.
    model = tiny_model(head).eval()
    small, large = sample(seed=1), sample(seed=2)
    model.batcher.size_divisibility = 64
    with torch.inference_mode():
        alone, together = model([small])[0], model([small, large])[0]
    torch.testing.assert_close(alone.scores, together.scores, atol=1e-5, rtol=1e-5)
    assert alone.texts == together.texts


def test_the_original_size_scales_the_words(head: str) -> None:
    model = tiny_model(head).eval()
    image = sample(height=48, width=64)
    with torch.inference_mode():
        here, there = model([image])[0], model([{**image, "height": 96, "width": 256}])[0]
    torch.testing.assert_close(here.boxes * torch.tensor([4.0, 2, 4, 2]), there.boxes)
    assert here.texts == there.texts and len(here) == 8


def test_published_padding_with_resnet_and_whole_cells_with_clip(head: str) -> None:
    assert tiny_model(head).batcher.size_divisibility == 1
    assert tiny_model(head, MODEL__BACKBONE__NAME="clip_r50").batcher.size_divisibility == 32


def test_the_spotter_form_of_tcm_adds_its_map_to_res4(head: str) -> None:
    changes = {"MODEL__BACKBONE__NAME": "tcm_cr50", "MODEL__TCM__SPOTTER_LEVEL": "res4", "MODEL__CLIP__EMBED_DIM": 256}
    losses = tiny_model(head, **changes).train()([sample("abc")])
    assert "loss_match" in losses and torch.isfinite(total(losses))


def test_long_texts_are_cut_and_counted_or_refused(head: str, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model(head).train()
    with caplog.at_level(logging.WARNING):
        model([sample("abcdefgh", "abc")])
    assert model.encode.cut == 1 and "at most 6" in caplog.text
    with pytest.raises(DataError, match=r"0\.png: text 'abcdefgh'"):
        tiny_model(head, MODEL__TEXT__TOO_LONG="refuse").train()([sample("abcdefgh")])


def test_training_needs_targets(head: str) -> None:
    bare = {key: value for key, value in sample("abc").items() if key != "targets"}
    with pytest.raises(DataError, match=r"0\.png has no targets"):
        tiny_model(head).train()([bare])
