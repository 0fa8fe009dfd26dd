import numpy as np
import pytest
import torch
from tiny import sample, tiny_config

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.errors import ConfigError, DataError
from fasttcm.layers.backbone import Backbone, BackboneOutput, FeatureShape
from fasttcm.projects.dbnet.build import build
from fasttcm.projects.dbnet.head import DBHead, DBMaps
from fasttcm.projects.dbnet.keys import from_published, matches, published_options, rename_published
from fasttcm.projects.dbnet.loss import DBLoss
from fasttcm.projects.dbnet.model import DBNet
from fasttcm.projects.dbnet.neck import FPNC
from fasttcm.projects.dbnet.targets import DBTargets
from fasttcm.structures import ILLEGIBLE

LOSSES = {"loss_prob", "loss_db", "loss_thr"}


class Pooled(Backbone):
    """Average pooling, repeated to 8 channels."""

    levels = range(2, 6)

    def forward(self, images: torch.Tensor) -> BackboneOutput:
        grey = images.mean(1, keepdim=True).repeat(1, 8, 1, 1)
        return BackboneOutput({f"res{i}": torch.nn.functional.avg_pool2d(grey, 2**i) for i in self.levels})

    def output_shape(self) -> dict[str, FeatureShape]:
        return {f"res{i}": FeatureShape(8, 2**i) for i in self.levels}


def tiny_dbnet(**changes: object) -> DBNet:
    torch.manual_seed(0)
    return build(tiny_config(**{f"MODEL__DBNET__{key}": value for key, value in changes.items()}), Pooled())


def test_every_option_reaches_its_part():
    model = tiny_dbnet(
        LATERAL_CHANNELS=24,
        SMOOTH_CHANNELS=12,
        SHRINK_RATIO=0.5,
        THR_MIN=0.2,
        THR_MAX=0.8,
        MIN_SHORT_SIDE=3.0,
        ALPHA=4.0,
        BETA=9.0,
        BALANCED_BCE=False,
        NEGATIVE_RATIO=2.0,
        MASK_TH=0.25,
        INFERENCE_TH_TEST=0.35,
        MIN_TEXT_WIDTH=4.0,
        APPROX_RATIO=0.02,
        UNCLIP_RATIO=1.7,
        MAX_CANDIDATES=17,
        FORM="poly",
    )
    assert model.neck.lateral_convs[0].out_channels == 24 and model.neck.out_channels == 48
    maker, loss, post = model.target_maker, model.criterion, model.postprocessor
    assert (maker.shrink_ratio, maker.thr_min, maker.thr_max, maker.min_short_side) == (0.5, 0.2, 0.8, 3.0)
    assert (loss.alpha, loss.beta, loss.balanced, loss.negative_ratio) == (4.0, 9.0, False, 2.0)
    assert (post.mask_threshold, post.score_threshold, post.min_text_width) == (0.25, 0.35, 4.0)
    assert (post.approx_ratio, post.unclip_ratio, post.max_candidates, post.form) == (0.02, 1.7, 17, "poly")


@pytest.mark.parametrize(
    ("file", "settings", "sizes"),
    [
        ("icdar2015/tcm_cr50", (0.28, 0.2, 2, 0.001, 1.6, 3000, "quad"), (1024, 4068)),
        ("icdar2015/imagenet_r50", (0.3, 0.3, 5, 0.01, 1.5, 3000, "quad"), (1024, 4068)),
        ("td500/tcm_cr50", (0.08, 0.17, 3, 0, 1.9, 1000, "quad"), (736, 4068)),
        ("ctw1500/tcm_cr50", (0.08, 0.3, 3, 0.0001, 2.0, 3000, "poly"), (1024, 4068)),
        ("totaltext/tcm_cr50", (0.347, 0.3, 5, 0.004, 1.95, 3000, "poly"), (800, 2944)),
        ("synthtext/tcm_cr50", (0.3, 0.3, 5, 0.01, 1.5, 3000, "quad"), (1024, 4068)),
    ],
)
def test_configurations_hold_the_published_test_settings(file, settings, sizes, request):
    cfg = load_config(request.config.rootpath / f"configs/dbnet/{file}.yaml")
    node = cfg.MODEL.DBNET
    names = ("MASK_TH", "INFERENCE_TH_TEST", "MIN_TEXT_WIDTH", "APPROX_RATIO", "UNCLIP_RATIO", "MAX_CANDIDATES", "FORM")
    assert tuple(node[name] for name in names) == settings
    assert sizes == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) and cfg.INPUT.PIPELINE == "dbnet"
    assert not cfg.SOLVER.CLIP_GRADIENTS.ENABLED and cfg.SOLVER.WARMUP_ITERS == 0 and cfg.SOLVER.MIN_LR == 1e-7
    assert cfg.MODEL.TCM.LOSS == "balanced_bce"


@pytest.mark.parametrize("kind", ["dice", "balanced_bce", "ohem_dice"])
def test_every_matching_loss_can_be_asked_for(kind):
    changes = {"MODEL__BACKBONE__NAME": "fasttcm_cr50", "MODEL__META_ARCHITECTURE": "dbnet", "MODEL__TCM__LOSS": kind}
    torch.manual_seed(0)
    model = build_model(tiny_config(**changes, MODEL__TCM__LOSS_WEIGHT=2.0))
    batch = [sample("abc"), sample("de", seed=1)]
    torch.manual_seed(1)
    losses = model(batch)
    assert set(losses) == {*LOSSES, "loss_match"} and torch.isfinite(losses["loss_match"]) and losses["loss_match"] > 0
    torch.manual_seed(0)
    published = build_model(
        tiny_config(**changes, MODEL__TCM__LOSS_WEIGHT=1.0, MODEL__DBNET__PUBLISHED_MATCHING_LOSS=True)
    )
    torch.manual_seed(1)
    same = torch.isclose(2 * published(batch)["loss_match"], losses["loss_match"])
    assert bool(same) == (kind != "balanced_bce")  # only that one is weighed by other images' masks


