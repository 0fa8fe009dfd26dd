"""DeepSolo against figures of the published implementation: whole inference, a padded batch, a whole training step."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import KINKS, aliases, fill_state_dict, golden, make_image, manifest
from reference import assert_absolute as check
from tiny import pairs
from torch import Tensor, nn

from fasttcm.charset import CHARSETS, Charset
from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.evaluation.rotated_box import polygon_to_box
from fasttcm.projects.deepsolo.keys import from_published, matches, published_options, rename_published
from fasttcm.projects.deepsolo.model import DeepSolo
from fasttcm.projects.deepsolo.output import LayerOutput, Proposals
from fasttcm.projects.deepsolo.postprocess import Instances, decode_ctc, outlines, select
from fasttcm.projects.deepsolo.proposals import curve_points
from fasttcm.projects.deepsolo.targets import ImageTargets, boundary_points, centre_curves
from fasttcm.structures import Sample, TextPredictions, TextTargets

SYSTEM = "deepsolo"
CONFIGS = {"deepsolo_r50_totaltext": "totaltext", "deepsolo_r50_ctw1500": "ctw1500"}
PARAMETERS = {"deepsolo_r50_totaltext": (42_588_150, 42_365_750), "deepsolo_r50_ctw1500": (43_243_313, 43_020_913)}
"""All and trainable ones (SPEC 1); detectron2 keeps the weights of frozen normalisations as buffers."""
# Three times the spread of SPEC 20.
ACTIVATION = 3 * 8e-6
PROJECTION = 3 * 2e-5
COORDINATE = 3 * 3e-6
PIXEL = 3 * 1e-3
BACKBONE = 3 * 1.7e-6  # of the largest value
LOSS = 3 * 1e-6  # relative
GRADIENT = 3 * 1.3e-3  # of the largest entry
GRADIENT_NORM = 3 * 1e-4  # relative
MARGIN = 1e-4  # characters whose second choice is nearer may differ

pytestmark = pytest.mark.golden


def published_state(file: str, figures: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """What the published checkpoint would hold: canonical weights by the fill rule, and copies."""
    names = aliases(SYSTEM, file)
    state = fill_state_dict({k: s for k, s in manifest(SYSTEM, file).items() if k not in names})
    for key, value in figures.items():
        if key.startswith("override/"):
            state[key.removeprefix("override/")] = torch.from_numpy(value)
    state |= {alias: state[canonical] for alias, canonical in names.items()}
    assert state.keys() == manifest(SYSTEM, file).keys()
    return state


def published_model(file: str, figures: dict[str, np.ndarray]) -> DeepSolo:
    """The configuration of the data set, which must be that of the checkpoint."""
    state = published_state(file, figures)
    assert matches(state)
    config = Path(__file__).parents[3] / "configs" / SYSTEM / CONFIGS[file] / "imagenet_r50.yaml"
    cfg = load_config(str(config), pairs({"MODEL.RESNET.WEIGHTS": "random"}))
    for key, value in published_options(state).items():
        node = cfg
        for part in key.split("."):
            node = node[part]
        assert node == value, f"{key}: {node} in the configuration, {value} in the checkpoint"
    model = build_model(cfg)
    model.load_state_dict(from_published(state), strict=True)
    return model


@dataclass
class Evaluation:
    """One inference and what every part of the model returned during it."""

    file: str
    figures: dict[str, np.ndarray]
    model: DeepSolo
    words: TextPredictions
    instances: Instances
    parts: dict[str, object] = field(default_factory=dict)


@pytest.fixture(scope="module", params=list(CONFIGS))
def evaluation(request) -> Evaluation:
    figures = golden(SYSTEM, request.param)
    model = published_model(request.param, figures).eval()
    model.threshold = float(figures["eval/threshold"])
    height, width = (int(n) for n in figures["eval/output_size"])
    sample = {"image": make_image(*(int(n) for n in figures["eval/image_size"])), "height": height, "width": width}
    parts: dict[str, object] = {}
    hooks = []

    def record(name: str, module: nn.Module) -> None:
        hooks.append(module.register_forward_hook(lambda m, i, out: parts.update({name: out})))

    for name in ("backbone", "projection", "proposals", "decoder", "heads"):
        record(name, model.get_submodule(name))
    for i, projection in enumerate(model.projection.projections):
        record(f"input_proj/level{i}", projection)
    for i, layer in enumerate(model.encoder.layers):
        record(f"encoder/layer{i}", layer)
    with torch.no_grad():
        (words,) = model([sample])
    for hook in hooks:
        hook.remove()
    instances = select(parts["heads"], 0, threshold=model.threshold, output_size=(height, width))
    return Evaluation(request.param, figures, model, words, instances, parts)


def test_deepsolo_published_parameter_counts(evaluation):
    model = evaluation.model
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    norms = sum(p.numel() for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    assert (sum(p.numel() for p in model.parameters()) - norms, trainable) == PARAMETERS[evaluation.file]


def test_deepsolo_tokens_match_the_published_ones(evaluation):
    figures, parts, model = evaluation.figures, evaluation.parts, evaluation.model
    for level in ("res3", "res4", "res5"):
        check(figures, f"eval/backbone/{level}", parts["backbone"].features[level], BACKBONE, relative=True)
    for i in range(len(model.projection.projections)):
        check(figures, f"eval/input_proj/level{i}", parts[f"input_proj/level{i}"], PROJECTION)
    for i in range(len(model.encoder.layers)):
        check(figures, f"eval/encoder/layer{i}", parts[f"encoder/layer{i}"], ACTIVATION)


def test_deepsolo_positions_match_the_published_ones(evaluation):
    tokens = evaluation.parts["projection"]
    levels = tokens.pos.split([height * width for height, width in tokens.shapes], 1)
    stored = {name.removesuffix("__every") for name in evaluation.figures if name.startswith("eval/pos/")}
    names = sorted(name for name in stored if "__" not in name)
    if not names:
        pytest.skip("this file has no positions")
    for name in names:
        level = int(name[-1])
        pos = levels[level] - evaluation.model.projection.level_embed[level]
        check(evaluation.figures, name, pos.transpose(1, 2).unflatten(2, tokens.shapes[level]), ACTIVATION)


def test_deepsolo_proposals_match_the_published_ones(evaluation):
    figures, found = evaluation.figures, evaluation.parts["proposals"]
    check(figures, "eval/proposal/class_logit", found.class_logits, ACTIVATION)
    np.testing.assert_array_equal(found.index.numpy(), figures["eval/proposal/topk_index"])
    check(figures, "eval/proposal/topk_bezier_logit", found.curve_logits, ACTIVATION)
    check(figures, "eval/proposal/reference_points", found.references, COORDINATE)


def test_deepsolo_decoder_matches_the_published_one(evaluation):
    figures, states, last = evaluation.figures, evaluation.parts["decoder"], evaluation.parts["heads"]
    check(figures, "eval/decoder/query_pos_last_layer", states[-1].position, ACTIVATION)
    for i, state in enumerate(states):
        check(figures, f"eval/decoder/hs{i}", state.hidden, ACTIVATION)
        check(figures, f"eval/decoder/reference{i}", state.points, COORDINATE)
    check(figures, "eval/head/pred_logits", last.logits, ACTIVATION)
    check(figures, "eval/head/pred_text_logits", last.text_logits, ACTIVATION)
    check(figures, "eval/head/pred_ctrl_points", last.points, COORDINATE)
    check(figures, "eval/head/pred_bd_points", last.boundary, COORDINATE)


def check_instances(figures: dict[str, np.ndarray], prefix: str, found: Instances) -> None:
    check(figures, f"{prefix}/scores", found.scores, ACTIVATION)
    check(figures, f"{prefix}/ctrl_points", found.points.flatten(1), PIXEL)
    check(figures, f"{prefix}/bd", found.boundary, PIXEL)
    clear = figures[f"{prefix}/rec_margin"] > MARGIN
    np.testing.assert_array_equal(found.text_probs.argmax(2).numpy()[clear], figures[f"{prefix}/recs"][clear])


def test_deepsolo_instances_match_the_published_ones(evaluation):
    figures, found, words = evaluation.figures, evaluation.instances, evaluation.words
    check_instances(figures, "eval/instances", found)
    check(figures, "eval/instances/rec_scores", found.text_probs, ACTIVATION)
    order = found.scores.argsort(descending=True, stable=True)
    assert torch.equal(words.scores, found.scores[order])
    expected = outlines(torch.from_numpy(figures["eval/instances/bd"]))[order]
    np.testing.assert_allclose(np.reshape(words.polygons, expected.shape), expected, rtol=0, atol=PIXEL)
    for row, text in zip(order.tolist(), words.texts, strict=True):
        if (figures["eval/instances/rec_margin"][row] > MARGIN).all():
            assert text == decode_ctc(figures["eval/instances/recs"][row].tolist(), evaluation.model.charset)


def test_deepsolo_batch_of_different_sizes_matches_the_published_one(evaluation):
    figures, model = evaluation.figures, evaluation.model
    if "batch/image_sizes" not in figures:
        pytest.skip("this file has no batch")
    sizes = [tuple(int(n) for n in row) for row in figures["batch/image_sizes"]]
    seed = int(figures["batch/first_seed"])
    with torch.no_grad():
        images, unpadded = model.batcher([make_image(*size, seed + i) for i, size in enumerate(sizes)])
        features = model.backbone(images).features
        last = model.predict([features[level] for level in model.in_levels], unpadded).layers[-1]
    for i, size in enumerate(sizes):
        check_instances(figures, f"batch/{i}", select(last, i, threshold=0.0, output_size=size))


@dataclass
class Training:
    """One training step: losses, what they were computed from, and gradients."""

    figures: dict[str, np.ndarray]
    model: DeepSolo
    losses: dict[str, Tensor]
    layers: list[LayerOutput]
    proposals: Proposals
    targets: list[ImageTargets]


def ground_truth(figures: dict[str, np.ndarray], image: int, charset: Charset) -> TextTargets:
    """The annotations as our data would hold them."""
    beziers = torch.from_numpy(figures[f"train/gt{image}/bezier_pts"])
    return TextTargets(
        polygons=[b.reshape(8, 2).numpy() for b in beziers],
        beziers=beziers,
        boxes=torch.from_numpy(figures[f"train/gt{image}/boxes"]),
        texts=[charset.decode(row) for row in figures[f"train/gt{image}/texts"].tolist()],
        ignore=torch.zeros(len(beziers), dtype=torch.bool),
        labels=torch.from_numpy(figures[f"train/gt{image}/classes"]),
    )


@pytest.fixture(scope="module", params=list(CONFIGS))
def training(request) -> Training:
    figures = golden(SYSTEM, request.param)
    model = published_model(request.param, figures).train()
    seed = int(figures["train/first_seed"])
    samples: list[Sample] = [
        {"image": make_image(int(h), int(w), seed + i), "targets": ground_truth(figures, i, model.charset)}
        for i, (h, w) in enumerate(figures["train/image_sizes"])
    ]
    layers: list[LayerOutput] = []
    proposals: list[Proposals] = []
    hooks = [
        model.heads.register_forward_hook(lambda m, i, out: layers.append(out)),
        model.proposals.register_forward_hook(lambda m, i, out: proposals.append(out)),
    ]
    losses = model(samples)
    torch.stack(list(losses.values())).sum().backward()
    for hook in hooks:
        hook.remove()
    sizes = [tuple(int(n) for n in row) for row in figures["train/image_sizes"]]
    images = zip(samples, sizes, strict=True)
    targets = [model.target_builder(sample["targets"], size, "") for sample, size in images]
    return Training(figures, model, losses, layers, proposals[0], targets)


def test_deepsolo_targets_match_the_published_ones(training):
    figures = training.figures
    for i, (targets, (height, width)) in enumerate(zip(training.targets, figures["train/image_sizes"], strict=True)):
        span = torch.tensor([int(width), int(height)])
        check(figures, f"train/gt{i}/beziers", (targets.curves * span).flatten(1), PIXEL)
        check(figures, f"train/gt{i}/polyline", (targets.points * span).flatten(1), PIXEL)
        check(figures, f"train/gt{i}/boundary", (targets.boundary * span.repeat(2)).flatten(1), PIXEL)
        np.testing.assert_array_equal(targets.classes.numpy(), figures[f"train/gt{i}/texts"])
        assert targets.lengths.tolist() == (figures[f"train/gt{i}/texts"] != training.model.charset.end).sum(1).tolist()


def test_deepsolo_training_predictions_match_the_published_ones(training):
    figures, last = training.figures, training.layers[-1]
    check(figures, "train/pred_logits", last.logits, ACTIVATION)
    check(figures, "train/pred_ctrl_points", last.points, COORDINATE)
    check(figures, "train/pred_bd_points", last.boundary, COORDINATE)
    check(figures, "train/pred_text_logits", last.text_logits, ACTIVATION)


def test_deepsolo_matches_are_the_published_ones(training):
    figures, criterion = training.figures, training.model.criterion
    names = [*(f"layer{i}" for i in range(len(training.layers) - 1)), "last"]
    for name, layer in zip(names, training.layers, strict=True):
        for i, match in enumerate(criterion.match_layer(layer, training.targets)):
            np.testing.assert_array_equal(torch.stack(match).numpy(), figures[f"train/match/{name}/{i}"], name)
    for i, match in enumerate(criterion.match_proposals(training.proposals, training.targets)):
        np.testing.assert_array_equal(torch.stack(match).numpy(), figures[f"train/match/enc/{i}"])


def test_deepsolo_losses_match_the_published_ones(training):
    figures = training.figures
    expected = {
        name.removeprefix("train/loss/"): float(v) for name, v in figures.items() if name.startswith("train/loss/")
    }
    assert {name: value.item() for name, value in training.losses.items()} == pytest.approx(expected, rel=LOSS)
    total = sum(value.item() for value in training.losses.values())
    assert total == pytest.approx(float(figures["train/total_loss"]), rel=LOSS)


def test_deepsolo_gradients_match_the_published_ones(training):
    figures, parameters = training.figures, dict(training.model.named_parameters())
    keys = [name.removeprefix("train/grad_norm/") for name in figures if name.startswith("train/grad_norm/")]
    assert keys
    for key in keys:
        grad = parameters[rename_published(key)].grad
        assert grad.norm().item() == pytest.approx(float(figures[f"train/grad_norm/{key}"]), rel=GRADIENT_NORM), key
        check(figures, f"train/grad/{key}", grad, GRADIENT, relative=True, strays=KINKS)


@pytest.fixture(scope="module", params=list(CONFIGS))
def data(request) -> dict[str, np.ndarray]:
    figures = golden(SYSTEM, request.param)
    entries = {name.removeprefix("data/"): v for name, v in figures.items() if name.startswith("data/")}
    return entries | {"num_classes": manifest(SYSTEM, request.param)["detection_transformer.ctrl_point_text.0.bias"][0]}


def test_deepsolo_curves_of_annotations_match_the_published_ones(data):
    beziers = torch.from_numpy(data["bezier_pts"])
    num_points = data["polyline"].shape[1]
    boundary = boundary_points(beziers, num_points)
    np.testing.assert_allclose(centre_curves(beziers), data["beziers"], rtol=0, atol=PIXEL)
    np.testing.assert_allclose(curve_points(centre_curves(beziers), num_points), data["polyline"], rtol=0, atol=PIXEL)
    np.testing.assert_allclose(boundary, data["boundary"].reshape(boundary.shape), rtol=0, atol=PIXEL)


def test_deepsolo_decoded_texts_match_the_published_ones(data):
    charset = next(c for c in map(Charset.named, CHARSETS) if c.num_classes == data["num_classes"])
    assert [decode_ctc(row, charset) for row in data["ctc_index"].tolist()] == data["ctc_text"].tolist()


def test_deepsolo_outlines_match_the_published_ones(data):
    polygons = outlines(torch.from_numpy(data["bd_points"]))
    np.testing.assert_allclose(polygons, data["bd_polygon"], rtol=0, atol=PIXEL)
    found = [polygon_to_box(polygon, IMAGE_OF_RECTANGLES) for polygon in data["bd_polygon"]]
    np.testing.assert_array_equal(np.stack(found), data["bd_rectangle"])


IMAGE_OF_RECTANGLES = (400, 410)
"""Height and width; the file does not hold them (SPEC 20)."""
