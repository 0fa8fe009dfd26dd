import inspect
import logging

import pytest
import torch
from tiny import sample, targets
from torch import Tensor, nn

from fasttcm.charset import Charset
from fasttcm.errors import DataError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.projects.abcnet.ctc_reader import CtcReader
from fasttcm.projects.abcnet.decoder import AttentionDecoder
from fasttcm.projects.abcnet.head import BezierFCOSHead
from fasttcm.projects.abcnet.model import ABCNet
from fasttcm.projects.abcnet.proposals import ProposalSelector
from fasttcm.projects.abcnet.recognizer import RecognizerBranch, SequenceEncoder, make_tower
from fasttcm.projects.abcnet.targets import TargetAssigner
from fasttcm.structures import ILLEGIBLE

LOSSES = {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_fcos_bezier", "loss_rec"}
CHANNELS = 16


class TinyBackbone(Backbone):
    """A strided convolution a level, p2 .. p4."""

    def __init__(self, matching: bool = False) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(3 if i == 0 else CHANNELS, CHANNELS, 4 if i == 0 else 2, stride=4 if i == 0 else 2)
            for i in range(3)
        )
        self.matching = matching

    def forward(self, images: Tensor) -> BackboneOutput:
        features, x = {}, images
        for i, stage in enumerate(self.stages):
            x = torch.relu(stage(x))
            features[f"p{i + 2}"] = x
        return BackboneOutput(features, x[:, :1] if self.matching else None)

    def output_shape(self) -> dict[str, FeatureShape]:
        return {f"p{i}": FeatureShape(CHANNELS, 2**i) for i in (2, 3, 4)}


class MeanSquare(nn.Module):
    """Stands in for the matching loss and records what it was given."""

    def forward(self, text_logits, given, image_sizes, padded_size):
        self.seen = (len(given), image_sizes, padded_size)
        return text_logits.square().mean()


def tiny_model(*, threshold: float = 0.45, matching: bool = False, **changes) -> ABCNet:
    torch.manual_seed(0)
    charset = Charset.named("lower36")
    return ABCNet(
        backbone=TinyBackbone(matching),
        batcher=ImageBatcher(),
        head=BezierFCOSHead(in_channels=CHANNELS, strides=(8, 16), num_convs=1),
        recognizer=RecognizerBranch(
            pooler=BezierPooler(output_size=(4, 8), scales=(1 / 4, 1 / 8)),
            tower=make_tower(in_channels=CHANNELS, channels=CHANNELS, num_convs=1),
            encoder=SequenceEncoder(in_channels=CHANNELS, channels=CHANNELS),
            decoder=AttentionDecoder(
                num_classes=charset.num_classes, end=charset.end, channels=CHANNELS, max_length=6, dropout=0.0
            ),
        ),
        charset=charset,
        max_length=6,
        head_levels=("p3", "p4"),
        pooler_levels=("p2", "p3"),
        assigner=TargetAssigner(sizes_of_interest=(32,)),
        selector=ProposalSelector(threshold_test=threshold, post_nms_topk=5),
        **changes,
    )


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize(
    "batch",
    [
        [sample("one", "two"), sample("three", seed=1, height=48, width=80)],
        [sample("one"), sample()],
        [sample(), sample(seed=1)],
        [sample("one", ILLEGIBLE, ignore=True)],
        [sample(ILLEGIBLE)],
        [sample("")],
    ],
    ids=["words", "one image empty", "no words", "ignored", "illegible", "empty text"],
)
def test_losses_are_finite_and_every_parameter_gets_a_gradient(batch):
    model = tiny_model()
    losses = model(batch)
    assert set(losses) == LOSSES
    assert all(torch.isfinite(value) and value.dim() == 0 for value in losses.values())
    total(losses).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not missing


def test_only_legible_words_are_read_and_located():
    model = tiny_model()
    with torch.no_grad():
        words = model([sample("one", "two")], teacher=torch.ones(6))
        nothing = model([sample("one", "two", ignore=True)])
    assert min(value.item() for value in words.values()) > 0
    assert {name for name, value in nothing.items() if value.item() == 0} == LOSSES - {"loss_fcos_cls"}


def test_illegible_words_leave_the_class_loss_of_their_region():
    model = tiny_model()
    with torch.no_grad():
        ignored = model([sample(ILLEGIBLE)])["loss_fcos_cls"]
        model.assigner.ignore_regions = False
        background = model([sample(ILLEGIBLE)])["loss_fcos_cls"]
        without = model([sample()])["loss_fcos_cls"]
    assert ignored < background
    torch.testing.assert_close(background, without)


