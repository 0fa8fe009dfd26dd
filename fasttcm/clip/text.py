"""CLIP's text tower, with an entry for embeddings so that prompts can be learned."""

import torch
from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer
from torch import Tensor, nn

__all__ = ["TextTower"]


class TextTower(TextTransformer):
    """open_clip's text transformer with OpenAI's activation (QuickGELU) and a table of positions that may be truncated.

    State-dict names are CLIP's: ``token_embedding.weight`` (V, D), ``positional_embedding`` (context_length, D),
    ``transformer.resblocks.<i>.*``, ``ln_final.*``, ``text_projection`` (D, E). A new tower has CLIP's initialisation
    (normal; std 0.02 tokens, 0.01 positions, by width and depth inside the blocks).

    Args:
        embed_dim: E, channels of the output.
        context_length: rows of the table of positions, the longest text in tokens.
        vocab_size: V, rows of the token table.
        width: D, channels inside.
        heads: attention heads; divides ``width``.
        layers: number of blocks.
    """

    token_embedding: nn.Embedding
    positional_embedding: nn.Parameter
    text_projection: nn.Parameter
    attn_mask: Tensor
    context_length: int

    def __init__(
        self, *, embed_dim: int, context_length: int, vocab_size: int, width: int, heads: int, layers: int
    ) -> None:
        super().__init__(
            context_length=context_length,
            vocab_size=vocab_size,
            width=width,
            heads=heads,
            layers=layers,
            output_dim=embed_dim,
            act_layer=QuickGELU,
            norm_layer=LayerNorm,
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids (n, L) int64, L <= context_length, padded with 0 after the end token.

        Returns:
            (n, E), not normalised: the output at the largest id of each row (its first occurrence), the end token.
        """
        return self.encode_embeddings(self.embed(ids), ids.argmax(dim=-1))

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings (n, L, D) of ids (n, L) int64, without positions."""
        return self.token_embedding(ids)

    def encode_embeddings(self, x: Tensor, end: Tensor) -> Tensor:
        """Run the tower on token embeddings, learned or looked up.

        Args:
            x: (n, L, D) without positions, L <= context_length.
            end: (n,) int64, position of the end token of each row, 0 .. L-1.

        Returns:
            (n, E), not normalised.

        Raises:
            ValueError: L exceeds the table of positions.
        """
        length = x.shape[1]
        if length > self.context_length:
            raise ValueError(f"text of {length} tokens exceeds the text tower's context length {self.context_length}")
        x = x + self.positional_embedding[:length].to(x.dtype)
        x = self.transformer(x, attn_mask=self.attn_mask[:length, :length])
        x = self.ln_final(x)
        return x[torch.arange(len(x), device=x.device), end] @ self.text_projection

    @torch.no_grad()
    def truncate_context_(self, length: int) -> "TextTower":
        """Keep the first ``length`` rows of the table of positions (it is never interpolated).

        The parameter is a new one, so build the optimizer afterwards.

        Raises:
            ValueError: ``length`` is not 1 .. context_length.
        """
        if not 1 <= length <= self.context_length:
            raise ValueError(f"context length must be 1 .. {self.context_length}, got {length}")
        rows = self.positional_embedding[:length].clone()
        self.positional_embedding = nn.Parameter(rows, requires_grad=self.positional_embedding.requires_grad)
        self.attn_mask = self.attn_mask[:length, :length].clone()
        self.context_length = self.num_pos = length
        return self
