"""ABCNet v1 and v2 against figures of the published implementation: whole inference and whole training step."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from reference import assert_matches, fill_state_dict, golden, make_image, manifest
from torch import Tensor

from fasttcm.charset import Charset
from fasttcm.geometry import beziers_to_polygons
from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.layers.bifpn import BiFPN
from fasttcm.layers.fpn import FPN
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.resnet import ImageNetResNet
from fasttcm.projects.abcnet.coordinates import CoordinateBranch
from fasttcm.projects.abcnet.decoder import AttentionDecoder
from fasttcm.projects.abcnet.head import BezierFCOSHead
from fasttcm.projects.abcnet.keys import from_published, matches
from fasttcm.projects.abcnet.loss import recognition_loss
from fasttcm.projects.abcnet.model import ABCNet
from fasttcm.projects.abcnet.postprocess import rescale
from fasttcm.projects.abcnet.proposals import ProposalSelector
from fasttcm.projects.abcnet.recognizer import RecognizerBranch, SequenceEncoder, make_tower
from fasttcm.projects.abcnet.targets import ctrness_target
from fasttcm.structures import TextTargets

PIXEL_MEAN = (103.53, 116.28, 123.675)  # SPEC 2, blue green red
LOSS_TOLERANCE = 1e-5  # SPEC 19, relative
GRADIENT_TOLERANCE = {"v1": 3e-3, "v2": 5e-2}  # SPEC 19, of the largest entry
BOX_TOLERANCE = 1e-3  # pixels
SCORE_TOLERANCE = 1e-5
MARGIN = 1e-3  # regions with a nearer second choice may differ
LEVELS = ("p3", "p4", "p5", "p6", "p7")
VERSIONS = ("v1", "v2")

pytestmark = pytest.mark.golden


def published_weights(version: str, figures: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The reference's weights under their published names."""
    published = fill_state_dict(manifest("abcnet", f"abcnet_{version}_r50"))
    for name, value in figures.items():
        if name.startswith("override."):
            published[name.removeprefix("override.")] = torch.from_numpy(value)
    for name, value in figures.items():
        if name.startswith("scale."):
            published[name.removeprefix("scale.")] *= float(value)
    return published


def published_model(
    version: str, figures: dict[str, np.ndarray], threshold: float, topk: tuple[int, int], max_length: int
) -> ABCNet:
    """The published configuration with the reference's weights."""
    charset = Charset.named("ascii")
    height, width = (int(n) for n in figures["meta.pooler_resolution"])
    bottom_up = ImageNetResNet(depth=50, stride_in_1x1=True, frozen_batch_norm=True, freeze_at=2)
    second = version == "v2"
    model = ABCNet(
        backbone=BiFPN(bottom_up=bottom_up) if second else FPN(bottom_up=bottom_up),
        batcher=ImageBatcher(pixel_mean=PIXEL_MEAN, pixel_std=(1, 1, 1), pixel_order="BGR"),
        head=BezierFCOSHead(in_channels=256),
        recognizer=RecognizerBranch(
            pooler=BezierPooler(output_size=(height, width)),
            tower=make_tower(in_channels=256, channels=256, num_convs=2),
            encoder=SequenceEncoder(in_channels=256),
            decoder=AttentionDecoder(num_classes=97, end=96, max_length=max_length, dropout=0.0),
            refine=CoordinateBranch(channels=256) if second else None,
        ),
        charset=charset,
        max_length=max_length,
        adaptive_training=second,
        selector=ProposalSelector(
            threshold_train=threshold,
            threshold_test=threshold,
            pre_nms_topk=topk[0],
            post_nms_topk=topk[1],
            nms_threshold=float(figures["meta.nms_th"][0]),
        ),
    )
    result = model.load_state_dict(from_published(published_weights(version, figures)), strict=False)
    assert not result.unexpected_keys
    # Frozen normalisations have no counter in the published files.
    assert all(k.startswith("backbone.bottom_up.") and k.endswith("num_batches_tracked") for k in result.missing_keys)
    return model


@dataclass
class Evaluation:
    version: str
    figures: dict[str, np.ndarray]
    model: ABCNet
    sample: dict[str, object]
    stages: dict[str, object]


