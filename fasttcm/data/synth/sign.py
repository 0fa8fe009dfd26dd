"""One sign from plan to paint: a layer with its words, ready to be projected into the scene."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.board import BoardPlan, draw_board, plan_board
from fasttcm.data.synth.colors import Color, contrast_ratio, contrasting_color, random_color, sign_colors
from fasttcm.data.synth.curves import Strip
from fasttcm.data.synth.layout import Layout
from fasttcm.data.synth.paint import Layer, Lettering, empty_layer, paint_letters, paint_underlay

__all__ = ["Sign", "make_sign"]

LETTER_SPACE = 0.5
"""Room around lonely words for outlines and shadows, in word heights."""

BLURRED = (0.3, 0.5)
"""Softness of a word that nobody can read, standard deviation in word heights."""

FAINT = (0.04, 0.09)
"""Opacity of a word that nobody can read."""


DECORATIONS = (
    "outline",
    "outline",
    "shadow",
    "shadow",
    "raised",
    "raised",
    "outline+shadow",
    "glow",
    "relief",
    "hollow",
)

LEAST_HOLLOW_HEIGHT = 28.0
"""Pixels below which letters are not hollow: nothing would be left of them."""


@dataclass(frozen=True)
class Sign:
    """A sign before it is painted: where its words lie in its own layer.

    Attributes:
        width: of the layer in pixels.
        height: of the layer in pixels.
        board: measures of the board, ``None`` for words directly on the background.
        layout: the words, relative to ``origin``.
        origin: (x, y) of the layout in the layer.
        strips: the annotation of every word in layer pixels.
        outline: (4, 2) corners of the part that hides the background, in layer pixels.
    """

    width: int
    height: int
    board: BoardPlan | None
    layout: Layout
    origin: tuple[int, int]
    strips: list[Strip]
    outline: npt.NDArray[np.float64]

    def paint(
        self, rng: np.random.Generator, behind: Color, *, busy: bool, decorated: bool, weak: bool, legible: list[bool]
    ) -> Layer:
        """The painted layer.

        Args:
            rng: source of randomness.
            behind: mean colour of the background where the sign will be, for words without a board.
            busy: that background varies much; letters without a board get an outline.
            decorated: give the letters an outline, a shadow or depth.
            weak: use colours with little contrast.
            legible: for every word, whether it can be read.

        Returns:
            (height, width, 4) float32 premultiplied RGBA.
        """
        layer = empty_layer(self.height, self.width)
        band: tuple[int, Color] | None = None
        if self.board is None:
            ground, ink = behind, contrasting_color(rng, behind, weak=weak and not busy)
        else:
            ground, ink = sign_colors(rng, weak=weak)
            if self.board.band:
                band = (
                    self.origin[1] + self.layout.rows[0][1] + self.board.pad_y // 2,
                    random_color(rng, saturation=(0.3, 0.9)),
                )
            icon_x = (
                self.origin[0] + self.layout.width + self.board.pad_x // 2
                if self.board.icon_right
                else self.board.shadow + self.board.pad_x
            )
            draw_board(rng, layer, self.board, color=ground, ink=ink, band=band, icon_at=(icon_x, self.origin[1]))
        decoration = _decoration(rng, decorated=decorated, busy=busy and self.board is None)
        if decoration == "hollow" and min(line.height for line in self.layout.lines) < LEAST_HOLLOW_HEIGHT:
            decoration = "plain"
        looks = self._looks(rng, ground, ink, band, decoration)
        heights = [line.height for line in self.layout.lines]
        jobs = [
            (word, _spoiled(rng, looks[word.line], ok), heights[word.line])
            for word, ok in zip(self.layout.words, legible, strict=True)
        ]
        for paint in (paint_underlay, paint_letters):
            for word, look, height in jobs:
                paint(layer, word.mask, word.x + self.origin[0], word.y + self.origin[1], look, height)
        return layer

    def _looks(
        self, rng: np.random.Generator, ground: Color, ink: Color, band: tuple[int, Color] | None, decoration: str
    ) -> list[Lettering]:
        """The lettering of every line: one look for all, other colours on a band and sometimes for a second line."""
        look = _lettering(rng, ground, ink, decoration)
        looks = [look] * len(self.layout.lines)
        if len(looks) > 1 and rng.random() < 0.3:
            accent = contrasting_color(rng, ground)
            looks[1:] = [replace(look, color=accent, low_color=accent)] * (len(looks) - 1)
        if band is not None:
            on_band = contrasting_color(rng, band[1])
            looks[0] = replace(looks[0], color=on_band, low_color=on_band, outline=0.0)
        return looks


def _spoiled(rng: np.random.Generator, look: Lettering, legible: bool) -> Lettering:
    if legible:
        return look
    if rng.random() < 0.6:
        return replace(look, blur=float(rng.uniform(*BLURRED)))
    return replace(look, opacity=float(rng.uniform(*FAINT)))


def _decoration(rng: np.random.Generator, *, decorated: bool, busy: bool) -> str:
    """One of :data:`DECORATIONS`, or "plain"; a busy background asks for an outline."""
    if busy:
        return str(rng.choice(["outline", "outline+shadow"]))
    return str(rng.choice(DECORATIONS)) if decorated else "plain"


def _lettering(rng: np.random.Generator, ground: Color, ink: Color, decoration: str) -> Lettering:
    """How letters of colour ``ink`` are painted on ``ground``."""
    low = np.clip(ink * rng.uniform(0.6, 1.3), 0, 1).astype(np.float32) if rng.random() < 0.15 else ink
    if contrast_ratio(low, ground) < 0.7 * contrast_ratio(ink, ground):
        low = ink
    raised = decoration == "raised"
    far, sideways = rng.uniform(0.03, 0.09), float(rng.choice([-1.0, 1.0]))
    dark = (ground * rng.uniform(0.0, 0.4)).astype(np.float32)
    rim = contrasting_color(rng, ink)
    glow = decoration == "glow"
    return Lettering(
        color=ink,
        low_color=low,
        outline=float(rng.uniform(0.03, 0.065)) if "outline" in decoration else 0.0,
        outline_color=rim,
        shadow=(far * sideways, far) if raised or "shadow" in decoration else (0.0, 0.0),
        shadow_blur=float(rng.uniform(0.08, 0.16) if glow else rng.uniform(0.0, 0.06)),
        shadow_color=(ink * rng.uniform(0.25, 0.6)).astype(np.float32) if raised else rim if glow else dark,
        shadow_opacity=float(rng.uniform(0.4, 0.9)),
        raised=raised,
        glow=glow,
        hollow=decoration == "hollow",
        relief=float(rng.uniform(0.02, 0.05)) if decoration == "relief" else 0.0,
    )


def make_sign(rng: np.random.Generator, layout: Layout, *, lonely: bool, clutter: float) -> Sign:
    """Put a layout on a board, or (``lonely``) on nothing.

    Args:
        rng: source of randomness.
        layout: the words.
        lonely: no board.
        clutter: 0 for boards without pictograms.
    """
    tallest = max(line.height for line in layout.lines)
    if lonely:
        board, space = None, int(LETTER_SPACE * tallest) + 3
        origin, edge = (space, space), space - 2
        width, height = layout.width + 2 * space, layout.height + 2 * space
    else:
        board = plan_board(
            rng, text_height=layout.height, lines=len(layout.rows), line_height=layout.lines[0].height, clutter=clutter
        )
        beside = board.icon + board.pad_x // 2 if board.icon else 0
        edge = board.shadow
        origin = (board.shadow + board.pad_x + (0 if board.icon_right else beside), board.shadow + board.pad_y)
        width = layout.width + 2 * (board.shadow + board.pad_x) + beside
        height = layout.height + 2 * (board.shadow + board.pad_y)
    outline = np.array(
        [[edge, edge], [width - edge, edge], [width - edge, height - edge], [edge, height - edge]], np.float64
    )
    strips = [word.strip.moved(*origin) for word in layout.words]
    return Sign(width, height, board, layout, origin, strips, outline)
