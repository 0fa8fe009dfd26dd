import pytest
import torch
from torch.nn import functional as F

from fasttcm.losses.hungarian import focal_class_cost
from fasttcm.projects.testr.loss import SetCriterion
from fasttcm.projects.testr.matching import Matcher
from fasttcm.projects.testr.output import LayerOutput, Proposals, TESTROutput
from fasttcm.projects.testr.targets import ImageTargets

CLASSES, LENGTH, POINTS = 5, 3, 4


def image(*centres: float) -> ImageTargets:
    """Squares of side 0.1 on the diagonal, all with the text 1, 2, end."""
    low, high = (torch.tensor(centres).reshape(-1, 1) + d for d in (-0.05, 0.05))
    points = torch.stack([torch.cat(x, 1) for x in ([low, low], [high, low], [high, high], [low, high])], 1)
    boxes = torch.cat([points.mean(1), torch.full((len(centres), 2), 0.1)], 1).reshape(-1, 4)
    return ImageTargets(
        boxes, points.reshape(-1, POINTS, 2), torch.tensor([[1, 2, CLASSES - 1]]).repeat(len(centres), 1)
    )


def layer(queries: int = 4, batch: int = 1, seed: int = 0) -> LayerOutput:
    generator = torch.Generator().manual_seed(seed)
    return LayerOutput(
        torch.randn(batch, queries, POINTS, generator=generator, requires_grad=True),
        torch.rand(batch, queries, POINTS, 2, generator=generator, requires_grad=True),
        torch.randn(batch, queries, LENGTH, CLASSES, generator=generator, requires_grad=True),
    )


def output(batch: int = 1, tokens: int = 7, layers: int = 2, queries: int = 4) -> TESTROutput:
    generator = torch.Generator().manual_seed(9)
    logits = torch.randn(batch, tokens, 1, generator=generator, requires_grad=True)
    boxes = torch.rand(batch, tokens, 4, generator=generator, requires_grad=True)
    index = torch.zeros(batch, queries, dtype=torch.int64)
    proposals = Proposals(logits, boxes, index, torch.zeros(batch, queries, 4))
    return TESTROutput([layer(queries, batch, seed) for seed in range(layers)], proposals)


def test_queries_are_matched_by_class_and_outline():
    targets = image(0.2, 0.7)
    points = targets.points[[1, 0, 0]]
    rows, columns = Matcher().queries(torch.tensor([[0.0] * 4, [-4.0] * 4, [4.0] * 4]), points, targets)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (2, 0)]


def test_the_cost_of_a_query_is_the_weighted_sum(monkeypatch):
    seen = []
    monkeypatch.setattr("fasttcm.projects.testr.matching.assign", lambda cost: seen.append(cost))
    targets, found = image(0.2, 0.7), layer()
    Matcher(class_weight=3.0, point_weight=7.0).queries(found.logits[0], found.points[0], targets)
    distance = (found.points[0][:, None] - targets.points).abs().sum((2, 3))
    cost = 3 * focal_class_cost(found.logits[0].sigmoid()).mean(1, keepdim=True) + 7 * distance
    torch.testing.assert_close(seen[0], cost.detach())


def test_tokens_are_matched_by_box_and_an_infinite_prior_does_no_harm():
    targets = image(0.2, 0.7)
    boxes = torch.cat([targets.boxes.flip(0), torch.full((1, 4), float("inf")).sigmoid()])
    rows, columns = Matcher().tokens(torch.zeros(3, 1), boxes, targets)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_losses_of_a_perfect_prediction_by_hand():
    targets = image(0.2, 0.7)
    logits = torch.tensor([[[20.0] * POINTS, [-20.0] * POINTS, [20.0] * POINTS]])
    points = torch.stack([targets.points[0], torch.rand(POINTS, 2), targets.points[1]])[None]
    texts = 20 * F.one_hot(torch.tensor([1, 2, CLASSES - 1]), CLASSES).float().expand(1, 3, -1, -1)
    proposals = Proposals(
        torch.tensor([[[-20.0], [20.0], [20.0]]]),
        torch.cat([torch.rand(1, 4), targets.boxes])[None],
        torch.zeros(1, 3, dtype=torch.int64),
        torch.zeros(1, 3, 4),
    )
    losses = SetCriterion()(TESTROutput([LayerOutput(logits, points, texts)], proposals), [targets])
    assert set(losses) == {"loss_ce", "loss_ctrl_points", "loss_texts", "loss_ce_enc", "loss_bbox_enc", "loss_giou_enc"}
    assert all(value.item() == pytest.approx(0, abs=1e-5) for value in losses.values())


