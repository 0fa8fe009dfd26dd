"""Names of the published TCM and FastTCM state dicts (wenwenyu/TCM) in terms of ours."""

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["backbone_key", "convert_published", "matching_key", "spotter_key"]

_MATCHING = {
    "text_encoder.": "text.encoder.tower.",
    "contexts": "text.encoder.contexts",
    "meta_query": "text.meta_query",
    "prompt_generator.": "text.prompt_generator.",
    "context_decoder.": "context_decoder.",
    "visual_prompt_generator.": "visual_prompt_generator.",
    "gamma": "gamma",
    "vis_gamma": "vis_gamma",
    "logit_scale": "logit_scale",
    "pix_w": "pix_w",
}
"""Published key, or prefix ending in a dot, to that of ``InstanceLanguageMatching``."""

_BACKBONE = {"backbone.attnpool.": "pool.", "backbone.": "trunk."}
"""The same for the image side of ``TCMBackbone``."""

_SPOTTER_PREFIX = "clip_pix_cls."
_SPOTTER_OWN = ("visual_embedding_proj.", "score_map_concat_gamma")

_UNUSED = ("pix_w", "text.encoder.contexts", "gamma", "vis_gamma", "score_map_concat_gamma")
"""Entries that published checkpoints hold although their configuration does not use them."""


def _rename(key: str, table: Mapping[str, str]) -> str | None:
    for published, own in table.items():
        if key == published or (published.endswith(".") and key.startswith(published)):
            return own + key[len(published) :]
    return None


def matching_key(key: str) -> str | None:
    """Our name inside ``InstanceLanguageMatching`` of a published key; ``None`` when it is not part of the matching."""
    return _rename(key, _MATCHING)


def backbone_key(key: str) -> str | None:
    """Our name inside ``TCMBackbone`` of a detector's published key; ``None`` for its neck and head."""
    image = _rename(key, _BACKBONE)
    matching = matching_key(key)
    return image or (None if matching is None else f"matching.{matching}")


def spotter_key(key: str, prefix: str = _SPOTTER_PREFIX) -> str | None:
    """Our name inside ``SpotterMatching`` of a spotter's published key; ``None`` for the rest of the spotter.

    Args:
        key: published key.
        prefix: ``clip_pix_cls.`` in ABCNet; TESTR's modules lie in its masked trunk, ``backbone.0.``.
    """
    if not key.startswith(prefix):
        return None
    key = key[len(prefix) :]
    if key.startswith(_SPOTTER_OWN):
        return key
    matching = matching_key(key)
    return None if matching is None else f"matching.{matching}"


def convert_published(
    state: Mapping[str, Tensor], model: nn.Module, names: Mapping[str, str | None]
) -> dict[str, Tensor]:
    """A published state dict under our names.

    Args:
        state: published weights, possibly with more than the matching.
        model: the receiver; it decides which of the entries that every published checkpoint holds, whether its
            configuration uses them or not (``pix_w``, ``vis_gamma``, empty ``contexts``, ...), are dropped.
        names: published key to our name in ``model``, ``None`` for keys of other parts, which are dropped.

    Returns:
        The entries of ``model``, and any that it does not know, so that a strict load names them.
    """
    own = model.state_dict().keys()
    renamed = {name: state[key] for key, name in names.items() if name is not None}
    return {name: value for name, value in renamed.items() if name in own or not name.endswith(_UNUSED)}
