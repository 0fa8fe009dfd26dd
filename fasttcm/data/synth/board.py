"""The thing a text stands on: a plate, poster or banner with corners, border, bands, icons and a shadow."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.colors import Color, contrasting_color, random_color
from fasttcm.data.synth.noise import fractal_noise, ramp
from fasttcm.data.synth.paint import Layer, lay_over
from fasttcm.data.synth.textures import metal, paper, planks

__all__ = ["BoardPlan", "draw_board", "plan_board"]


@dataclass(frozen=True)
class BoardPlan:
    """Measures of a board in pixels.

    Attributes:
        pad_x: free space left and right of the text.
        pad_y: free space above and below it.
        corner: radius of the corners.
        border: width of the border line, 0 for none.
        border_gap: distance of the border line from the edge.
        shadow: width of the soft shadow around the board, 0 for none.
        icon: side of the square beside the text that holds a pictogram, 0 for none.
        icon_right: the pictogram stands right of the text.
        band: the first line lies on a band of its own colour.
        surface: "flat", "gradient", "worn", "wood", "metal" or "paper".
    """

    pad_x: int
    pad_y: int
    corner: float
    border: float
    border_gap: float
    shadow: int
    icon: int
    icon_right: bool
    band: bool
    surface: str


def plan_board(
    rng: np.random.Generator, *, text_height: int, lines: int, line_height: float, clutter: float
) -> BoardPlan:
    """Choose a board for ``lines`` lines of text, ``text_height`` pixels high in all, the first one ``line_height``."""
    pad_y = int(rng.uniform(0.25, 0.9) * line_height) + 2
    pad_x = int(rng.uniform(0.3, 1.2) * line_height) + 3
    short = text_height + 2 * pad_y
    with_border = rng.random() < 0.4
    corner = float(rng.choice([0.0, rng.uniform(0.03, 0.15), rng.uniform(0.15, 0.5)], p=[0.4, 0.35, 0.25])) * short
    return BoardPlan(
        pad_x=pad_x + int(0.3 * corner),
        pad_y=pad_y,
        corner=corner,
        border=max(1.0, rng.uniform(0.02, 0.08) * line_height) if with_border else 0.0,
        border_gap=float(rng.choice([0.0, rng.uniform(0.05, 0.15)])) * line_height,
        shadow=int(rng.uniform(0.1, 0.4) * line_height) + 2 if rng.random() < 0.6 else 0,
        icon=text_height if clutter and lines <= 3 and text_height < 160 and rng.random() < 0.15 else 0,
        icon_right=bool(rng.random() < 0.4),
        band=bool(lines > 1 and corner < 0.1 * short and rng.random() < 0.25),
        surface=str(
            rng.choice(["flat", "gradient", "worn", "wood", "metal", "paper"], p=[0.3, 0.2, 0.26, 0.08, 0.06, 0.1])
        ),
    )


def _distance(height: int, width: int, margin: int, radius: float) -> npt.NDArray[np.float32]:
    """Signed distance in pixels to a rounded rectangle ``margin`` pixels inside a canvas; negative inside."""
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5
    half_w, half_h = width / 2 - margin, height / 2 - margin
    radius = min(radius, half_w, half_h)
    qx = (np.abs(x - width / 2) - (half_w - radius))[None]
    qy = (np.abs(y - height / 2) - (half_h - radius))[:, None]
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return (outside + np.minimum(np.maximum(qx, qy), 0) - radius).astype(np.float32)


def _surface(rng: np.random.Generator, height: int, width: int, color: Color, kind: str) -> npt.NDArray[np.float32]:
    """(height, width, 3) paint of a board."""
    if kind in ("wood", "metal", "paper"):
        texture = {"wood": planks, "metal": metal, "paper": paper}[kind](rng, height, width)
        # The texture only modulates the colour, so that the chosen letters keep their contrast.
        relief = texture.mean(2, keepdims=True) / max(float(texture.mean()), 1e-3)
        return color * np.clip(relief, 0.6, 1.4)
    if kind == "gradient":
        field = ramp(height, width, rng.uniform(0, 2 * np.pi)) - 0.5
        return color * (1 + rng.uniform(0.1, 0.5) * field)[..., None]
    if kind == "worn":
        noise = fractal_noise(rng, height, width, cell=max(8.0, width / 3), octaves=6, gain=0.65) - 0.5
        return color * (1 + rng.uniform(0.1, 0.4) * noise)[..., None]
    return np.broadcast_to(color, (height, width, 3)).astype(np.float32)


def _icon(rng: np.random.Generator, layer: Layer, x: int, y: int, side: int, color: Color) -> None:
    """A pictogram without letters: arrow, disc, ring, star or triangle, on the square at (x, y)."""
    canvas = np.zeros((side * 2, side * 2), np.uint8)
    center, r = (side, side), side * 4 // 5
    kind = int(rng.integers(5))
    if kind == 0:
        shape = np.array([[-1, -0.25], [0.1, -0.25], [0.1, -0.7], [1, 0], [0.1, 0.7], [0.1, 0.25], [-1, 0.25]])
        turn = rng.integers(4) * np.pi / 2
        shape = shape @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        cv2.fillPoly(canvas, [(shape * r + side).astype(np.int32)], 255, cv2.LINE_AA)
    elif kind in (1, 2):
        cv2.circle(canvas, center, r, 255, -1 if kind == 1 else max(2, r // 5), cv2.LINE_AA)
        if kind == 2:
            cv2.line(
                canvas,
                (side - r * 2 // 3, side - r * 2 // 3),
                (side + r * 2 // 3, side + r * 2 // 3),
                255,
                max(2, r // 5),
                cv2.LINE_AA,
            )
    else:
        points, inner = (5, 0.42) if kind == 3 else (3, 0.5)
        angles = np.arange(2 * points) * np.pi / points - np.pi / 2
        radii = np.where(np.arange(2 * points) % 2 == 0, r, r * inner)
        shape = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + side
        cv2.fillPoly(canvas, [shape.astype(np.int32)], 255, cv2.LINE_AA)
    mask = np.asarray(cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
    part = layer[y : y + side, x : x + side]
    lay_over(part, color, mask[: part.shape[0], : part.shape[1]])


def draw_board(
    rng: np.random.Generator,
    layer: Layer,
    plan: BoardPlan,
    *,
    color: Color,
    ink: Color,
    band: tuple[int, Color] | None,
    icon_at: tuple[int, int],
) -> None:
    """Paint a board over a layer, in place.

    Args:
        rng: source of randomness.
        layer: (H, W, 4), empty; the board fills it except for ``plan.shadow`` pixels on every side.
        plan: measures.
        color: of the board.
        ink: of its letters, used for border and pictogram.
        band: (bottom row, colour) of the first line's band, or ``None``.
        icon_at: (x, y) of the pictogram.
    """
    height, width = layer.shape[:2]
    distance = _distance(height, width, plan.shadow, plan.corner)
    if plan.shadow:
        soft = cv2.GaussianBlur(np.clip(0.5 - distance, 0, 1), (0, 0), plan.shadow / 2.5)
        shifted = np.roll(soft, (plan.shadow // 3, plan.shadow // 3), (0, 1))
        lay_over(layer, np.zeros(3, np.float32), shifted * np.float32(rng.uniform(0.25, 0.6)))
    inside = np.clip(0.5 - distance, 0, 1)
    paint = np.clip(_surface(rng, height, width, color, plan.surface), 0, 1)
    if band is not None:
        paint = np.array(paint)
        paint[: band[0]] = band[1]
    lay_over(layer, paint, inside)
    if plan.border:
        middle = plan.border_gap + plan.border / 2
        line = np.clip(plan.border / 2 + 0.5 - np.abs(-distance - middle), 0, 1)
        lay_over(layer, ink if rng.random() < 0.7 else random_color(rng), line)
    if plan.icon:
        _icon(rng, layer, *icon_at, plan.icon, ink if rng.random() < 0.6 else contrasting_color(rng, color))
