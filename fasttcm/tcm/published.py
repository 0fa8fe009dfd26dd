"""What the shapes of a published checkpoint of wenwenyu/TCM tell about its configuration."""

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["matching_options", "spotter_options"]

_HEAD_WIDTH = 64
"""Channels of an attention head in CLIP's text tower and in both prompt decoders."""


def matching_options(state: Mapping[str, Tensor], *, prefix: str = "") -> dict[str, object]:
    """Configuration keys of a matching: ``MODEL.BACKBONE.NAME``, ``MODEL.TCM.*`` and the text tower's ``MODEL.CLIP.*``.

    Args:
        state: a published state dict.
        prefix: before the matching's names: none in the detectors, ``clip_pix_cls.`` in ABCNet, ``backbone.0.`` in
            TESTR.

    Returns:
        The keys; empty when the state dict holds no matching.
    """
    inner = {key[len(prefix) :]: tensor.shape for key, tensor in state.items() if key.startswith(prefix)}
    if "text_encoder.text_projection" not in inner:
        return {}
    text_width, embed_dim = inner["text_encoder.text_projection"]
    positions = inner["text_encoder.positional_embedding"][0]
    contexts = inner["contexts"][1] if "contexts" in inner else 0
    fixed = positions - contexts
    kind = "learnable" if fixed == 0 else "predefined+learnable" if contexts else "predefined"
    options: dict[str, object] = {
        "MODEL.BACKBONE.NAME": "fasttcm_cr50" if "meta_query" in inner else "tcm_cr50",
        "MODEL.TCM.PROMPT_KIND": kind,
        "MODEL.TCM.LANGUAGE_PROMPT": "prompt_generator.prompt_proj.0.weight" in inner,
        "MODEL.TCM.TEXT_REFINEMENT": "context_decoder.out_proj.1.weight" in inner,
        "MODEL.TCM.VISUAL_PROMPT": "visual_prompt_generator.out_proj.1.weight" in inner,
        "MODEL.TCM.LOGIT_SCALE": "logit_scale" in inner,
        "MODEL.CLIP.EMBED_DIM": int(embed_dim),
        "MODEL.CLIP.VOCAB_SIZE": int(inner["text_encoder.token_embedding.weight"][0]),
        "MODEL.CLIP.TEXT_WIDTH": int(text_width),
        "MODEL.CLIP.TEXT_HEADS": int(text_width) // _HEAD_WIDTH,
        "MODEL.CLIP.TEXT_LAYERS": _blocks(inner, r"text_encoder\.transformer\.resblocks\.(\d+)\."),
    }
    if contexts:
        options["MODEL.TCM.NUM_CONTEXTS"] = int(contexts)
    if fixed:
        options["MODEL.TCM.CONTEXT_LENGTH"] = int(fixed)
    for decoder in ("context_decoder", "visual_prompt_generator"):
        if f"{decoder}.out_proj.1.weight" in inner:
            width = int(inner[f"{decoder}.out_proj.1.weight"][1])
            options["MODEL.TCM.DECODER_WIDTH"] = width
            options["MODEL.TCM.DECODER_HEADS"] = width // _HEAD_WIDTH
            options["MODEL.TCM.DECODER_LAYERS"] = _blocks(inner, rf"{decoder}\.decoder\.(\d+)\.")
    return options


def spotter_options(state: Mapping[str, Tensor], *, prefix: str, level: str) -> dict[str, object]:
    """:func:`matching_options` of the spotter form on ``level`` of the spotter's own ResNet (SPEC ``tcm`` 4)."""
    options = matching_options(state, prefix=prefix)
    return options | {"MODEL.TCM.SPOTTER_LEVEL": level, "MODEL.TCM.SPOTTER_TRUNK": "imagenet_r50"} if options else {}


def _blocks(names: Mapping[str, object], pattern: str) -> int:
    """How many numbers the group of a pattern takes in names."""
    return len({match[1] for match in (re.match(pattern, name) for name in names) if match})
