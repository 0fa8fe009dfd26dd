"""FastTCM's kept texts: when they are reused, when they are dropped, and what export keeps."""

import copy

import pytest
import torch
from torch import nn

from fasttcm.errors import ConfigError
from fasttcm.tcm import InstanceLanguageMatching, PromptDecoder, StaticText, build_text, similarity_gate


@pytest.fixture
def fast(tiny_matching) -> InstanceLanguageMatching:
    return tiny_matching(image_conditioned=False).eval()


class CountCalls:
    """How often a module ran."""

    def __init__(self, module: nn.Module) -> None:
        self.calls = 0
        module.register_forward_hook(self.count)

    def count(self, *_: object) -> None:
        self.calls += 1


def test_eval_mode_runs_the_tower_once_for_batches_of_any_size(fast, tiny_features):
    tower = CountCalls(fast.text.encoder)
    outputs = [fast(*tiny_features(n)) for n in (1, 3, 2)]
    assert tower.calls == 1
    assert [len(output.text) for output in outputs] == [1, 3, 2]
    assert not fast.text.cached_text.requires_grad


def test_kept_equals_recomputed(fast, tiny_features):
    kept = [fast(*tiny_features()) for _ in range(2)][1]
    fast.reset_text_cache()
    torch.testing.assert_close(fast(*tiny_features()).score, kept.score, rtol=0, atol=0)
    fast.train()  # no dropout in this one
    torch.testing.assert_close(fast(*tiny_features()).score, kept.score)


def test_train_mode_recomputes_with_gradients(fast, tiny_features):
    fast.train()
    tower = CountCalls(fast.text.encoder)
    for _ in range(2):
        fast(*tiny_features()).logits.square().sum().backward()
    assert tower.calls == 2
    assert fast.text.cached_text is None
    for parameter in (fast.text.meta_query, fast.text.encoder.contexts):
        assert float(parameter.grad.abs().sum()) > 0


def test_texts_are_not_in_the_state_dict(fast, tiny_features):
    before = set(fast.state_dict())
    fast(*tiny_features())
    assert fast.text.cached_text is not None
    assert set(fast.state_dict()) == before
    assert not any("cached" in name or "frozen" in name for name in before)


def load_own(module: InstanceLanguageMatching) -> None:
    module.load_state_dict(module.state_dict())


def load_partially(module: InstanceLanguageMatching) -> None:
    module.load_state_dict({"text.meta_query": module.text.meta_query.detach() + 1}, strict=False)


def load_a_part(module: InstanceLanguageMatching) -> None:
    module.text.encoder.tower.load_state_dict(module.text.encoder.tower.state_dict())


def load_the_parent(module: InstanceLanguageMatching) -> None:
    parent = nn.Sequential(nn.ReLU(), module)
    parent.load_state_dict(parent.state_dict())


