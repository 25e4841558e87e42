"""What is said of a run at its end."""

import dataclasses

import jax
import pytest

from lmjax import Config, DataConfig, ObjectiveConfig, TransformerConfig
from lmjax.models import build
from lmjax.models.summary import forward_flops
from lmjax.training.finish import flops_per_token

VOCAB = 30
WINDOW = 16


def counted(objective, **changes):
    model = TransformerConfig(width=8, depth=1, heads=2, **changes)
    data = DataConfig(seq_len=WINDOW, specials=('mask',), sentinels=4)
    config = Config(data=data, model=model, objective=objective)
    network = build(model, vocab_size=VOCAB, seq_len=WINDOW)
    params = jax.eval_shape(network.init, jax.random.key(0), {})
    return flops_per_token(config, network, params), forward_flops(network, params, seq_len=WINDOW)


def test_work_of_a_step_is_three_forward_passes_of_what_is_scored():
    found, parts = counted(ObjectiveConfig())
    assert found == 3 * sum(parts.values()) / WINDOW
    found, parts = counted(ObjectiveConfig('masked'), causal=False)
    hidden = round(0.15 * WINDOW)
    unseen = (WINDOW - hidden) * 2 * 8 * VOCAB
    assert found == pytest.approx(3 * (sum(parts.values()) - unseen) / WINDOW)


def test_work_counts_source_and_target():
    """The source is longer than what is told of it; both are read."""
    found, _ = counted(ObjectiveConfig('spans'), encoder_depth=1)
    source, target = WINDOW - 2 + 1 + 1, 2 + 1 + 1  # two hidden tokens in one span, and the end token of each side
    matrices = 4 * 8 * 8 + 2 * 8 * 32
    encoder = source * (matrices + 2 * source * 8)
    decoder = target * (matrices + 2 * 8 * 8 + 2 * target * 8 + 2 * source * 8 + 8 * VOCAB) + source * 2 * 8 * 8
    encoder, decoder = encoder + 3 * source * 8, decoder + 4 * target * 8  # norms, whose sums are products here
    assert found == pytest.approx(3 * 2 * (encoder + decoder) / (source + target))
    more, _ = counted(dataclasses.replace(ObjectiveConfig('spans'), mask_fraction=0.5), encoder_depth=1)
    assert more > found