def test_recognition_loss_weight_scales_only_the_recognition_loss():
    draws = torch.ones(6)
    with torch.no_grad():
        published = tiny_model()([sample("one")], teacher=draws)
        doubled = tiny_model(rec_loss_weight=0.1)([sample("one")], teacher=draws)
    torch.testing.assert_close(doubled["loss_rec"], 2 * published["loss_rec"])
    torch.testing.assert_close(doubled["loss_fcos_cls"], published["loss_fcos_cls"])


def test_matching_loss_needs_both_the_loss_and_logits():
    loss = MeanSquare()
    batch = [sample("one", height=40, width=50), sample()]
    assert "loss_match" not in tiny_model(matching_loss=loss)(batch)
    assert "loss_match" not in tiny_model(matching=True)(batch)
    assert tiny_model(matching=True, matching_loss=loss)(batch)["loss_match"].item() > 0
    assert loss.seen == (2, [(40, 50), (64, 64)], (64, 64))


def test_long_texts_are_cut_counted_and_reported_once(caplog):
    model = tiny_model()
    with caplog.at_level(logging.WARNING):
        losses = model([sample("abcdefgh", "abcdefghi", "abc")])
    assert model.encode.cut == 2 and len(caplog.records) == 1
    assert "0.png: text 'abcdefgh' has 8 characters" in caplog.text and torch.isfinite(total(losses))


def test_long_texts_can_be_refused():
    model = tiny_model(too_long="refuse")
    with pytest.raises(DataError, match=r"0\.png: text 'abcdefgh' has 8 characters, the model reads at most 6"):
        model([sample("abc", "abcdefgh")])


def test_adaptive_training_also_reads_what_the_head_finds(monkeypatch):
    model, batch = open_model().train(), [sample("one", "two"), sample(), sample(ILLEGIBLE)]
    model.selector.threshold_train = 0.0
    read = []
    monkeypatch.setattr(
        model.recognizer.pooler, "forward", spy(model.recognizer.pooler.forward, lambda f, b: read.append(b))
    )
    model(batch)
    model.adaptive_training = True
    losses = model(batch)
    total(losses).backward()
    plain, adaptive = ([len(curves) for curves in call] for call in read)
    assert plain == [2, 0, 0] and adaptive == [2 + model.selector.post_nms_topk, 0, 0]
    assert not read[1][0].requires_grad
    assert all(p.grad is not None for p in model.parameters())


def spy(function, record):
    def wrapped(*arguments):
        record(*arguments)
        return function(*arguments)

    return wrapped


def test_training_without_targets_names_the_image():
    broken = sample("one")
    del broken["targets"]
    with pytest.raises(DataError, match=r"0\.png has no targets"):
        tiny_model()([broken])


def test_training_leaves_the_targets_of_the_sample_alone():
    given = sample(ILLEGIBLE)
    tiny_model()([given])
    assert given["targets"].ignore.tolist() == [False]


def test_nothing_found_gives_empty_predictions():
    model = tiny_model(threshold=0.99).eval()
    with torch.inference_mode():
        words = model([sample(), sample(seed=1, height=40)])
    assert [len(w) for w in words] == [0, 0] and [w.height for w in words] == [64, 40]
    assert words[0].boxes.shape == (0, 4) and words[0].beziers.shape == (0, 16) and words[0].texts == []


def open_model() -> ABCNet:
    """A model whose boxes are never empty and whose every location counts."""
    model = tiny_model(threshold=0.0)
    nn.init.constant_(model.head.box_pred.bias, 2.0)
    return model.eval()


def test_found_words_lie_in_the_original_image_and_scale_with_it():
    small = sample(height=48, width=64)
    large = {**small, "height": 96, "width": 256}
    with torch.inference_mode():
        here, there = (open_model()([s])[0] for s in (small, large))
    assert 0 < len(here) == len(there) and here.texts == there.texts
    torch.testing.assert_close(here.boxes * torch.tensor([4.0, 2, 4, 2]), there.boxes)
    assert there.boxes[:, 2].max() <= 256 and there.boxes[:, 3].max() <= 96
    assert len(here.polygons) == len(here) and ((here.text_scores > 0) & (here.text_scores <= 1)).all()
    assert (here.scores[:-1] >= here.scores[1:]).all()


