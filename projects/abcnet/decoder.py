"""Attention decoder: a GRU that looks at one place of the text a step and names a character."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["START_TOKEN", "AttentionDecoder", "Decoded"]

START_TOKEN = 0
"""First input of the decoder (published; also the class of the first character)."""


@dataclass
class Decoded:
    """L decoding steps of n regions whose encoding has T columns.

    Attributes:
        log_probs: (n, L, num_classes) float32.
        attention: (n, L, T) float32 weights that sum to 1 over T.
        tokens: (n, L) int64 most likely class of each step.
    """

    log_probs: Tensor
    attention: Tensor
    tokens: Tensor

    def confidence(self, end: int) -> Tensor:
        """(n,) probability of the transcription: the product over its steps, up to and with the first ``end``."""
        best = self.log_probs.gather(2, self.tokens[..., None])[..., 0]
        is_end = (self.tokens == end).int()
        past_end = is_end.cumsum(1) - is_end > 0
        return best.masked_fill(past_end, 0.0).sum(1).exp()


class AttentionDecoder(nn.Module):
    """Additive attention and a GRU, always ``max_length`` steps.

    Args:
        channels: width of the encoding, the embedding and the state.
        num_classes: characters, unknown and end.
        end: class that ends a text.
        max_length: number of steps L.
        dropout: on the embedding of the previous character, in training.
        teacher_forcing: probability that a training step is followed by the true character rather than the model's own.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        end: int,
        channels: int = 256,
        max_length: int = 25,
        dropout: float = 0.1,
        teacher_forcing: float = 0.5,
    ) -> None:
        super().__init__()
        self.end = end
        self.max_length = max_length
        self.teacher_forcing = teacher_forcing
        self.embedding = nn.Embedding(num_classes, channels)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(channels, 1)
        self.combine = nn.Linear(2 * channels, channels)
        self.cell = nn.GRUCell(channels, channels)
        self.classifier = nn.Linear(channels, num_classes)

    def step(self, encoded: Tensor, token: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One character.

        Args:
            encoded: (T, n, channels).
            token: (n,) int64 previous class.
            hidden: (n, channels).

        Returns:
            Log-probabilities (n, num_classes), the next state (n, channels) and the attention (T, n).
        """
        attention = self.score(torch.tanh(hidden + encoded))[..., 0].softmax(0)
        context = (attention[..., None] * encoded).sum(0)
        given = torch.relu(self.combine(torch.cat([self.dropout(self.embedding(token)), context], 1)))
        hidden = self.cell(given, hidden)
        return self.classifier(hidden).log_softmax(1), hidden, attention

    def forward(self, encoded: Tensor, targets: Tensor | None = None, teacher: Tensor | None = None) -> Decoded:
        """Decode n regions, in float32 whatever autocast says.

        Args:
            encoded: (T, n, channels), n > 0.
            targets: (n, L) int64 true classes; ``None`` feeds the model its own characters.
            teacher: (L,) numbers in [0, 1), one a step for the whole batch; after a step whose number is greater than
                1 - ``teacher_forcing`` the true character follows. ``None`` draws them from PyTorch's generator.
        """
        with torch.autocast(encoded.device.type, enabled=False):
            encoded = encoded.float()
            forced = self._forced(teacher, encoded.device) if targets is not None else None
            token = torch.full((encoded.shape[1],), START_TOKEN, dtype=torch.int64, device=encoded.device)
            hidden = encoded.new_zeros(encoded.shape[1:])
            steps = []
            for t in range(self.max_length):
                log_probs, hidden, attention = self.step(encoded, token, hidden)
                best = token = log_probs.argmax(1)
                if targets is not None and forced is not None:
                    token = torch.where(forced[t], targets[:, t], best)
                steps.append((log_probs, attention.T, best))
        log_probs, weights, tokens = (torch.stack(parts, 1) for parts in zip(*steps, strict=True))
        return Decoded(log_probs, weights, tokens)

    def _forced(self, teacher: Tensor | None, device: torch.device) -> Tensor:
        """(L,) bool, whether the true character follows the step."""
        if teacher is None:
            teacher = torch.rand(self.max_length, device=device)
        return (teacher.to(device) > 1 - self.teacher_forcing) | (self.teacher_forcing >= 1)