@pytest.fixture(scope="module", params=VERSIONS)
def evaluation(request: pytest.FixtureRequest) -> Evaluation:
    """One run, stage by stage, in the order of the SPEC."""
    version = request.param
    figures = golden("abcnet", f"abcnet_{version}_r50.eval")
    topk = tuple(int(n) for n in figures["meta.topk_pre_post_test"])
    threshold, length = float(figures["meta.inference_th_test"][0]), int(figures["meta.num_chars"])
    model = published_model(version, figures, threshold, topk, length).eval()
    height, width, seed = (int(n) for n in figures["meta.image"])
    out_height, out_width = (int(n) for n in figures["meta.output_size"])
    # The reference takes the picture's first channel for blue, the sample's first channel is red.
    sample = {"image": make_image(height, width, seed).flip(0), "height": out_height, "width": out_width}
    stages: dict[str, object] = {}
    with torch.no_grad():
        images, sizes = model.batcher([sample["image"]])
        stages["images"], stages["size"] = images, sizes[0]
        stages["bottom_up"] = below = model.backbone.bottom_up(images).features
        if version == "v2":
            top = model.backbone.with_top(list(below.values()))
            stages["bottom_up"] = {f"res{i}": x for i, x in enumerate(top, start=2)}
        stages["pyramid"] = pyramid = model.backbone(images).features
        stages["head"] = head = model.head([pyramid[name] for name in LEVELS])
        stages["proposals"] = proposals = model.selector(head)[0]
        features = [pyramid[name] for name in model.pooler_levels]
        if version == "v2":
            stages["mask_head"] = [model.recognizer.refine.residual(x) for x in features]
            features = [model.recognizer.refine(x) for x in features]
        stages["refined"] = features
        stages["pooled"] = pooled = model.recognizer.pooler(features, [proposals.beziers])
        stages["tower"] = tower = model.recognizer.tower(pooled)
        stages["encoded"] = encoded = model.recognizer.encoder(tower)
        stages["decoded"] = model.recognizer.decoder(encoded)
    return Evaluation(version, figures, model, sample, stages)


def close(figures: dict[str, np.ndarray], name: str, actual: Tensor, tolerance: float) -> None:
    expected = torch.from_numpy(figures[name]).float()
    torch.testing.assert_close(actual.float(), expected, atol=tolerance, rtol=0, msg=lambda m: f"{name}: {m}")


def surely(figures: dict[str, np.ndarray], name: str, regions: int) -> Tensor:
    """(regions,) bool, where no step has a near second choice; a file without detections has no margins."""
    if regions == 0:
        return torch.zeros(0, dtype=torch.bool)
    return torch.from_numpy(figures[name]).amin(1) >= MARGIN


def test_abcnet_activations_match_the_published_network(evaluation):
    figures, stages = evaluation.figures, evaluation.stages
    assert_matches(figures, "input.normalised", stages["images"])
    for level, actual in stages["bottom_up"].items():
        assert_matches(figures, f"bottom_up.{level}", actual)
    for level in ("p2", *LEVELS):
        assert_matches(figures, f"pyramid.{level}", stages["pyramid"][level])
    head = stages["head"]
    for i, level in enumerate(LEVELS):
        assert_matches(figures, f"head.logits.{level}", head.logits[i])
        assert_matches(figures, f"head.ctrness.{level}", head.ctrness[i])
        assert_matches(figures, f"head.reg.{level}", head.reg[i])
        assert_matches(figures, f"head.bezier.{level}", head.beziers[i])


def test_abcnet_proposals_match_the_published_ones(evaluation):
    figures, proposals = evaluation.figures, evaluation.stages["proposals"]
    assert len(proposals) == len(figures["proposals.scores"])
    close(figures, "proposals.pred_boxes", proposals.boxes, BOX_TOLERANCE)
    close(figures, "proposals.top_feat", proposals.beziers, BOX_TOLERANCE)
    close(figures, "proposals.scores", proposals.scores, SCORE_TOLERANCE)
    assert proposals.locations.tolist() == figures["proposals.locations"].tolist()
    assert proposals.labels.tolist() == figures["proposals.pred_classes"].tolist()
    head, threshold = evaluation.stages["head"], evaluation.model.selector.threshold_test
    assert sum(int((x.sigmoid() > threshold).sum()) for x in head.logits) == int(figures["meta.candidates_before_nms"])


