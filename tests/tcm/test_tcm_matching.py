import math

import pytest
import torch

from fasttcm.errors import ConfigError
from fasttcm.tcm import InstanceLanguageMatching, PromptDecoder, SpotterMatchedBackbone, SpotterMatching, matching_key

ONE_TO_CHOOSE_FROM = (
    "context_decoder.decoder.0.self_attn.q_proj",
    "context_decoder.decoder.0.self_attn.k_proj",
    "visual_prompt_generator.decoder.0.cross_attn.q_proj",
    "visual_prompt_generator.decoder.0.cross_attn.k_proj",
    "visual_prompt_generator.decoder.0.norm2",
)
"""With one class the softmax over classes is constant: these get a gradient of zero."""


@pytest.mark.parametrize("image_conditioned", [True, False], ids=["tcm", "fasttcm"])
@pytest.mark.parametrize(
    ("prompt_kind", "class_texts"),
    [
        ("predefined", ("text",)),
        ("predefined+learnable", ("text",)),
        ("predefined+learnable", ("text", "the night sky")),
        ("learnable", ("text",)),
    ],
)
@pytest.mark.parametrize("language_prompt", [True, False], ids=["cue", "no cue"])
def test_every_trainable_parameter_gets_a_gradient(
    tiny_matching, tiny_features, image_conditioned, prompt_kind, class_texts, language_prompt
):
    matching = tiny_matching(
        image_conditioned=image_conditioned,
        prompt_kind=prompt_kind,
        class_texts=class_texts,
        language_prompt=language_prompt,
        num_contexts=5,
    ).train()
    matching(*tiny_features()).logits.square().sum().backward()
    trainable = {name: p for name, p in matching.named_parameters() if p.requires_grad}
    assert not [name for name, p in trainable.items() if p.grad is None]
    silent = [name for name, p in trainable.items() if not float(p.grad.abs().sum()) > 0]
    assert all(len(class_texts) == 1 and name.startswith(ONE_TO_CHOOSE_FROM) for name in silent), silent
    assert not any(".tower." in name for name in trainable)


def test_score_is_the_cosine_of_every_cell(tiny_matching, tiny_features):
    matched = tiny_matching(class_texts=("text", "sky")).eval()(*tiny_features(2, 3, 4))
    assert matched.score.shape == (2, 2, 3, 4)
    for n, k, y, x in [(0, 0, 0, 0), (1, 1, 2, 3), (1, 0, 1, 2)]:
        expected = torch.cosine_similarity(matched.visual[n, :, y, x], matched.text[n, k], dim=0)
        torch.testing.assert_close(matched.score[n, k, y, x], expected)
    torch.testing.assert_close(matched.logits, matched.score / 0.07)
    assert matched.gate.shape == (2, 2, 1)


def test_logit_scale_multiplies_the_score_once(tiny_matching, tiny_features):
    plain = tiny_matching().eval()(*tiny_features())
    scaled = tiny_matching(logit_scale=True).eval()
    assert float(scaled.logit_scale.detach()) == pytest.approx(math.log(1 / 0.07))
    matched = scaled(*tiny_features())
    torch.testing.assert_close(matched.logits, matched.score)
    torch.testing.assert_close(matched.score, plain.score / 0.07)


@pytest.mark.parametrize("image_conditioned", [True, False], ids=["tcm", "fasttcm"])
def test_images_of_a_batch_do_not_influence_each_other(tiny_matching, tiny_features, image_conditioned):
    matching = tiny_matching(image_conditioned=image_conditioned).eval()
    image, visual = tiny_features(3)
    together = matching(image, visual).score
    for n in range(3):
        torch.testing.assert_close(matching(image[n : n + 1], visual[n : n + 1]).score, together[n : n + 1])


def test_tcm_text_follows_the_image_and_fasttcm_text_does_not(tiny_matching, tiny_features):
    for image_conditioned in (True, False):
        source = tiny_matching(image_conditioned=image_conditioned).eval().text
        if image_conditioned:
            first, second = source(tiny_features(2)[0]).embeddings.detach()
            assert float((first - second).abs().max()) > 1e-3
        else:
            assert source.text().shape == (1, 1, 64)


@torch.no_grad()
def test_prompts_change_the_score(tiny_matching, tiny_features):
    matching = tiny_matching().eval()
    both = matching(*tiny_features()).score
    matching.vis_gamma.data.zero_()
    without_visual = matching(*tiny_features()).score
    matching.gamma.data.zero_()
    without_any = matching(*tiny_features()).score
    assert float((both - without_visual).abs().max()) > 1e-3
    assert float((without_visual - without_any).abs().max()) > 1e-3


