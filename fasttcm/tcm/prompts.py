"""The text side of TCM: class prompts with learned contexts, their cue, and the frozen tower that reads them."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fasttcm.clip import TextTower, fold_vocabulary, tokenize
from fasttcm.errors import ConfigError
from fasttcm.tcm.decoder import init_prompt_weights

__all__ = ["DEFAULT_CLASS_TEXTS", "PromptGenerator", "PromptKind", "PromptedTextEncoder"]

PromptKind = Literal["predefined", "predefined+learnable", "learnable"]
"""What the text tower reads: the class text, learned contexts between its start token and the rest, or contexts."""

DEFAULT_CLASS_TEXTS = ("the pixels of many arbitrary-shape text instances.",)
"""The class text of every published configuration; 14 tokens with start and end."""


class PromptGenerator(nn.Module):
    """Turn one embedding into the cue that is added to every prompt token (TCM section 3.3, language prompt).

    Args:
        embed_dim: E, channels of the embedding: the image's, or FastTCM's learned meta query.
        text_width: D, channels of a prompt token.
    """

    def __init__(self, *, embed_dim: int, text_width: int) -> None:
        super().__init__()
        self.prompt_proj = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, embed_dim),
            nn.ReLU(),
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, text_width),
        )
        init_prompt_weights(self)

    def forward(self, embedding: Tensor) -> Tensor:
        """Cue (N, D) of embeddings (N, E) of any norm."""
        return self.prompt_proj(embedding)


class PromptedTextEncoder(nn.Module):
    """Embed K class texts with a frozen CLIP text tower, optionally with learned context tokens and a cue.

    The tower's parameters get no gradients; the graph still passes through it to contexts and cue.

    Args:
        tower: CLIP's text tower. It is truncated in place to the prompt's length L.
        class_texts: K texts; with ``learnable`` exactly one, which is not read.
        prompt_kind: ``predefined``: L = ``context_length``; ``predefined+learnable``: start, M contexts, rest of the
            text, L = ``context_length`` + M; ``learnable``: M contexts and nothing else, L = M.
        num_contexts: M, learned tokens shared by all classes; not used by ``predefined``.
        context_length: tokens kept for a class text with start and end.

    Raises:
        ConfigError: a text that needs more tokens (it is named), no text, too many texts, M < 1, an unknown kind, or
            a prompt longer than the tower.
    """

    token_ids: Tensor
    end: Tensor

    def __init__(
        self,
        *,
        tower: TextTower,
        class_texts: Sequence[str] = DEFAULT_CLASS_TEXTS,
        prompt_kind: PromptKind = "predefined+learnable",
        num_contexts: int = 4,
        context_length: int = 14,
    ) -> None:
        super().__init__()
        if prompt_kind not in get_args(PromptKind):
            raise ConfigError(f"unknown prompt kind {prompt_kind!r}; known: {', '.join(get_args(PromptKind))}")
        if not class_texts:
            raise ConfigError("TCM needs at least one class text")
        if prompt_kind == "learnable" and len(class_texts) != 1:
            raise ConfigError(f"a purely learnable prompt describes one class, got {len(class_texts)} class texts")
        learned = 0 if prompt_kind == "predefined" else num_contexts
        if prompt_kind != "predefined" and learned < 1:
            raise ConfigError(f"prompt kind {prompt_kind!r} needs at least one context token, got {num_contexts}")
        length = learned if prompt_kind == "learnable" else context_length + learned
        if length > tower.context_length:
            raise ConfigError(
                f"the prompt has {length} tokens, {learned} of them learned; the tower reads {tower.context_length}"
            )
        self.prompt_kind = prompt_kind
        self.num_classes = len(class_texts)
        self.tower = tower.truncate_context_(length).requires_grad_(False)
        if learned:
            # Only as a parameter when it is used, so that every trainable parameter gets a gradient.
            self.contexts = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, learned, self.text_width)))
        if prompt_kind == "learnable":
            ids, end = torch.zeros(1, 0, dtype=torch.int64), torch.tensor([length - 1])
        else:
            ids = tokenize(class_texts, context_length)
            end = ids.argmax(dim=1) + learned
        self.register_buffer("token_ids", fold_vocabulary(ids, tower.token_embedding.num_embeddings), persistent=False)
        self.register_buffer("end", end, persistent=False)

    @property
    def text_width(self) -> int:
        """D, channels of a prompt token."""
        return self.tower.token_embedding.embedding_dim

    @property
    def embed_dim(self) -> int:
        """E, channels of a text embedding."""
        return self.tower.text_projection.shape[1]

    def assemble(self, cue: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Build the token sequences, before the table of positions.

        Args:
            cue: (N, D), added to every token of every class, padding included; ``None`` for no cue (N = 1).

        Returns:
            (N*K, L, D) sequences, class fastest, and the (N*K,) int64 position of each one's end token.
        """
        if self.prompt_kind == "learnable":
            tokens: Tensor = self.contexts
        else:
            tokens = self.tower.embed(self.token_ids)  # (K, context_length, D)
            if self.prompt_kind == "predefined+learnable":
                contexts = self.contexts.expand(self.num_classes, -1, -1).to(tokens.dtype)
                tokens = torch.cat([tokens[:, :1], contexts, tokens[:, 1:]], dim=1)
        if cue is None:
            return tokens, self.end
        sequences = tokens[None] + cue[:, None, None]  # (N, K, L, D)
        return sequences.flatten(0, 1), self.end.repeat(len(cue))

    def forward(self, cue: Tensor | None = None) -> Tensor:
        """Text embeddings (N, K, E), not normalised, for cues (N, D); N = 1 without a cue."""
        sequences, end = self.assemble(cue)
        batch = 1 if cue is None else cue.shape[0]
        return self.tower.encode_embeddings(sequences, end).reshape(batch, self.num_classes, self.embed_dim)
