"""The smallest towers and matchings, made to order: the same code as at full size."""

from collections.abc import Callable

import pytest
import torch

from fasttcm.clip import ClipSizes, TextTower
from fasttcm.tcm import InstanceLanguageMatching, PromptDecoder, build_text

SIZES = ClipSizes(
    embed_dim=64,
    layers=(1, 1, 1, 1),
    width=8,
    text_width=64,
    text_heads=1,
    text_layers=1,
    vocab_size=512,
    context_length=32,
)


def build_tower() -> TextTower:
    return TextTower(
        embed_dim=SIZES.embed_dim,
        context_length=SIZES.context_length,
        vocab_size=SIZES.vocab_size,
        width=SIZES.text_width,
        heads=SIZES.text_heads,
        layers=SIZES.text_layers,
    )


def build_matching(
    *, image_conditioned: bool = False, logit_scale: bool = False, dropout: float = 0.0, **prompt: object
) -> InstanceLanguageMatching:
    """A matching whose prompts matter (the gammas are 1 instead of 0.001)."""
    torch.manual_seed(0)

    def decoder() -> PromptDecoder:
        return PromptDecoder(embed_dim=SIZES.embed_dim, width=16, heads=2, layers=1, dropout=dropout)

    matching = InstanceLanguageMatching(
        text=build_text(tower=build_tower(), embed_dim=SIZES.embed_dim, image_conditioned=image_conditioned, **prompt),
        context_decoder=decoder(),
        visual_prompt_generator=decoder(),
        embed_dim=SIZES.embed_dim,
        logit_scale=logit_scale,
    )
    for gamma in (matching.gamma, matching.vis_gamma):
        torch.nn.init.ones_(gamma)
    for name, parameter in matching.named_parameters():
        if "proj" in name and parameter.ndim == 2:
            torch.nn.init.xavier_normal_(parameter)  # the published std of 0.02 makes prompts nearly invisible
    return matching


def build_features(n: int = 2, h: int = 3, w: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, SIZES.embed_dim, generator=generator), torch.randn(
        n, SIZES.embed_dim, h, w, generator=generator
    )


@pytest.fixture(name="sizes")
def sizes_fixture() -> ClipSizes:
    return SIZES


@pytest.fixture
def tiny_tower() -> Callable[..., TextTower]:
    return build_tower


@pytest.fixture
def tiny_matching() -> Callable[..., InstanceLanguageMatching]:
    return build_matching


@pytest.fixture
def tiny_features() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return build_features