def test_empty_batch(tiny_matching, tiny_features):
    for image_conditioned in (True, False):
        assert tiny_matching(image_conditioned=image_conditioned).eval()(*tiny_features(0)).score.shape == (0, 1, 3, 4)


def test_decoder_treats_memory_as_a_set_and_queries_alike():
    torch.manual_seed(0)
    decoder = PromptDecoder(embed_dim=8, width=8, heads=2, layers=2).eval()
    tokens, memory = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    output = decoder(tokens, memory)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(decoder(tokens[:, order], memory.flip(1)), output[:, order])


def test_decoder_initialisation_and_dropout():
    torch.manual_seed(0)
    decoder = PromptDecoder(embed_dim=128, dropout=0.5)
    weight = decoder.out_proj[1].weight.detach()
    assert float(weight.std()) == pytest.approx(0.02, rel=0.05)
    assert float(decoder.out_proj[1].bias.detach().abs().max()) == 0
    tokens, memory = torch.randn(1, 3, 128), torch.randn(1, 5, 128)
    assert not torch.equal(decoder.train()(tokens, memory), decoder(tokens, memory))
    torch.testing.assert_close(decoder.eval()(tokens, memory), decoder(tokens, memory), rtol=0, atol=0)


def test_wrong_arguments_are_named(tiny_matching):
    with pytest.raises(ConfigError, match="10 is not divisible by its 4 heads"):
        PromptDecoder(embed_dim=8, width=10)
    text = tiny_matching().text
    with pytest.raises(ConfigError, match="positive"):
        InstanceLanguageMatching(
            text=text, context_decoder=None, visual_prompt_generator=None, embed_dim=64, temperature=0.0
        )


def test_published_names_outside_the_matching_are_told_apart():
    assert matching_key("contexts") == "text.encoder.contexts"
    assert matching_key("text_encoder.ln_final.weight") == "text.encoder.tower.ln_final.weight"
    assert matching_key("neck.lateral_convs.0.weight") is None
    assert matching_key("contexts_of_another_model") is None


def test_spotter_adds_the_score_to_every_channel(tiny_matching, tiny_features):
    _, features = tiny_features()
    spotter = SpotterMatching(matching=tiny_matching(), in_channels=64, embed_dim=64, project=False).eval()
    added, matched = spotter(features)
    torch.testing.assert_close(added - features, matched.score.expand_as(features), atol=1e-6, rtol=1e-4)
    gated = SpotterMatching(
        matching=tiny_matching(), in_channels=64, embed_dim=64, project=False, learned_gamma=True
    ).eval()
    torch.testing.assert_close(gated(features)[0], features + 1e-3 * matched.score)


def test_spotter_projection_trains(tiny_matching):
    spotter = SpotterMatching(matching=tiny_matching(), in_channels=24, embed_dim=64, project=True, learned_gamma=True)
    added, matched = spotter.train()(torch.randn(2, 24, 4, 5))
    (added.square().sum() + matched.logits.square().sum()).backward()
    assert added.shape == (2, 24, 4, 5)
    assert not [name for name, p in spotter.named_parameters() if p.requires_grad and p.grad is None]


def test_spotter_limits(tiny_matching):
    with pytest.raises(ConfigError, match="one class text, not 2"):
        SpotterMatching(matching=tiny_matching(class_texts=("a", "b")), in_channels=64, embed_dim=64, project=False)
    with pytest.raises(ConfigError, match="24 channels"):
        SpotterMatching(matching=tiny_matching(), in_channels=24, embed_dim=64, project=False)


def test_spotter_backbone_changes_one_level(tiny_matching):
    from fasttcm.tcm import build_backbone

    trunk = build_backbone("imagenet_r50", weights="random", depth=18).eval()
    matching = SpotterMatching(matching=tiny_matching(), in_channels=256, embed_dim=64, project=True).eval()
    backbone = SpotterMatchedBackbone(bottom_up=trunk, level="res4", spotter_matching=matching).eval()
    images = torch.randn(1, 3, 64, 32)
    plain, output = trunk(images).features, backbone(images)
    assert output.text_logits.shape == (1, 1, 4, 2)
    changed = [name for name in plain if not torch.equal(plain[name], output.features[name])]
    assert changed == ["res4"]
    assert backbone.output_shape() == trunk.output_shape()
    with pytest.raises(ConfigError, match="p4"):
        SpotterMatchedBackbone(bottom_up=trunk, level="p4", spotter_matching=matching)
