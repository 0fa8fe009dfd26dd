"""The cross-attention decoder that TCM uses twice: as context decoder and as visual prompt generator."""

from torch import Tensor, nn
from torch.nn import functional as F

from fasttcm.errors import ConfigError

__all__ = ["PromptDecoder", "init_prompt_weights"]

INIT_STD = 0.02
"""Standard deviation of new linear weights (truncated normal; DenseCLIP)."""
MLP_RATIO = 4
"""Hidden channels of a layer's MLP as a multiple of its width."""


def init_prompt_weights(module: nn.Module) -> None:
    """Initialise the linear and normalisation layers inside a module as TCM does.

    Linear weights: normal, std 0.02, truncated at +-2; biases 0; layer normalisations 1 and 0.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            part.reset_parameters()


class _Attention(nn.Module):
    """Multi-head attention, q, k, v projections without bias, dropout on the output only."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Attend from (N, Q, width) to (N, M, width); returns (N, Q, width)."""
        attended = F.scaled_dot_product_attention(
            self._split(self.q_proj(queries)), self._split(self.k_proj(memory)), self._split(self.v_proj(memory))
        )
        return self.dropout(self.proj(attended.transpose(1, 2).flatten(2)))

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, L, width) to (N, heads, L, width / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _DecoderLayer(nn.Module):
    """Self-attention, cross-attention and MLP, each on a normalised input and added to it."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = _Attention(width=width, heads=heads, dropout=dropout)
        self.cross_attn = _Attention(width=width, heads=heads, dropout=dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(MLP_RATIO * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Update x (N, Q, width) from memory (N, M, width)."""
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed)
        x = x + self.cross_attn(self.norm2(x), memory)
        return x + self.dropout(self.mlp(self.norm3(x)))


class PromptDecoder(nn.Module):
    """Read a memory with a set of tokens, both in CLIP's embedding space, through a narrow transformer decoder.

    Context decoder: tokens = class texts, memory = image. Visual prompt generator: tokens = image cells, memory = class
    texts (TCM section 3.3 and 3.4). Parameter names are the published ones.

    Args:
        embed_dim: E, channels of tokens, memory and output (1024 with RN50).
        width: channels inside.
        heads: attention heads; divides ``width``.
        layers: decoder layers.
        dropout: probability, after every attention projection and in the MLPs; active in training.

    Raises:
        ConfigError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self, *, embed_dim: int, width: int = 256, heads: int = 4, layers: int = 3, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if width < 1 or heads < 1 or width % heads:
            raise ConfigError(f"the prompt decoder's width {width} is not divisible by its {heads} heads")
        self.memory_proj = nn.Sequential(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width), nn.LayerNorm(width))
        self.text_proj = nn.Sequential(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width))
        self.decoder = nn.ModuleList(_DecoderLayer(width=width, heads=heads, dropout=dropout) for _ in range(layers))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embed_dim))
        init_prompt_weights(self)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Update for every token (not added to it here).

        Args:
            tokens: (N, Q, E).
            memory: (N, M, E).

        Returns:
            (N, Q, E).
        """
        memory = self.memory_proj(memory)
        x = self.text_proj(tokens)
        for layer in self.decoder:
            x = layer(x, memory)
        return self.out_proj(x)