def test_abcnet_recognition_matches_the_published_one(evaluation):
    figures, stages = evaluation.figures, evaluation.stages
    for i, branch in enumerate(stages.get("mask_head", [])):
        assert_matches(figures, f"mask_head.{i}", branch)
    levels = evaluation.model.recognizer.pooler.levels(stages["proposals"].beziers)
    assert levels.tolist() == figures["pooler.level"].tolist()
    if len(levels) == 0:
        assert stages["pooled"].shape[0] == 0
        return
    assert_matches(figures, "pooler.out", stages["pooled"])
    assert_matches(figures, "tower.out", stages["tower"])
    assert_matches(figures, "encoder.out", stages["encoded"])
    decoded = stages["decoded"]
    few = len(figures["decoder.log_probs.first4"])
    assert_matches(figures, "decoder.log_probs.first4", decoded.log_probs[:few])
    assert_matches(figures, "decoder.attention.first4", decoded.attention[:few])
    sure = surely(figures, "decoder.margin", len(levels))
    assert torch.equal(decoded.tokens[sure], torch.from_numpy(figures["decoder.tokens"])[sure])
    best = decoded.log_probs.amax(2)
    torch.testing.assert_close(best[sure], torch.from_numpy(figures["decoder.top_log_prob"])[sure], atol=1e-3, rtol=0)


def test_abcnet_final_words_match_the_published_ones(evaluation):
    figures, model, stages = evaluation.figures, evaluation.model, evaluation.stages
    output_size = (evaluation.sample["height"], evaluation.sample["width"])
    scaled, kept = rescale(stages["proposals"], stages["size"], output_size)
    close(figures, "final.pred_boxes", scaled.boxes, BOX_TOLERANCE)
    with torch.no_grad():
        (words,) = model([evaluation.sample])
    assert [words.height, words.width] == figures["final.size"].tolist()
    close(figures, "final.pred_boxes", words.boxes, BOX_TOLERANCE)
    close(figures, "final.beziers", words.beziers, BOX_TOLERANCE)
    close(figures, "final.scores", words.scores, SCORE_TOLERANCE)
    assert words.labels.tolist() == figures["final.pred_classes"].tolist()
    expected = [model.charset.decode(row) for row in figures["final.recs"]]
    sure = surely(figures, "decoder.margin", len(kept))[kept]
    differing = [pair for pair in zip(words.texts, expected, sure.tolist(), strict=True) if pair[0] != pair[1]]
    assert not any(is_sure for _, _, is_sure in differing), differing


def test_abcnet_recognition_without_the_half_pixel_matches_the_published_cpu_kernel(evaluation):
    figures, model, stages = evaluation.figures, evaluation.model, evaluation.stages
    if len(stages["proposals"]) == 0:
        pytest.skip("this file has no detections")
    model.recognizer.pooler.half_pixel = False
    try:
        with torch.no_grad():
            pooled = model.recognizer.pooler(stages["refined"], [stages["proposals"].beziers])
            decoded = model.recognizer.decoder(model.recognizer.encoder(model.recognizer.tower(pooled)))
    finally:
        model.recognizer.pooler.half_pixel = True
    # Stored with a thinning of its own on top of that of ``pooler.out``.
    step = int(figures["pooler.out#step"]) * round(len(figures["pooler.out"]) / len(figures["upstream_cpu.pooler.out"]))
    expected = figures["upstream_cpu.pooler.out"]
    scale = float(figures["pooler.out#stats"][1])
    np.testing.assert_allclose(pooled.flatten()[::step].numpy(), expected, rtol=0, atol=1e-4 * scale)
    sure = surely(figures, "upstream_cpu.decoder.margin", len(pooled))
    assert torch.equal(decoded.tokens[sure], torch.from_numpy(figures["upstream_cpu.decoder.tokens"])[sure])
    assert (pooled - stages["pooled"]).abs().max() > 10 * 1e-4 * scale  # the option makes a difference


