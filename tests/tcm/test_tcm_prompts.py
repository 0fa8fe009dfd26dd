import pytest
import torch

from fasttcm.clip import END_ID, tokenize
from fasttcm.errors import ConfigError
from fasttcm.tcm import PromptedTextEncoder, PromptGenerator


def encoder(tower, **options) -> PromptedTextEncoder:
    return PromptedTextEncoder(
        tower=tower, **{"class_texts": ("text",), "context_length": 6, "num_contexts": 3, **options}
    )


def test_contexts_stand_between_start_and_the_rest(tiny_tower):
    prompts = encoder(tiny_tower(), prompt_kind="predefined+learnable")
    sequence, end = prompts.assemble()
    words = prompts.tower.embed(prompts.token_ids)[0]
    assert sequence.shape == (1, 9, 64)
    torch.testing.assert_close(sequence[0, 0], words[0])
    torch.testing.assert_close(sequence[0, 1:4], prompts.contexts[0])
    torch.testing.assert_close(sequence[0, 4:], words[1:])
    assert end.tolist() == [3 + tokenize(["text"], 6)[0].tolist().index(END_ID)]


def test_predefined_prompt_is_clips_own_text_and_has_no_contexts(tiny_tower):
    tower = tiny_tower()
    prompts = encoder(tower, class_texts=("text", "the night sky"), prompt_kind="predefined")
    assert not hasattr(prompts, "contexts")
    torch.testing.assert_close(prompts()[0], tower(prompts.token_ids))


def test_learnable_prompt_reads_no_text(tiny_tower):
    one, other = (
        encoder(tower, class_texts=(text,), prompt_kind="learnable")
        for tower, text in ((tiny_tower(), "a"), (tiny_tower(), "b"))
    )
    sequence, end = one.assemble()
    torch.testing.assert_close(sequence, one.contexts)
    assert end.tolist() == [2]
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(), other())


def test_cue_is_added_to_every_token_of_every_class(tiny_tower):
    prompts = encoder(tiny_tower(), class_texts=("text", "the night sky"))
    cue = torch.randn(3, 64)
    plain, _ = prompts.assemble()
    sequence, end = prompts.assemble(cue)
    for image in range(3):
        for k in range(2):
            torch.testing.assert_close(sequence[2 * image + k], plain[k] + cue[image])
    assert end.tolist() == prompts.end.tolist() * 3
    texts = prompts(cue)
    assert texts.shape == (3, 2, 64)
    torch.testing.assert_close(texts[1:2], prompts(cue[1:2]))


def test_contexts_are_shared_by_all_classes_but_texts_differ(tiny_tower):
    prompts = encoder(tiny_tower(), class_texts=("text", "the night sky"))
    assert prompts.contexts.shape == (1, 3, 64)
    first, second = prompts().detach()[0]
    assert float((first - second).abs().max()) > 1e-3


def test_tower_is_frozen_and_passes_gradients_on(tiny_tower):
    prompts = encoder(tiny_tower())
    generator = PromptGenerator(embed_dim=64, text_width=64)
    prompts(generator(torch.randn(2, 64))).square().sum().backward()
    assert all(not parameter.requires_grad for parameter in prompts.tower.parameters())
    for parameter in (prompts.contexts, *generator.parameters()):
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0


def test_new_contexts_are_cut_at_two(tiny_tower):
    contexts = encoder(tiny_tower(), num_contexts=20).contexts
    assert float(contexts.abs().max()) <= 2
    assert 0.7 < float(contexts.std()) < 1.0


def test_no_images_give_no_texts(tiny_tower):
    assert encoder(tiny_tower())(torch.zeros(0, 64)).shape == (0, 1, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_texts": ("a text that is certainly too long",)}, "a text that is certainly too long"),
        ({"class_texts": ()}, "at least one class text"),
        ({"class_texts": ("a", "b"), "prompt_kind": "learnable"}, "one class"),
        ({"prompt_kind": "learned"}, "predefined, predefined\\+learnable, learnable"),
        ({"num_contexts": 0}, "at least one context"),
        ({"num_contexts": 30}, "36 tokens, 30 of them learned; the tower reads 32"),
    ],
)
def test_wrong_prompts_are_named(tiny_tower, options, message):
    with pytest.raises(ConfigError, match=message):
        encoder(tiny_tower(), **options)