CHANGES = {
    "load": load_own,
    "load partially": load_partially,
    "load a part": load_a_part,
    "load the parent": load_the_parent,
    "train": lambda module: module.train(),
    "eval": lambda module: module.eval(),
    "eval of the parent": lambda module: nn.Sequential(module).eval(),
    "float64": lambda module: module.double(),
    "device": lambda module: module.to("cpu"),
    "reset": lambda module: module.reset_text_cache(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_drops_the_texts(fast, tiny_features, change):
    fast(*tiny_features())
    assert fast.text.cached_text is not None
    CHANGES[change](fast)
    assert fast.text.cached_text is None


def test_loaded_weights_are_used_at_once(fast, tiny_matching, tiny_features):
    fast(*tiny_features())
    other = tiny_matching().eval()
    other.text.meta_query.data += 1
    other.text.encoder.contexts.data *= 2
    expected = other(*tiny_features()).score
    assert not torch.allclose(fast(*tiny_features()).score, expected, atol=1e-4)
    fast.load_state_dict(other.state_dict())
    torch.testing.assert_close(fast(*tiny_features()).score, expected)


def test_weights_edited_by_hand_need_a_reset(fast, tiny_features):
    before = fast(*tiny_features()).score
    fast.text.encoder.contexts.data *= 3
    torch.testing.assert_close(fast(*tiny_features()).score, before, rtol=0, atol=0)
    fast.reset_text_cache()
    assert not torch.allclose(fast(*tiny_features()).score, before, atol=1e-4)


def test_a_copy_keeps_texts_of_its_own(fast, tiny_features):
    fast(*tiny_features())
    twin = copy.deepcopy(fast)
    load_a_part(twin)
    assert twin.text.cached_text is None
    assert fast.text.cached_text is not None


def test_texts_computed_in_inference_mode_serve_gradients_later(fast, tiny_features):
    with torch.inference_mode():
        fast(*tiny_features())
    image, visual = tiny_features()
    fast(image.requires_grad_(), visual).score.sum().backward()
    assert float(image.grad.abs().sum()) > 0


def test_frozen_texts_replace_the_tower(fast, tiny_features, sizes):
    expected = fast(*tiny_features())
    fast.freeze_text()
    assert not [
        name for name in fast.state_dict() if "encoder" in name or "meta_query" in name or "generator.prompt" in name
    ]
    assert fast.state_dict()["text.frozen_text"].shape == (1, 1, sizes.embed_dim)
    torch.testing.assert_close(fast(*tiny_features()).score, expected.score)
    assert fast.train().text.training  # what is around the constant may train
    torch.testing.assert_close(fast(*tiny_features()).score, expected.score)
    fast.double().float()
    fast.eval()
    torch.testing.assert_close(fast(*tiny_features()).score, expected.score)

    fast.freeze_text()  # a second time changes nothing
    text = build_text(tower=None, embed_dim=sizes.embed_dim, image_conditioned=False)
    loaded = InstanceLanguageMatching(
        text=text,
        context_decoder=PromptDecoder(embed_dim=sizes.embed_dim, width=16, heads=2, layers=1),
        visual_prompt_generator=PromptDecoder(embed_dim=sizes.embed_dim, width=16, heads=2, layers=1),
        embed_dim=sizes.embed_dim,
    )
    loaded.load_state_dict(fast.state_dict())
    torch.testing.assert_close(loaded.eval()(*tiny_features()).score, expected.score)


class ScoreOnly(nn.Module):
    """torch.export returns tensors, not our dataclass."""

    def __init__(self, matching: InstanceLanguageMatching) -> None:
        super().__init__()
        self.matching = matching

    def forward(self, image: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        return self.matching(image, visual).score


def test_frozen_form_can_be_exported(fast, tiny_features):
    expected = fast(*tiny_features()).score
    fast.freeze_text()
    program = torch.export.export(ScoreOnly(fast), tiny_features())
    torch.testing.assert_close(program.module()(*tiny_features()), expected)


def test_tcm_cannot_be_frozen(tiny_matching):
    with pytest.raises(ConfigError, match="depend on the image"):
        tiny_matching(image_conditioned=True).freeze_text()
    with pytest.raises(ConfigError, match="need the text tower"):
        build_text(tower=None, embed_dim=64, image_conditioned=True)
    with pytest.raises(ConfigError, match="number of classes"):
        StaticText(encoder=None, prompt_generator=None)


def test_tcm_without_language_prompt_is_kept_too_but_not_gated(tiny_matching, tiny_features):
    matching = tiny_matching(image_conditioned=True, language_prompt=False).eval()
    tower = CountCalls(matching.text.encoder)
    outputs = [matching(*tiny_features(seed=seed)) for seed in (0, 1)]
    assert tower.calls == 1
    assert outputs[0].gate is None


def test_similarity_gate_by_hand():
    # t = (0, 2) and g = (3, 4): unit vectors (0, 1) and (0.6, 0.8), cosine 0.8.
    gated = similarity_gate(torch.tensor([[[0.0, 2.0]]]), torch.tensor([[3.0, 4.0], [0.0, -5.0]]))
    torch.testing.assert_close(gated.gate[:, 0, 0], torch.tensor([0.8, -1.0]))
    torch.testing.assert_close(gated.embeddings[:, 0], torch.tensor([[0.48, 1.64], [0.0, 2.0]]))
