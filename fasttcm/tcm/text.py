"""Where the class texts of a matching come from: conditioned on each image (TCM), or the same for all (FastTCM).

TCM generates the cue from the image, so the text tower runs for every image. FastTCM generates it from a learned meta
query, so its texts are a function of the weights alone: computed once in eval mode and kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.clip import TextTower
from fasttcm.errors import ConfigError
from fasttcm.tcm.prompts import DEFAULT_CLASS_TEXTS, PromptedTextEncoder, PromptGenerator, PromptKind

__all__ = ["ClassText", "ImageConditionedText", "StaticText", "build_text", "similarity_gate"]


@dataclass
class ClassText:
    """Text embeddings for N images and K classes.

    Attributes:
        embeddings: (N, K, E), not normalised.
        gate: (N, K, 1) cosine of the bimodal similarity matching, in [-1, 1]; ``None`` without it.
    """

    embeddings: Tensor
    gate: Tensor | None = None


def similarity_gate(text: Tensor, image: Tensor) -> ClassText:
    """Bimodal similarity matching (BSM, FastTCM): move every text towards the image by as much as they agree.

    With t and g of unit length and s = <t, g>, the result is t + s g. The published form projects g by a matrix of
    ones into another width and fails on the shapes; both live in CLIP's embedding space, so none is needed.

    Args:
        text: (N or 1, K, E), any norm.
        image: (N, E), any norm.

    Returns:
        Embeddings (N, K, E) and the gate s (N, K, 1).
    """
    text, image = F.normalize(text, dim=2), F.normalize(image, dim=1)[:, None]
    gate = (text * image).sum(dim=2, keepdim=True)
    return ClassText(text + gate * image, gate)


class ImageConditionedText(nn.Module):
    """TCM: the cue is generated from the global image embedding, so every image has texts of its own.

    Args:
        encoder: prompts and text tower.
        prompt_generator: from image embedding to cue.
    """

    def __init__(self, *, encoder: PromptedTextEncoder, prompt_generator: PromptGenerator) -> None:
        super().__init__()
        self.encoder = encoder
        self.prompt_generator = prompt_generator

    @property
    def num_classes(self) -> int:
        """K."""
        return self.encoder.num_classes

    def forward(self, image: Tensor) -> ClassText:
        """Texts (N, K, E) for global image embeddings (N, E), raw."""
        return ClassText(self.encoder(self.prompt_generator(image)))

    def reset_cache(self) -> None:
        """Nothing is kept: texts depend on the image."""

    def freeze(self) -> None:
        """Not possible here: raises ConfigError."""
        raise ConfigError("TCM's texts depend on the image and cannot be frozen; use a FastTCM backbone for that")


class StaticText(nn.Module):
    """FastTCM: texts that depend on weights only, gated by their similarity with the image.

    In train mode texts are recomputed at every forward, with gradients. In eval mode they are computed once, without
    gradients and in the precision of the weights, kept in a buffer that is not part of the state dict, and reused for
    batches of any size. ``train()`` and ``eval()``, ``load_state_dict`` of this module, a part or a parent, and any
    move to a device or type drop them. After editing weights in place by hand, call :meth:`reset_cache`.

    :meth:`freeze` turns the texts into a persistent constant and drops the tower, for export.

    Args:
        encoder: prompts and text tower; ``None`` builds the frozen form, whose texts come from a state dict.
        prompt_generator: generates the cue from the learned ``meta_query`` (E,); ``None``: no cue and no query.
        gated: apply :func:`similarity_gate`.
        frozen_shape: (K, E) of the frozen form; needed when ``encoder`` is ``None``.

    Raises:
        ConfigError: neither an encoder nor a frozen shape is given.
    """

    cached_text: Tensor | None
    frozen_text: Tensor | None

    def __init__(
        self,
        *,
        encoder: PromptedTextEncoder | None,
        prompt_generator: PromptGenerator | None,
        gated: bool = True,
        frozen_shape: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.gated = gated
        self.encoder = encoder
        self.prompt_generator = None if encoder is None else prompt_generator
        self.register_buffer("cached_text", None, persistent=False)
        self.register_buffer("frozen_text", None)
        if encoder is not None:
            self.num_classes = encoder.num_classes
            if prompt_generator is not None:
                self.meta_query = nn.Parameter(torch.randn(encoder.embed_dim))
            # Loading weights into a part alone calls the hooks of that part only, so each one gets the hook.
            for module in self.modules():
                module.register_load_state_dict_post_hook(self._after_load)
        elif frozen_shape is not None:
            self.num_classes = frozen_shape[0]
            self.frozen_text = torch.zeros(1, *frozen_shape)
            self.eval()
        else:
            raise ConfigError("texts without a text tower need the number of classes and the embedding size")

    @property
    def is_frozen(self) -> bool:
        """Whether the texts are a constant and there is no tower."""
        return self.encoder is None

    def forward(self, image: Tensor) -> ClassText:
        """Texts (N, K, E) for global image embeddings (N, E), raw."""
        text = self.text()
        return similarity_gate(text, image) if self.gated else ClassText(text.expand(len(image), -1, -1))

    def text(self) -> Tensor:
        """Texts before the gate, (1, K, E): computed in train mode, kept in eval mode."""
        if self.frozen_text is not None:
            return self.frozen_text
        if self.training:
            return self._compute()
        if self.cached_text is None:
            self.cached_text = self._compute_constant()
        return self.cached_text

    def reset_cache(self) -> None:
        """Forget the kept texts; the next forward in eval mode computes them again."""
        self.cached_text = None

    def freeze(self) -> None:
        """Keep the texts as a constant of the state dict and drop tower, contexts, query and prompt generator.

        What trains afterwards trains around the constant. Cannot be undone.
        """
        if self.is_frozen:
            return
        self.frozen_text = self._compute_constant()
        self.encoder = self.prompt_generator = None
        if "meta_query" in self._parameters:
            del self.meta_query
        self.eval()

    def train(self, mode: bool = True) -> "StaticText":
        """As in PyTorch, and the kept texts are dropped; frozen ones stay."""
        self.reset_cache()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "StaticText":
        # .to, .cuda, .half, ...: computed anew in the new place and type rather than converted.
        self.reset_cache()
        return super()._apply(fn, recurse)

    def _after_load(self, _module: nn.Module, _keys: Any) -> None:
        self.reset_cache()

    def _compute(self) -> Tensor:
        assert self.encoder is not None
        cue = None if self.prompt_generator is None else self.prompt_generator(self.meta_query[None])
        return self.encoder(cue)

    def _compute_constant(self) -> Tensor:
        """The texts in eval mode as an ordinary tensor: no gradient, no autocast, usable outside inference mode."""
        assert self.encoder is not None
        device = self.encoder.tower.text_projection.device.type
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
            return self._compute().clone()


def build_text(
    *,
    tower: TextTower | None,
    embed_dim: int,
    class_texts: Sequence[str] = DEFAULT_CLASS_TEXTS,
    prompt_kind: PromptKind = "predefined+learnable",
    num_contexts: int = 4,
    context_length: int = 14,
    image_conditioned: bool,
    language_prompt: bool = True,
) -> ImageConditionedText | StaticText:
    """The texts of TCM or FastTCM.

    Args:
        tower: CLIP's text tower, changed in place (truncated and frozen); ``None``: FastTCM with frozen texts, to be
            loaded from a checkpoint.
        embed_dim: E.
        class_texts: one text per class.
        prompt_kind: see :class:`~fasttcm.tcm.prompts.PromptedTextEncoder`, also for the next two.
        num_contexts: learned tokens.
        context_length: tokens kept for a class text.
        image_conditioned: TCM (cue from the image, no gate) or FastTCM (cue from a meta query, gate).
        language_prompt: whether there is a cue at all. TCM's texts do not depend on the image without it, and are
            then kept like FastTCM's.

    Raises:
        ConfigError: a prompt that does not fit, or TCM without a tower.
    """
    if tower is None:
        if image_conditioned:
            raise ConfigError("TCM's texts depend on the image and need the text tower; only FastTCM works without")
        return StaticText(encoder=None, prompt_generator=None, frozen_shape=(len(class_texts), embed_dim))
    encoder = PromptedTextEncoder(
        tower=tower,
        class_texts=class_texts,
        prompt_kind=prompt_kind,
        num_contexts=num_contexts,
        context_length=context_length,
    )
    generator = PromptGenerator(embed_dim=embed_dim, text_width=encoder.text_width) if language_prompt else None
    if image_conditioned and generator is not None:
        return ImageConditionedText(encoder=encoder, prompt_generator=generator)
    return StaticText(encoder=encoder, prompt_generator=generator, gated=not image_conditioned)
