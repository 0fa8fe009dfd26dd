"""What a benchmark counts: one frozen value per published protocol."""

from dataclasses import dataclass

from fasttcm.errors import ConfigError
from fasttcm.evaluation.detection_protocol import DETECTION_PROTOCOLS, DetectionProtocol

__all__ = ["PROTOCOLS", "Protocol", "find_protocol", "find_rules"]


@dataclass(frozen=True)
class Protocol:
    """The rules of one benchmark (SPEC ``evaluation`` sections 1, 3 and 4).

    Attributes:
        name: key in :data:`PROTOCOLS`.
        iou_threshold: a pair matches when its IoU is strictly above this.
        dont_care_overlap: a detection is not counted when more than this share of it lies in one don't-care area.
        dont_care_text: transcription of an area that nobody has to find.
        word_spotting: only dictionary words are to be read, the others are don't care end-to-end, and the
            ground truth is freed from punctuation before comparison. Off: one mark at each end may be missing.
        shortest_word: characters a dictionary word needs at least.
        strip_texts: white space around a transcription does not count.
        simple_polygons: the published script refuses outlines that cross themselves.
        corners: points per outline in the published archives, longer ones become rotated rectangles; ``None``: any.
        empty_texts: the published script can compare an empty ground-truth text with what was read.
    """

    name: str
    iou_threshold: float = 0.5
    dont_care_overlap: float = 0.5
    dont_care_text: str = "###"
    word_spotting: bool = False
    shortest_word: int = 3
    strip_texts: bool = True
    simple_polygons: bool = True
    corners: int | None = None
    empty_texts: bool = True


TEXT_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("totaltext", word_spotting=True),
        Protocol("ctw1500"),
        Protocol("inversetext"),
        Protocol("custom"),
        Protocol("icdar2015", strip_texts=False, simple_polygons=False, corners=4, empty_texts=False),
    )
}
"""Protocols that also compare transcriptions."""

PROTOCOLS: dict[str, Protocol | DetectionProtocol] = {**TEXT_PROTOCOLS, **DETECTION_PROTOCOLS}
"""The published protocols by name. ``custom`` is the curve script without word spotting, for any other set; ``db*``
and ``mmocr*`` look at places only."""


def find_protocol(protocol: str | Protocol) -> Protocol:
    """The protocol with transcriptions of that name, or the value itself; raises ConfigError otherwise."""
    rules = find_rules(protocol)
    if isinstance(rules, DetectionProtocol):
        raise ConfigError(
            f"protocol {rules.name!r} compares places only; with transcriptions: {', '.join(TEXT_PROTOCOLS)}"
        )
    return rules


def find_rules(protocol: str | Protocol | DetectionProtocol) -> Protocol | DetectionProtocol:
    """The protocol of that name, or the value itself; raises ConfigError with the known names otherwise."""
    if isinstance(protocol, Protocol | DetectionProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]
