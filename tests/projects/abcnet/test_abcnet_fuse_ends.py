import math

import torch

from fasttcm.projects.abcnet.fuse_ends import fuse_ends


def word(x0: float, x1: float, top: float = 0.0, height: float = 10.0) -> list[float]:
    """Control points of a rectangle."""
    xs = [x0 + (x1 - x0) * part / 3 for part in range(4)]
    return [v for x in xs for v in (x, top)] + [v for x in reversed(xs) for v in (x, top + height)]


def ends(curves: torch.Tensor) -> list[list[float]]:
    return curves.reshape(-1, 8, 2)[:, [0, 3], 0].tolist()


def test_each_end_comes_from_the_location_beside_it():
    middle, left, right = word(10, 90), word(0, 70), word(35, 100)
    candidates = torch.tensor([middle, left, right])
    locations = torch.tensor([[50.0, 5], [5, 5], [95, 5]])
    fused = fuse_ends(torch.tensor([middle]), candidates, torch.tensor([0.9, 0.8, 0.8]), locations)
    (x0, x1) = ends(fused)[0]
    assert abs(x0) < 0.3 and abs(x1 - 100) < 0.3
    points = fused.reshape(8, 2)
    torch.testing.assert_close(points[:4, 0], torch.linspace(x0, x1, 4))  # those between follow
    torch.testing.assert_close(points[:, 1], torch.tensor([0.0] * 4 + [10] * 4))


def test_weights_by_hand():
    texts = torch.tensor([word(0, 40, -5), word(-2, 40, -5)])
    locations = torch.tensor([[5.0, 0], [13, 0]])
    fused = fuse_ends(texts[:1], texts, torch.tensor([0.5, 0.8]), locations)
    (x0, _) = ends(fused)[0]
    away = math.hypot(5, 5), math.hypot(15, 5)
    near, far = (s / (0.25 + (d / 10) ** 2) ** 2 for s, d in zip((0.5, 0.8), away, strict=True))
    assert abs(x0 - -2 * far / (near + far)) < 1e-4


def test_neighbours_other_sizes_and_other_lines_have_no_say():
    text = word(0, 60)
    others = torch.tensor([text, word(64, 120), word(0, 62, -10, 30), word(0, 61, 12)])
    locations = torch.tensor([[30.0, 5], [66, 5], [58, 5], [58, 17]])
    fused = fuse_ends(others[:1], others, torch.full((4,), 0.9), locations)
    torch.testing.assert_close(fused, others[:1])


def test_turning_and_shifting_commute_with_it():
    texts = torch.tensor([word(10, 90), word(0, 70), word(35, 100)])
    locations, scores = torch.tensor([[50.0, 5], [5, 5], [95, 5]]), torch.tensor([0.9, 0.8, 0.7])
    turn = torch.tensor([[math.cos(2.0), math.sin(2.0)], [-math.sin(2.0), math.cos(2.0)]])

    def moved(points: torch.Tensor) -> torch.Tensor:
        return (points.reshape(-1, 2) @ turn + torch.tensor([7.0, -3])).reshape(points.shape)

    turned = fuse_ends(moved(texts[:2]), moved(texts), scores, moved(locations))
    torch.testing.assert_close(turned, moved(fuse_ends(texts[:2], texts, scores, locations)), atol=1e-3, rtol=1e-4)


def test_none_and_texts_without_extent():
    none = torch.zeros(0, 16)
    assert fuse_ends(none, none, torch.zeros(0), torch.zeros(0, 2)).shape == (0, 16)
    point = torch.full((1, 16), 5.0)
    fused = fuse_ends(point, point, torch.ones(1), torch.tensor([[5.0, 5.0]]))
    assert torch.isfinite(fused).all()
