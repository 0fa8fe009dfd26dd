import torch

from fasttcm.layers.point_decoder import PointDecoderLayer

SHAPES = [(4, 6), (2, 3)]
TOKENS = sum(h * w for h, w in SHAPES)
BATCH, QUERIES, POINTS, CHANNELS = 2, 5, 3, 16


def layer(**options: float) -> PointDecoderLayer:
    torch.manual_seed(0)
    made = PointDecoderLayer(channels=CHANNELS, heads=4, levels=2, sampling_points=2, feedforward=32, **options)
    torch.nn.init.normal_(made.cross.sampling_offsets.weight, std=0.1)
    torch.nn.init.normal_(made.cross.attention_weights.weight)
    return made


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    x, position = (torch.randn(BATCH, QUERIES, POINTS, CHANNELS, generator=generator) for _ in range(2))
    references = torch.rand(BATCH, QUERIES, POINTS, 2, 4, generator=generator)
    return x, position, references, torch.randn(BATCH, TOKENS, CHANNELS, generator=generator)


@torch.no_grad()
def test_instances_may_come_in_any_order():
    made, (x, position, references, source) = layer().eval(), inputs()
    order = torch.tensor([3, 0, 4, 1, 2])
    output = made(x, position, references, source, SHAPES)
    shuffled = made(x[:, order], position[:, order], references[:, order], source, SHAPES)
    assert output.shape == x.shape
    torch.testing.assert_close(shuffled, output[:, order], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_shared_terms_broadcast():
    made, (x, position, references, source) = layer().eval(), inputs()
    one_place, one_position = references[:, :, :1], position[:, :, :1]
    output = made(x, one_position, one_place, source, SHAPES)
    repeated = made(x, one_position.expand_as(x), one_place.repeat(1, 1, POINTS, 1, 1), source, SHAPES)
    torch.testing.assert_close(output, repeated)
    constant = made(x, position[0, 0], one_place, source, SHAPES)
    torch.testing.assert_close(constant, made(x, position[:1, :1].expand_as(x), one_place, source, SHAPES))


@torch.no_grad()
def test_images_do_not_see_each_other_and_padding_is_not_seen():
    made, (x, position, references, source) = layer().eval(), inputs()
    padding = torch.zeros(BATCH, TOKENS, dtype=torch.bool)
    padding[1, 5:9] = True
    before = made(x, position, references, source, SHAPES, padding)
    source[1, 5:9] = 1e4
    source[0, 0] += 1
    after = made(x, position, references, source, SHAPES, padding)
    torch.testing.assert_close(after[1], before[1])
    x[1] = 0
    torch.testing.assert_close(made(x, position, references, source, SHAPES, padding)[0], after[0])


@torch.no_grad()
def test_a_point_reaches_its_instance_and_through_it_the_others():
    made, (x, position, references, source) = layer().eval(), inputs()
    before = made(x, position, references, source, SHAPES)
    x[0, 2, 1] += 1
    moved = (made(x, position, references, source, SHAPES) - before).abs().amax(-1) > 1e-6
    assert moved[0].all() and not moved[1].any()


def test_dropout_acts_in_training_only_and_every_weight_learns():
    made, (x, position, references, source) = layer(dropout=0.3), inputs()
    with torch.no_grad():
        first, second = (made(x, position, references, source, SHAPES) for _ in range(2))
        assert not torch.allclose(first, second)
        made.eval()
        assert torch.equal(*(made(x, position, references, source, SHAPES) for _ in range(2)))
    made.train()(x, position, references, source, SHAPES).square().sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for n, p in made.named_parameters() if "in_proj_b" not in n
    )
