"""TESTR against figures of the published implementation: whole inference, a padded batch, a whole training step."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from reference import KINKS, aliases, fill_state_dict, golden, make_image, manifest
from reference import assert_absolute as check
from tiny import pairs
from torch import Tensor, nn

from fasttcm.config import load_config
from fasttcm.engine.build import build_model
from fasttcm.projects.testr.decoder import text_positions
from fasttcm.projects.testr.keys import from_published, matches, published_options, rename_published
from fasttcm.projects.testr.model import TESTR
from fasttcm.projects.testr.output import TESTROutput
from fasttcm.projects.testr.postprocess import Instances, select
from fasttcm.structures import TextPredictions, TextTargets

SYSTEM, FILE = "testr", "testr_r50_polygon"
# Three times the spread of SPEC 15.
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


def published_state(figures: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """What the published checkpoint would hold: canonical weights by the fill rule, copies, and the constant."""
    names = aliases(SYSTEM, FILE)
    shapes = {k: s for k, s in manifest(SYSTEM, FILE).items() if k not in names and not k.endswith("inv_freq")}
    state = fill_state_dict(shapes)
    for key, value in figures.items():
        if key.startswith("override/"):
            state[key.removeprefix("override/")] = torch.from_numpy(value)
    state |= {alias: state[canonical] for alias, canonical in names.items()}
    state["testr.text_pos_embed.inv_freq"] = 10000 ** (-torch.arange(0, 256, 2) / 256)
    assert state.keys() == manifest(SYSTEM, FILE).keys()
    return state


def published_model(figures: dict[str, np.ndarray]) -> TESTR:
    state = published_state(figures)
    assert matches(state)
    options = published_options(state) | {"MODEL.RESNET.WEIGHTS": "random", "MODEL.TESTR.DROPOUT": 0.0}
    model = build_model(load_config(None, pairs(options)))
    model.load_state_dict(from_published(state), strict=True)
    return model


@dataclass
class Evaluation:
    """One inference and what every part of the model returned during it."""

    figures: dict[str, np.ndarray]
    model: TESTR
    words: TextPredictions
    instances: Instances
    parts: dict[str, object] = field(default_factory=dict)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    figures = golden(SYSTEM, FILE)
    model = published_model(figures).eval()
    model.threshold = float(figures["eval/threshold"])
    height, width = (int(n) for n in figures["eval/output_size"])
    sample = {"image": make_image(*(int(n) for n in figures["eval/image_size"])), "height": height, "width": width}
    parts: dict[str, object] = {}

    def record(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda m, i, out: parts.update({name: out}))

    for name in ("backbone", "projection", "proposals", "decoder", "head"):
        record(name, model.get_submodule(name))
    for i, projection in enumerate(model.projection.projections):
        record(f"input_proj/level{i}", projection)
    for i, layer in enumerate(model.encoder.layers):
        record(f"encoder/layer{i}", layer)
    record("query_pos", model.decoder.box_position_norm)
    with torch.no_grad():
        (words,) = model([sample])
    instances = select(parts["head"], 0, threshold=model.threshold, output_size=(height, width))
    return Evaluation(figures, model, words, instances, parts)


def test_testr_published_parameter_counts(evaluation):
    model = evaluation.model
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    norms = sum(p.numel() for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    # SPEC 1; detectron2 keeps the weights of frozen normalisations as buffers.
    assert (sum(p.numel() for p in model.parameters()) - norms, trainable) == (49_480_233, 49_257_833)


def test_testr_tokens_match_the_published_ones(evaluation):
    figures, parts = evaluation.figures, evaluation.parts
    for level in ("res3", "res4", "res5"):
        check(figures, f"eval/backbone/{level}", parts["backbone"].features[level], BACKBONE, relative=True)
    for i in range(len(evaluation.model.projection.projections)):
        check(figures, f"eval/input_proj/level{i}", parts[f"input_proj/level{i}"], PROJECTION)
    for i in range(len(evaluation.model.encoder.layers)):
        check(figures, f"eval/encoder/layer{i}", parts[f"encoder/layer{i}"], ACTIVATION)


def test_testr_position_terms_match_the_published_ones(evaluation):
    figures, tokens, model = evaluation.figures, evaluation.parts["projection"], evaluation.model
    levels = tokens.pos.split([h * w for h, w in tokens.shapes], 1)
    for i, (pos, shape) in enumerate(zip(levels, tokens.shapes, strict=True)):
        if f"eval/pos/level{i}__every" in figures:
            sine = (pos - model.projection.level_embed[i]).transpose(1, 2).unflatten(2, shape)
            check(figures, f"eval/pos/level{i}", sine, ACTIVATION)
    check(figures, "eval/text_pos", model.decoder.text_position, ACTIVATION)
    check(figures, "eval/proposal/query_pos", evaluation.parts["query_pos"], ACTIVATION)


def test_testr_proposals_match_the_published_ones(evaluation):
    figures, proposals = evaluation.figures, evaluation.parts["proposals"]
    check(figures, "eval/proposal/class_logit", proposals.logits, ACTIVATION)
    assert proposals.index.tolist() == figures["eval/proposal/topk_index"].tolist()
    check(figures, "eval/proposal/reference_points", proposals.references, COORDINATE)
    logits = torch.from_numpy(figures["eval/proposal/topk_box_logit"])
    torch.testing.assert_close(proposals.references, logits.sigmoid(), atol=COORDINATE, rtol=0)


def test_testr_decoder_and_heads_match_the_published_ones(evaluation):
    figures, parts = evaluation.figures, evaluation.parts
    for i, (points, texts) in enumerate(parts["decoder"]):
        check(figures, f"eval/decoder/hs{i}", points, ACTIVATION)
        check(figures, f"eval/decoder/hs_text{i}", texts, ACTIVATION)
    head = parts["head"]
    check(figures, "eval/head/pred_logits", head.logits[..., None], ACTIVATION)
    check(figures, "eval/head/pred_ctrl_points", head.points, COORDINATE)
    check(figures, "eval/head/pred_texts", head.texts, ACTIVATION)


def check_recs(figures: dict[str, np.ndarray], prefix: str, found: Instances) -> None:
    sure = figures[f"{prefix}/rec_margin"] > MARGIN
    np.testing.assert_array_equal(found.text_probs.argmax(2).numpy()[sure], figures[f"{prefix}/recs"][sure])


def test_testr_instances_match_the_published_ones(evaluation):
    figures, found = evaluation.figures, evaluation.instances
    check(figures, "eval/instances/scores", found.scores, ACTIVATION)
    check(figures, "eval/instances/polygons", found.points.flatten(1), PIXEL)
    check(figures, "eval/instances/rec_scores", found.text_probs, ACTIVATION)
    check_recs(figures, "eval/instances", found)


def test_testr_words_are_the_published_instances_by_score(evaluation):
    figures, words, model = evaluation.figures, evaluation.words, evaluation.model
    order = np.argsort(-figures["eval/instances/scores"], kind="stable")
    polygons = figures["eval/instances/polygons"][order].reshape(len(order), model.decoder.num_points, 2)
    np.testing.assert_allclose(np.reshape(words.polygons, polygons.shape), polygons, atol=PIXEL, rtol=0)
    sure = (figures["eval/instances/rec_margin"] > MARGIN).all(1)[order]
    expected = figures["eval/instances/text"][order]
    assert [t for t, s in zip(words.texts, sure, strict=True) if s] == expected[sure].tolist()
    assert [words.height, words.width] == figures["eval/output_size"].tolist()
    assert words.labels.tolist() == figures["eval/instances/pred_classes"].tolist()


def test_testr_padded_batch_matches_the_published_one(evaluation):
    figures, model = evaluation.figures, evaluation.model
    seed = int(figures["batch/first_seed"])
    sizes = [tuple(int(n) for n in size) for size in figures["batch/image_sizes"]]
    samples = [
        {"image": make_image(*size, seed + i), "height": size[0], "width": size[1]} for i, size in enumerate(sizes)
    ]
    with torch.no_grad():
        model(samples)
    for i, size in enumerate(sizes):
        found = select(evaluation.parts["head"], i, threshold=0.0, output_size=size)
        check(figures, f"batch/{i}/scores", found.scores, ACTIVATION)
        check(figures, f"batch/{i}/polygons", found.points.flatten(1), PIXEL)
        check_recs(figures, f"batch/{i}", found)


@dataclass
class Training:
    figures: dict[str, np.ndarray]
    model: TESTR
    samples: list[dict[str, object]]
    losses: dict[str, Tensor]
    output: TESTROutput


def targets_of(figures: dict[str, np.ndarray], image: int, model: TESTR) -> TextTargets:
    ground_truth = {name: figures[f"train/gt{image}/{name}"] for name in ("polygons", "text", "boxes", "classes")}
    n = len(ground_truth["boxes"])
    return TextTargets(
        polygons=list(ground_truth["polygons"].reshape(n, model.decoder.num_points, 2)),
        beziers=torch.zeros(n, 16),
        boxes=torch.from_numpy(ground_truth["boxes"]),
        texts=[model.charset.decode(row, stop_at_end=True) for row in ground_truth["text"]],
        ignore=torch.zeros(n, dtype=torch.bool),
        labels=torch.from_numpy(ground_truth["classes"]),
    )


@pytest.fixture(scope="module")
def training() -> Training:
    """One step of the summed losses."""
    figures = golden(SYSTEM, FILE)
    model = published_model(figures).train()
    first = int(figures["train/first_seed"])
    samples = [
        {"image": make_image(*(int(n) for n in size), first + i), "targets": targets_of(figures, i, model)}
        for i, size in enumerate(figures["train/image_sizes"])
    ]
    outputs = []
    predict = model.predict
    model.predict = lambda *given: outputs.append(predict(*given)) or outputs[-1]
    losses = model(samples)
    torch.stack(list(losses.values())).sum().backward()
    return Training(figures, model, samples, losses, outputs[0])


def test_testr_predictions_in_training_match_the_published_ones(training):
    last = training.output.layers[-1]
    check(training.figures, "train/pred_logits", last.logits[..., None], ACTIVATION)
    check(training.figures, "train/pred_ctrl_points", last.points, COORDINATE)
    check(training.figures, "train/pred_texts", last.texts, ACTIVATION)


def test_testr_matches_are_the_published_ones(training):
    figures, model, output = training.figures, training.model, training.output
    given = [sample["targets"] for sample in training.samples]
    sizes = [tuple(sample["image"].shape[-2:]) for sample in training.samples]
    targets = [model.target_builder(*image, "") for image in zip(given, sizes, strict=True)]
    for i, target in enumerate(targets):
        assert target.classes.tolist() == figures[f"train/gt{i}/text"].tolist()
    *earlier, last = output.layers
    layers = {"last": last, **{f"layer{i}": layer for i, layer in enumerate(earlier)}}
    found = {name: model.criterion.match_layer(layer, targets) for name, layer in layers.items()}
    found["enc"] = model.criterion.match_proposals(output.proposals, targets)
    for name, images in found.items():
        for i, match in enumerate(images):
            assert torch.stack(match).tolist() == figures[f"train/match/{name}/{i}"].tolist(), (name, i)


def test_testr_losses_match_the_published_ones(training):
    figures = training.figures
    expected = {
        key.removeprefix("train/loss/"): float(figures[key]) for key in figures if key.startswith("train/loss/")
    }
    assert training.losses.keys() == expected.keys()
    for name, value in expected.items():
        assert training.losses[name].item() == pytest.approx(value, rel=LOSS), name
    total = torch.stack(list(training.losses.values())).sum().item()
    assert total == pytest.approx(float(figures["train/total_loss"]), rel=LOSS)


def test_testr_gradients_match_the_published_ones(training):
    figures = training.figures
    parameters = dict(training.model.named_parameters())
    names = [key.removeprefix("train/grad_norm/") for key in figures if key.startswith("train/grad_norm/")]
    assert names
    for name in names:
        gradient = parameters[rename_published(name)].grad
        check(figures, f"train/grad/{name}", gradient, GRADIENT, relative=True, strays=KINKS)
        norm = float(figures[f"train/grad_norm/{name}"])
        assert gradient.norm().item() == pytest.approx(norm, rel=GRADIENT_NORM), name


def test_testr_longer_texts_keep_the_rule_of_positions():
    position = text_positions(100, 8)
    v = 2 * np.pi * 37 / (100 + 1e-6)
    f = 10000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(position[36], np.concatenate([np.sin(v * f), np.cos(v * f)]), atol=1e-6)
