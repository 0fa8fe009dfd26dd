import math

import pytest
import torch
from torch import Tensor

from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.projects.abcnet.decoder import AttentionDecoder, Decoded
from fasttcm.projects.abcnet.head import BezierFCOSHead, group_norm
from fasttcm.projects.abcnet.recognizer import RecognizerBranch, SequenceEncoder, make_tower

CLASSES, END, STEPS = 7, 6, 5


def decoder(**changes: float) -> AttentionDecoder:
    torch.manual_seed(0)
    options = {"num_classes": CLASSES, "end": END, "channels": 8, "max_length": STEPS, "dropout": 0.0, **changes}
    model = AttentionDecoder(**options)
    torch.nn.init.normal_(model.embedding.weight, std=3.0)  # so that the previous character matters
    return model


def branch() -> RecognizerBranch:
    return RecognizerBranch(
        pooler=BezierPooler(output_size=(4, 6), scales=(1 / 4, 1 / 8)),
        tower=make_tower(in_channels=3, channels=8, num_convs=1),
        encoder=SequenceEncoder(in_channels=8, channels=8),
        decoder=decoder(),
    )


def levels(images: int = 1) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(images, 3, 16, 16), torch.randn(images, 3, 8, 8)]


def test_group_norm_keeps_eight_channels_a_group():
    groups = {channels: group_norm(channels).num_groups for channels in (256, 512, 64, 16, 4, 40)}
    assert groups == {256: 32, 512: 32, 64: 8, 16: 2, 4: 1, 40: 5}


def test_head_starts_at_its_prior_and_its_boxes_are_not_negative():
    torch.manual_seed(0)
    head = BezierFCOSHead(in_channels=16, strides=(8, 16), num_convs=2, prior_prob=0.05)
    output = head([torch.randn(2, 16, 6, 8), torch.randn(2, 16, 3, 4)])
    assert output.logits[0].sigmoid().mean().item() == pytest.approx(0.05, rel=0.2)
    assert [tuple(x.shape) for x in output.beziers] == [(2, 16, 6, 8), (2, 16, 3, 4)]
    assert min(x.min().item() for x in output.reg) == 0
    assert [len(at) for at in output.locations()] == [48, 12]
    with pytest.raises(ValueError, match="2 levels, got 1"):
        head([torch.randn(1, 16, 4, 4)])


def test_encoder_reads_columns_in_both_directions():
    torch.manual_seed(0)
    encoder = SequenceEncoder(in_channels=8, channels=8).eval()
    regions = torch.randn(2, 8, 8, 12)
    with torch.no_grad():
        before = encoder(regions)
        regions[0, :, :, -1] += 5
        after = encoder(regions)
    assert before.shape == (12, 2, 8)
    assert (before[0, 0] - after[0, 0]).abs().max() > 0  # the last column reaches the first through the backward LSTM
    torch.testing.assert_close(before[:, 1], after[:, 1])


def test_decoder_gives_distributions_and_its_own_best_characters():
    decoded = decoder().eval()(torch.randn(9, 3, 8))
    assert decoded.log_probs.shape == (3, STEPS, CLASSES)
    torch.testing.assert_close(decoded.log_probs.exp().sum(2), torch.ones(3, STEPS))
    torch.testing.assert_close(decoded.attention.sum(2), torch.ones(3, STEPS))
    assert torch.equal(decoded.tokens, decoded.log_probs.argmax(2))


def test_regions_do_not_influence_each_other():
    encoded = torch.randn(9, 3, 8)
    model = decoder().eval()
    together, alone = model(encoded), model(encoded[:, 1:2])
    torch.testing.assert_close(together.log_probs[1], alone.log_probs[0])


def test_a_draw_decides_what_the_next_step_sees():
    model = decoder(teacher_forcing=0.5)
    encoded = torch.randn(9, 2, 8)
    own = model(encoded)
    wrong = (own.tokens + 1) % CLASSES
    draws = torch.tensor([0.2, 0.5, 0.9, 0.1, 0.9])  # only the third step is followed by the truth
    mixed = model(encoded, wrong, draws)
    torch.testing.assert_close(mixed.log_probs[:, :3], own.log_probs[:, :3])
    assert (mixed.log_probs[:, 3] - own.log_probs[:, 3]).abs().max() > 1e-3
    right = model(encoded, own.tokens, torch.ones(STEPS))
    torch.testing.assert_close(right.log_probs, own.log_probs)


def test_teacher_forcing_probability_zero_and_one_need_no_luck():
    encoded, targets = torch.randn(9, 2, 8), torch.randint(0, CLASSES, (2, STEPS))
    never, always = decoder(teacher_forcing=0.0), decoder(teacher_forcing=1.0)
    torch.testing.assert_close(never(encoded, targets).log_probs, never(encoded).log_probs)
    forced = always(encoded, targets, torch.zeros(STEPS))
    torch.testing.assert_close(forced.log_probs, decoder()(encoded, targets, torch.ones(STEPS)).log_probs)


def test_draws_come_from_the_generator_of_torch():
    model, encoded = decoder(), torch.randn(9, 2, 8)
    targets = (model(encoded).tokens + 1) % CLASSES
    results = []
    for seed in (3, 3, 4, 5, 6):
        torch.manual_seed(seed)
        results.append(model(encoded, targets).log_probs)
    torch.testing.assert_close(results[0], results[1])
    assert any(not torch.allclose(results[0], other) for other in results[2:])


def test_confidence_is_the_product_up_to_and_with_the_first_end():
    tokens = torch.tensor([[1, END, 2], [1, 2, 3]])
    log_probs = torch.full((2, 3, CLASSES), -20.0)
    for region, row in enumerate(tokens.tolist()):
        for step, token in enumerate(row):
            log_probs[region, step, token] = math.log([0.5, 0.8, 0.9][step])
    confidence = Decoded(log_probs, torch.zeros(2, 3, 1), tokens).confidence(END)
    torch.testing.assert_close(confidence, torch.tensor([0.5 * 0.8, 0.5 * 0.8 * 0.9]))


def test_reading_nothing_gives_empty_tensors():
    reading = branch().eval().read(levels(2), [torch.zeros(0, 16)] * 2)
    assert reading.tokens.shape == (0, STEPS) and reading.scores.shape == (0,)


def test_reading_follows_the_order_of_the_images():
    model = branch().eval()
    curve = torch.tensor([[0.0, 0, 10, 0, 20, 0, 30, 0, 30, 9, 20, 9, 10, 9, 0, 9]])
    features = levels(2)
    with torch.no_grad():
        both = model([*features], [curve, curve + 20])
        second = model([f[1:] for f in features], [curve + 20])
    torch.testing.assert_close(both.log_probs[1:], second.log_probs)


def test_idle_gives_every_parameter_and_feature_a_zero_gradient_even_beside_infinite_weights():
    model = branch()
    with torch.no_grad():
        model.decoder.classifier.bias[0] = math.inf
    features = [f.requires_grad_() for f in levels()]
    value = model.idle(features)
    value.backward()
    assert value.item() == 0
    assert all(p.grad is not None and p.grad.abs().sum() == 0 for p in [*model.parameters(), *features])
