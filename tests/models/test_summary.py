"""The table of modules: it accounts for every parameter and every operation, once."""

import jax
import pytest

from lmjax.config import UsageError
from lmjax.models import build
from lmjax.models.config import NgramConfig, RecurrentConfig, TransformerConfig
from lmjax.models.summary import summarize

SMALL = {'width': 8, 'depth': 3, 'heads': 2}


def rows(config):
    return {row.path: row for row in summarize(build(config, vocab_size=11, seq_len=4), seq_len=4)}


def test_a_transformer_by_hand():
    found = rows(TransformerConfig(**SMALL, kv_heads=1, norm='none', feed_forward='relu', attention='einsum'))
    matrices = {'w_q': (8, 2, 4), 'w_k': (8, 1, 4), 'w_v': (8, 1, 4), 'w_o': (2, 4, 8)}
    for name, shape in matrices.items():
        row = found[f'layers/0/attention/{name}']
        assert (row.shape, row.copies) == (shape, 3)
    assert found['layers/0/attention/w_o'].axes == ('heads', 'head_width', 'embed')
    projections, logits_and_sums = 64 + 32 + 32 + 64, 2 * 4 * 8  # 4 tokens x 2 heads x 4 channels, twice
    assert found['layers/0/attention'].flops == 3 * 2 * (projections + logits_and_sums)
    assert found['layers/0/feed_forward'].flops == 3 * 2 * 2 * 8 * 32
    assert found['head'].flops == 2 * 8 * 11
    assert found['head'].parameters == 0  # it is the embedding


@pytest.mark.parametrize(
    'config',
    [
        TransformerConfig(**SMALL, tied=False, remat='full'),
        TransformerConfig(**SMALL, block='parallel', scan_layers=True),
        RecurrentConfig(embedding=6, hidden=8, depth=2),
        RecurrentConfig(embedding=0, hidden=8, depth=1),
    ],
    ids=['untied', 'scanned', 'lstm', 'one_hot'],
)
def test_parts_add_up_to_the_whole(config):
    found = rows(config)
    leaves = [row for row in found.values() if row.shape is not None]
    assert sum(row.parameters for row in leaves) == found[''].parameters
    top = [row for path, row in found.items() if path and '/' not in path]
    assert sum(row.parameters for row in top) == found[''].parameters
    assert sum(row.flops for row in top) == found[''].flops
    model = build(config, vocab_size=11, seq_len=4)
    shapes = jax.eval_shape(model.init, jax.random.key(0), {})
    assert found[''].parameters == sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_layers_that_differ_are_shown_apart():
    found = rows(RecurrentConfig(embedding=6, hidden=8, depth=3))
    assert [path for path in found if path.count('/') == 1 and path.startswith('layers')] == ['layers/0', 'layers/1']
    assert [found[path].copies for path in ('layers/0', 'layers/1')] == [1, 2]


def test_counted_networks_are_refused():
    with pytest.raises(UsageError, match='as large as its text asks for'):
        rows(NgramConfig())