@dataclass
class Training:
    version: str
    figures: dict[str, np.ndarray]
    model: ABCNet
    losses: dict[str, Tensor]
    dense: object
    proposals: list[object]
    log_probs: dict[str, Tensor]
    classes: Tensor
    features: list[Tensor]
    regions: list[Tensor]
    pooled: Tensor


def targets_of(figures: dict[str, np.ndarray], image: int, charset: Charset) -> TextTargets:
    texts = [charset.decode(row, stop_at_end=True) for row in figures[f"gt.{image}.text"]]
    n = len(texts)
    beziers = torch.from_numpy(figures[f"gt.{image}.beziers"])
    return TextTargets(
        list(beziers_to_polygons(beziers).numpy()),
        beziers,
        torch.from_numpy(figures[f"gt.{image}.boxes"]),
        texts,
        torch.zeros(n, dtype=torch.bool),
        torch.zeros(n, dtype=torch.int64),
    )


@pytest.fixture(scope="module", params=VERSIONS)
def training(request: pytest.FixtureRequest) -> Training:
    """One training step with every draw of teacher forcing pinned; gradients of the teacher-forced losses."""
    version = request.param
    figures = golden("abcnet", f"abcnet_{version}_r50.train")
    topk = tuple(int(n) for n in figures["meta.topk_pre_post_train"])
    length = figures["rec.targets"].shape[1]
    model = published_model(version, figures, float(figures["meta.inference_th_train"][0]), topk, length).train()
    samples = [
        {"image": make_image(*(int(n) for n in row)).flip(0), "targets": targets_of(figures, i, model.charset)}
        for i, row in enumerate(figures["meta.images"])
    ]
    seen: dict[str, object] = {}
    hooks = [
        model.recognizer.pooler.register_forward_hook(
            lambda m, i, out: seen.update(pooled=out.detach(), pooler_input=i)
        ),
        model.recognizer.encoder.register_forward_hook(lambda m, i, out: seen.update(encoded=out.detach())),
        model.recognizer.decoder.register_forward_hook(lambda m, i, out: seen.update(decoded=out, classes=i[1])),
        model.head.register_forward_hook(lambda m, i, out: seen.update(head=out)),
    ]
    losses = model(samples, teacher=torch.ones(length))
    torch.stack(list(losses.values())).sum().backward()
    for hook in hooks:
        hook.remove()
    head = seen["head"]
    dense = model.assigner(head.locations(), head.strides, [s["targets"] for s in samples])
    pattern = torch.from_numpy(figures["meta.teacher_pattern"])
    draws = {"free": torch.zeros(length), "mixed": pattern.repeat(-(-length // len(pattern)))[:length]}
    log_probs, classes = {}, torch.zeros(0, length, dtype=torch.int64)
    with torch.no_grad():
        proposals = model.selector(head)
        if "decoded" in seen:  # there was something to read
            classes, log_probs["teacher"] = seen["classes"], seen["decoded"].log_probs
            for name, teacher in draws.items():
                log_probs[name] = model.recognizer.decoder(seen["encoded"], classes, teacher).log_probs
    features, regions = seen["pooler_input"]
    return Training(
        version,
        figures,
        model,
        losses,
        dense,
        proposals,
        log_probs,
        classes,
        [feature.detach() for feature in features],
        regions,
        seen["pooled"],
    )


def test_abcnet_targets_match_the_published_assignment(training):
    figures, dense = training.figures, training.dense
    assert len(dense.labels) == int(figures["target.num_locations"])
    positive = (dense.labels == 0).nonzero()[:, 0]
    assert positive.tolist() == figures["target.positive_index"].tolist()
    close(figures, "target.reg", dense.reg[positive], 1e-5)
    close(figures, "target.bezier", dense.beziers[positive], 1e-5)
    assert training.classes.tolist() == figures["rec.targets"].tolist()
    for i, regions in enumerate(training.regions):
        close(figures, f"pooler.in.{i}", regions, BOX_TOLERANCE)
    # From the stored curves: those that the network predicts differ in their last digits, and texture multiplies that.
    curves = [torch.from_numpy(figures[f"pooler.in.{i}"]) for i in range(len(training.regions))]
    if sum(map(len, curves)) == 0:
        return
    assert_matches(figures, "pooler.out", training.model.recognizer.pooler(training.features, curves))


def test_abcnet_losses_match_the_published_ones(training):
    figures, losses = training.figures, training.losses
    for name in ("loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_fcos_bezier"):
        assert losses[name].item() == pytest.approx(float(figures[f"loss.{name}"][0]), rel=LOSS_TOLERANCE), name
    assert losses["loss_rec"].item() == pytest.approx(float(figures["loss.rec_loss.teacher"][0]), rel=LOSS_TOLERANCE)
    end, weight = training.model.charset.end, training.model.rec_loss_weight
    for name, log_probs in training.log_probs.items():
        loss = weight * recognition_loss(log_probs, training.classes, end=end)
        assert loss.item() == pytest.approx(float(figures[f"loss.rec_loss.{name}"][0]), rel=LOSS_TOLERANCE), name


def test_abcnet_gradients_match_the_published_ones(training):
    figures, model = training.figures, training.model
    names = [name.removeprefix("grad.") for name in figures if name.startswith("grad.") and "#" not in name]
    assert names
    parameters = dict(model.named_parameters())
    for name in names:
        (ours,) = from_published({name: None})
        gradient = parameters[ours].grad.flatten()[:: int(figures[f"grad.{name}#step"])]
        low, high = figures[f"grad.{name}#stats"][2:]
        largest = max(abs(low), abs(high))
        close(figures, f"grad.{name}", gradient, GRADIENT_TOLERANCE[training.version] * largest)


def test_abcnet_batch_statistics_move_by_a_tenth_in_one_step(training):
    # The figures ``after.*`` hold the buffers from before the step, although the losses rest on batch statistics.
    before = fill_state_dict(manifest("abcnet", f"abcnet_{training.version}_r50"))
    for name in training.figures:
        if name.startswith("after.") and name.endswith("running_mean"):
            np.testing.assert_allclose(training.figures[name], before[name.removeprefix("after.")], rtol=1e-6)
    norm = training.model.recognizer.tower[0][1]
    if len(training.classes) == 0:
        assert int(norm.num_batches_tracked) == 0
        return
    batch = training.model.recognizer.tower[0][0](training.pooled)
    momentum = 0.1
    expected = (1 - momentum) * before["roi_heads.tower.0.1.running_mean"] + momentum * batch.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected.detach(), rtol=1e-4, atol=1e-3)
    assert int(norm.num_batches_tracked) == 1


def test_abcnet_training_proposals_match_the_published_ones(training):
    figures = training.figures
    for i, proposals in enumerate(training.proposals):
        close(figures, f"train_proposals.{i}.scores", proposals.scores, SCORE_TOLERANCE)
        expected = torch.from_numpy(figures[f"train_proposals.{i}.top_feat"])
        if len(expected) == 0:
            continue
        distance = torch.cdist(expected.double(), proposals.beziers.double(), p=float("inf")).amin(1)
        # Scores equal to rounding may swap at the limit on the number of proposals.
        certain = proposals.scores > proposals.scores[-1] + SCORE_TOLERANCE
        assert distance[certain].max() < BOX_TOLERANCE


@pytest.mark.parametrize("version", VERSIONS)
def test_abcnet_every_published_name_has_exactly_one_of_ours(version):
    published = manifest("abcnet", f"abcnet_{version}_r50")
    renamed = from_published({**published, "pixel_mean": (3, 1, 1)})
    assert len(renamed) == len(published) and not set(renamed) & set(published)
    assert matches(published) and not matches(set(published) - {"top_module.weight"})
    assert from_published({"roi_heads.other.0.weight": 0}) == {"roi_heads.other.0.weight": 0}


def test_abcnet_polygons_and_centreness_match_the_published_operators():
    figures = golden("abcnet", "abcnet_operators")
    polygons = beziers_to_polygons(torch.from_numpy(figures["polygon.beziers"]))
    close(figures, "polygon.points", polygons, 1e-3)
    ctrness = ctrness_target(torch.from_numpy(figures["iou.target"]))
    close(figures, "iou.ctrness_target", ctrness, 1e-6)
