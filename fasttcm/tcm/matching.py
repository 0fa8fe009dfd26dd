"""Instance-language matching: how much every cell of an image looks like each class text (TCM section 3.5, FastTCM)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.clip import TextTower
from fasttcm.errors import ConfigError
from fasttcm.tcm.decoder import PromptDecoder
from fasttcm.tcm.prompts import DEFAULT_CLASS_TEXTS, PromptKind
from fasttcm.tcm.text import ImageConditionedText, StaticText, build_text

__all__ = ["TEMPERATURE", "InstanceLanguageMatching", "MatchingOutput", "build_matching"]

TEMPERATURE = 0.07
"""tau, divisor of the score in the auxiliary loss (TCM, CLIP's initial value)."""
INITIAL_GAMMA = 1e-3
"""Initial weight of both prompts' updates (DenseCLIP, TCM)."""


@dataclass
class MatchingOutput:
    """What the matching computes for N images and K classes on a map of h x w cells.

    Attributes:
        text: (N, K, E) texts after the context decoder.
        visual: (N, E, h, w) dense embeddings after the visual prompt.
        score: (N, K, h, w) cosine of the two in [-1, 1], which is concatenated to the features; with a learned
            ``logit_scale`` times its exponential.
        logits: (N, K, h, w) for the loss, before the sigmoid: score / tau, or the score itself with ``logit_scale``.
        gate: (N, K, 1) cosine of FastTCM's bimodal similarity matching; ``None`` without it.
    """

    text: Tensor
    visual: Tensor
    score: Tensor
    logits: Tensor
    gate: Tensor | None


class InstanceLanguageMatching(nn.Module):
    """Prompt text and image with each other, then compare them cell by cell.

    With the image's global embedding g and its dense ones V:

    1. t = texts, see :mod:`fasttcm.tcm.text`;
    2. V' = V + vis_gamma * visual_prompt_generator(V, t);
    3. t' = t + gamma * context_decoder(t, [g ; V]);
    4. score = cosine of V' and t'.

    Args:
        text: where the texts come from.
        context_decoder: updates the texts from the image; ``None`` leaves them.
        visual_prompt_generator: updates the image from the texts; ``None`` leaves it.
        embed_dim: E.
        temperature: tau.
        logit_scale: learn the factor of the score, starting at 1 / tau (off in every published result).

    Raises:
        ConfigError: the temperature is not positive.
    """

    def __init__(
        self,
        *,
        text: ImageConditionedText | StaticText,
        context_decoder: PromptDecoder | None,
        visual_prompt_generator: PromptDecoder | None,
        embed_dim: int,
        temperature: float = TEMPERATURE,
        logit_scale: bool = False,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"the matching temperature must be positive, got {temperature}")
        self.text = text
        self.context_decoder = context_decoder
        self.visual_prompt_generator = visual_prompt_generator
        # Parameters exist only where they are used, so that every trainable one gets a gradient.
        if context_decoder is not None:
            self.gamma = nn.Parameter(torch.full((embed_dim,), INITIAL_GAMMA))
        if visual_prompt_generator is not None:
            self.vis_gamma = nn.Parameter(torch.tensor(INITIAL_GAMMA))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature))) if logit_scale else None
        self.temperature = temperature

    @property
    def num_classes(self) -> int:
        """K."""
        return self.text.num_classes

    def forward(self, image: Tensor, visual: Tensor) -> MatchingOutput:
        """Match N images, given their global embedding (N, E) and dense embeddings (N, E, h, w), both raw."""
        text = self.text(image)
        before = text.embeddings
        cells = visual.flatten(2).transpose(1, 2)  # (N, h*w, E), row-major
        after = before
        if self.context_decoder is not None:
            memory = torch.cat([image[:, None], cells], dim=1)
            after = before + self.gamma * self.context_decoder(before, memory)
        if self.visual_prompt_generator is not None:
            update = self.visual_prompt_generator(cells, before)
            visual = visual + self.vis_gamma * update.transpose(1, 2).reshape(visual.shape)
        score = torch.einsum("nehw,nke->nkhw", F.normalize(visual, dim=1), F.normalize(after, dim=2))
        if self.logit_scale is None:
            logits = score / self.temperature
        else:
            score = logits = score * self.logit_scale.exp()
        return MatchingOutput(after, visual, score, logits, text.gate)

    def reset_text_cache(self) -> None:
        """Forget FastTCM's kept texts, after weights were edited in place by hand; harmless otherwise."""
        self.text.reset_cache()

    def freeze_text(self) -> None:
        """Keep FastTCM's texts as a constant and drop the text tower, for export; cannot be undone.

        Raises:
            ConfigError: the texts depend on the image (TCM with a language prompt).
        """
        self.text.freeze()


def build_matching(
    *,
    image_conditioned: bool,
    tower: TextTower | None,
    embed_dim: int,
    class_texts: Sequence[str] = DEFAULT_CLASS_TEXTS,
    prompt_kind: PromptKind = "predefined+learnable",
    num_contexts: int = 4,
    context_length: int = 14,
    decoder_width: int = 256,
    decoder_heads: int = 4,
    decoder_layers: int = 3,
    dropout: float = 0.1,
    language_prompt: bool = True,
    text_refinement: bool = True,
    visual_prompt: bool = True,
    temperature: float = TEMPERATURE,
    logit_scale: bool = False,
) -> InstanceLanguageMatching:
    """The matching of TCM or FastTCM; the defaults are the published DBNet configuration.

    Args:
        image_conditioned: TCM (true) or FastTCM (false).
        tower, embed_dim, class_texts, prompt_kind, num_contexts, context_length, language_prompt: as in
            :func:`~fasttcm.tcm.text.build_text`.
        decoder_width, decoder_heads, decoder_layers, dropout: of both :class:`~fasttcm.tcm.decoder.PromptDecoder`.
        text_refinement, visual_prompt: whether to build context decoder and visual prompt generator.
        temperature, logit_scale: as in :class:`InstanceLanguageMatching`.

    Raises:
        ConfigError: arguments that do not fit together.
    """
    decoder = partial(
        PromptDecoder,
        embed_dim=embed_dim,
        width=decoder_width,
        heads=decoder_heads,
        layers=decoder_layers,
        dropout=dropout,
    )
    return InstanceLanguageMatching(
        text=build_text(
            tower=tower,
            embed_dim=embed_dim,
            class_texts=class_texts,
            prompt_kind=prompt_kind,
            num_contexts=num_contexts,
            context_length=context_length,
            image_conditioned=image_conditioned,
            language_prompt=language_prompt,
        ),
        context_decoder=decoder() if text_refinement else None,
        visual_prompt_generator=decoder() if visual_prompt else None,
        embed_dim=embed_dim,
        temperature=temperature,
        logit_scale=logit_scale,
    )