def test_a_neck_fuses_by_target_size_and_a_head_enlarges_four_times():
    neck, head = FPNC(in_channels=(4, 5, 6, 7), lateral_channels=8, smooth_channels=2), DBHead(in_channels=8)
    sizes = ((9, 11), (5, 6), (3, 3), (2, 2))
    fused = neck([torch.randn(2, c, *size) for c, size in zip((4, 5, 6, 7), sizes, strict=True)])
    assert fused.shape == (2, 8, 9, 11)
    maps = head(fused)
    assert maps.stacked().shape == (2, 3, 36, 44) and bool((maps.threshold > 0).all() and (maps.threshold < 1).all())
    torch.testing.assert_close(head.probability_logits(fused), maps.logits)


def test_losses_by_hand():
    logits = torch.tensor([[[2.0, -1.0, 0.0, 3.0]]], requires_grad=True)
    maps = DBMaps(logits, torch.tensor([[[0.5, 0.5, 0.5, 0.5]]]))
    targets = DBTargets(
        kernel=torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]),
        mask=torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]),
        threshold=torch.tensor([[[0.7, 0.3, 0.3, 0.3]]]),
        threshold_mask=torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]),
    )
    losses = DBLoss()(maps, targets)
    p = torch.sigmoid(torch.tensor([2.0, -1.0, 0.0, 3.0]))
    cross = -(p[0].log() + (1 - p[1]).log() + (1 - p[2]).log())
    assert losses["loss_prob"].item() == pytest.approx(5 * cross.item() / 3, rel=1e-5)
    b = torch.sigmoid(50 * (p - 0.5))[:3]
    assert losses["loss_db"].item() == pytest.approx(1 - 2 * b[0].item() / (b.sum().item() + 1), rel=1e-5)
    assert losses["loss_thr"].item() == pytest.approx(10 * 0.4 / 2, rel=1e-5)


def test_illegible_words_are_masked_and_the_sample_stays_as_it_is():
    given = sample(ILLEGIBLE)
    with torch.no_grad():
        losses = tiny_dbnet()([given])
    assert losses["loss_prob"] == 0 and losses["loss_thr"] == 0 and given["targets"].ignore.tolist() == [False]


def test_training_without_targets_names_the_image():
    broken = sample("one")
    del broken["targets"]
    with pytest.raises(DataError, match=r"0\.png has no targets"):
        tiny_dbnet()([broken])


def test_outlines_scale_with_the_original_picture():
    model = tiny_dbnet(INFERENCE_TH_TEST=0.0).eval()
    small = sample(height=50, width=60)
    large = {**small, "height": 100, "width": 240}
    with torch.inference_mode():
        here, there = (model([s])[0] for s in (small, large))
    assert 0 < len(here) == len(there) and here.texts == [""] * len(here)
    torch.testing.assert_close(here.boxes * torch.tensor([4.0, 2, 4, 2]), there.boxes)


def test_padding_of_the_batch_finds_nothing():
    model = tiny_dbnet(INFERENCE_TH_TEST=0.0, UNCLIP_RATIO=0.01).eval()
    with torch.inference_mode():
        found = model([sample(height=32, width=32), sample(seed=1, height=96, width=128)])
    assert found[0].boxes.max() <= 32 and found[1].boxes.max() > 96


def test_broken_weights_are_reported_and_the_other_images_go_on(caplog):
    model = tiny_dbnet(INFERENCE_TH_TEST=0.0).eval()
    good = sample(height=32, width=32)
    broken = {**good, "image": good["image"].float() * float("nan"), "file_name": "broken.png"}
    with torch.inference_mode():
        found = model([good, broken])
    assert len(found[0]) > 0 == len(found[1])
    assert "broken.png" in caplog.text and "not finite" in caplog.text


def test_a_backbone_without_the_levels_is_named():
    backbone = Pooled()
    backbone.levels = range(3, 6)
    with pytest.raises(ConfigError, match="DBNet reads res2, res3, res4, res5; the backbone has res3, res4, res5"):
        build(tiny_config(), backbone)


def test_foreign_names_are_kept_for_the_loader_to_report():
    state = {
        "neck.smooth_convs.0.conv.weight": torch.zeros(64, 256, 3, 3),
        "neck.lateral_convs.0.conv.weight": torch.zeros(256, 256, 1, 1),
        "bbox_head.binarize.0.weight": torch.zeros(64, 256, 3, 3),
        "bbox_head.threshold.0.weight": torch.zeros(64, 256, 3, 3),
        "backbone.layer3.5.conv1.weight": torch.zeros(1),
        "backbone.layer1.0.conv3.weight": torch.zeros(1),
        "something.else": torch.zeros(1),
        "pix_w": torch.zeros(1),
    }
    assert matches(state) and not matches({"neck.smooth_convs.0.conv.weight"})
    ours = from_published(state)
    assert "something.else" in ours and "pix_w" not in ours and "head.binarize.0.weight" in ours
    assert rename_published("something.else") is None
    # A trunk that is no known ResNet is taken for the deepest fit: 50 layers.
    assert published_options(state)["MODEL.RESNET.DEPTH"] == 50
    np.testing.assert_equal(published_options(state)["MODEL.RESNET.DEFORMABLE_STAGES"], [])