def test_words_whose_reading_scores_too_little_go():
    model = open_model()
    with torch.inference_mode():
        everything = model([sample(), sample(seed=1)])
        model.threshold_text = float(torch.cat([words.text_scores for words in everything]).median())
        rest = model([sample(), sample(seed=1)])
    assert 0 < sum(len(words) for words in rest) < sum(len(words) for words in everything)
    for before, after in zip(everything, rest, strict=True):
        sure = before.text_scores >= model.threshold_text
        assert torch.equal(after.scores, before.scores[sure]) and torch.equal(after.beziers, before.beziers[sure])
        assert after.texts == [text for text, kept in zip(before.texts, sure.tolist(), strict=True) if kept]


def test_room_for_reading_changes_what_is_read_and_not_where(monkeypatch):
    model, read = open_model(), []
    reader = model.recognizer.read

    def spy(features, curves):
        read.append(torch.cat(list(curves)))
        return reader(features, curves)

    monkeypatch.setattr(model.recognizer, "read", spy)
    with torch.inference_mode():
        (narrow,) = model([sample()])
        model.reading_room = (0.0, 0.25)
        (wide,) = model([sample()])
    torch.testing.assert_close(narrow.beziers, wide.beziers)
    tall, low = ((c.reshape(-1, 8, 2)[:, 0] - c.reshape(-1, 8, 2)[:, 7]).norm(dim=1) for c in (read[1], read[0]))
    torch.testing.assert_close(tall, 1.5 * low)


def test_images_of_a_batch_get_their_own_words():
    first, second = sample(seed=1), sample(seed=2)
    model = open_model()
    with torch.inference_mode():
        both = model([first, second])
        alone = model([second])[0]
    torch.testing.assert_close(both[1].boxes, alone.boxes)
    assert both[1].texts == alone.texts
    assert not torch.allclose(both[0].scores, both[1].scores)


def test_bfloat16_autocast_stays_finite_and_keeps_losses_in_single_precision():
    model = tiny_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model([sample("one", "two")])
    assert {value.dtype for value in losses.values()} == {torch.float32}
    total(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        words = open_model()([sample()])[0]
    assert len(words) and words.beziers.dtype == torch.float32 and torch.isfinite(words.beziers).all()


def test_a_few_steps_on_two_words_lower_every_loss():
    model = tiny_model()
    image = torch.full((3, 64, 64), 30, dtype=torch.uint8)
    image[:, 8:20, 10:50] = 220
    image[:, 26:38, 10:30] = 150
    batch = [{"image": image, "height": 64, "width": 64, "targets": targets("on", "off")}]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    history = []
    for _ in range(40):
        losses = model(batch, teacher=torch.ones(6))
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert all(history[-1][name] < 0.7 * history[0][name] for name in LOSSES - {"loss_fcos_ctr"}), history[-1]


def test_module_defaults_are_the_configuration_defaults():
    config = pytest.importorskip("fasttcm.config").get_defaults().MODEL
    pairs = [
        (BezierFCOSHead, {"num_convs": "NUM_CONVS", "prior_prob": "PRIOR_PROB"}),
        (TargetAssigner, {"sizes_of_interest": "SIZES_OF_INTEREST", "radius": "CENTER_RADIUS"}),
        (
            ProposalSelector,
            {
                "threshold_train": "INFERENCE_TH_TRAIN",
                "threshold_test": "INFERENCE_TH_TEST",
                "pre_nms_topk": "PRE_NMS_TOPK",
                "post_nms_topk": "POST_NMS_TOPK",
                "nms_threshold": "NMS_TH",
            },
        ),
        (
            BezierPooler,
            {
                "output_size": "POOLER_RESOLUTION",
                "sampling_ratio": "POOLER_SAMPLING_RATIO",
                "canonical_size": "CANONICAL_SIZE",
                "canonical_level": "CANONICAL_LEVEL",
            },
        ),
        (RecognizerBranch, {"pad_loss_weight": "PAD_LOSS_WEIGHT"}),
        (CtcReader, {"max_regions": "READER_MAX_REGIONS"}),
        (AttentionDecoder, {"dropout": "RECOGNIZER_DROPOUT", "teacher_forcing": "TEACHER_FORCING"}),
        (
            ABCNet,
            {
                "rec_loss_weight": "REC_LOSS_WEIGHT",
                "curve_jitter": "CURVE_JITTER",
                "trained": "TRAIN",
                "head_levels": "HEAD_LEVELS",
                "pooler_levels": "POOLER_LEVELS",
            },
        ),
    ]
    for owner, names in pairs:
        signature = inspect.signature(owner.__init__).parameters
        for argument, key in names.items():
            default = signature[argument].default
            expected = list(default) if isinstance(default, tuple) else default
            assert config.ABCNET[key] == expected, f"MODEL.ABCNET.{key}"
    assert inspect.signature(ABCNet).parameters["max_length"].default == config.TEXT.MAX_LENGTH