def test_sums_are_divided_by_the_number_of_texts_and_texts_by_their_characters():
    targets, found = [image(0.2), image(0.4, 0.8)], output(batch=2)
    criterion = SetCriterion()
    losses = criterion(found, targets)
    matches = criterion.match_layer(found.layers[-1], targets)
    last, count = found.layers[-1], 3
    points = spelling = 0.0
    for i, (rows, columns) in enumerate(matches):
        points += (last.points.detach()[i][rows] - targets[i].points[columns]).abs().sum()
        read = last.texts.detach()[i][rows].log_softmax(2)
        spelling -= read.gather(2, targets[i].classes[columns][..., None]).sum()
    assert losses["loss_ctrl_points"].item() == pytest.approx(5 * float(points) / count, rel=1e-5)
    assert losses["loss_texts"].item() == pytest.approx(4 * float(spelling) / (count * LENGTH), rel=1e-5)
    assert {name for name in losses if name.endswith("_0")} == {"loss_ce_0", "loss_ctrl_points_0", "loss_texts_0"}


@pytest.mark.parametrize("images", [[image(), image()], [image(), image(0.5)]], ids=["no text", "one image without"])
def test_images_without_text_keep_every_prediction_in_the_graph(images):
    found = output(batch=2)
    losses = SetCriterion()(found, images)
    torch.stack(list(losses.values())).sum().backward()
    leaves = [t for x in found.layers for t in (x.logits, x.points, x.texts)]
    leaves += [found.proposals.logits, found.proposals.boxes]
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)
    if not any(map(len, images)):
        assert {name for name, value in losses.items() if value.item() == 0} == {
            name for name in losses if not name.startswith("loss_ce")
        }


def test_more_texts_than_queries_still_count_all_texts():
    crowd = image(0.1, 0.3, 0.5, 0.7, 0.9)
    found = output(queries=2, layers=1)
    losses = SetCriterion()(found, [crowd])
    (rows, columns), (last,) = SetCriterion().match_layer(found.layers[0], [crowd])[0], found.layers
    assert len(rows) == 2
    distance = float((last.points.detach()[0][rows] - crowd.points[columns]).abs().sum())
    assert losses["loss_ctrl_points"].item() == pytest.approx(5 * distance / 5, rel=1e-5)


def test_a_box_without_area_gives_finite_losses_and_gradients():
    flat = image(0.5)
    flat.boxes[:, 2:] = 0
    found = output()
    losses = SetCriterion()(found, [flat])
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert torch.isfinite(found.proposals.boxes.grad).all()


def test_a_model_that_has_diverged_reports_it_in_its_loss():
    found = output()
    with torch.no_grad():
        found.layers[-1].logits.fill_(float("nan"))
    assert torch.isnan(SetCriterion()(found, [image(0.5)])["loss_ce"])


def test_weights_scale_their_losses():
    targets, found = [image(0.2, 0.7)], output()
    matcher = Matcher(class_weight=4.0, point_weight=10.0, box_weight=10.0, giou_weight=4.0)
    once, twice = SetCriterion()(found, targets), SetCriterion(matcher=matcher, text_weight=8.0)(found, targets)
    for name in once:
        torch.testing.assert_close(twice[name], 2 * once[name])
