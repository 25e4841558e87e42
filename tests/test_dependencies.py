"""The six packages that lmjax stands on: each is declared, can be imported and does its own job."""

import pathlib
import re
import subprocess
import sys
import tomllib

import jax
import jax.numpy as jnp
import numpy as np

from lmjax import OptimConfig, TransformerConfig
from lmjax.models import build

ROOT = pathlib.Path(__file__).parent.parent
SIX = {'jax', 'flax', 'optax', 'orbax-checkpoint', 'tensorflow-datasets', 'absl-py'}


def test_they_are_core_dependencies():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    assert {re.match(r'[\w-]+', line).group() for line in project['dependencies']} >= SIX


def test_jax_compiles_and_differentiates_a_network():
    model = build(TransformerConfig(width=8, depth=1, heads=2), vocab_size=5, seq_len=4)
    params = jax.jit(model.init)(jax.random.key(0), {})
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))


def test_flax_holds_the_layers():
    import flax.linen as nn

    from lmjax.models.blocks import Block

    config = TransformerConfig(width=8, depth=1, heads=2)
    lone = Block(config).init(jax.random.key(0), jnp.zeros((3, 8)))['params']
    whole = build(config, vocab_size=5, seq_len=4).init(jax.random.key(0), {})
    assert issubclass(Block, nn.Module)
    assert jax.tree.map(jnp.shape, nn.unbox(lone)) == jax.tree.map(jnp.shape, whole['layers']['0'])


def test_optax_updates_the_parameters():
    import optax

    from lmjax.optim import build_optimizer

    config = OptimConfig(optimizer='adam', learning_rate=0.1, schedule='constant', beta1=0.9, beta2=0.99, eps=1e-6)
    params, grads = {'w': jnp.ones((2, 3))}, {'w': jnp.arange(6.0).reshape(2, 3)}
    ours = build_optimizer(config, {'w': ('embed', 'mlp')}, steps=1)({'learning_rate': 0.1, 'beta1': 0.9, 'beta2': 0.99})
    theirs = optax.adam(0.1, b1=0.9, b2=0.99, eps=1e-6)
    assert isinstance(ours, optax.GradientTransformation)
    steps = [tx.update(grads, tx.init(params), params)[0]['w'] for tx in (ours, theirs)]
    np.testing.assert_allclose(*steps, rtol=1e-6)


def test_orbax_reads_what_a_checkpoint_holds(tmp_path):
    import orbax.checkpoint as ocp

    from lmjax.training.checkpoint.orbax_io import ArrayWriter

    writer = ArrayWriter()
    writer.start(tmp_path / 'arrays', {'params/w': jnp.arange(4.0)})
    writer.finish()
    writer.close()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as orbax:
        how = ocp.args.PyTreeRestore(restore_args={'params/w': ocp.RestoreArgs(restore_type=np.ndarray)})
        np.testing.assert_array_equal(orbax.restore(tmp_path / 'arrays', args=how)['params/w'], np.arange(4.0))


def test_tensorflow_datasets_reads_what_the_builder_prepared(tmp_path):
    import tensorflow_datasets as tfds

    from lmjax.data.tfds_text import build_local_text

    (tmp_path / 'a.txt').write_text('some text')
    source = build_local_text(f'{tmp_path}/a.txt', config='six', data_dir=str(tmp_path / 'sets'))
    rows = tfds.builder(source.removeprefix('tfds:'), data_dir=str(tmp_path / 'sets')).as_data_source(split='train')
    assert [row['text'] for row in rows] == [b'some text']


def test_absl_parses_the_flags():
    code = "from absl import flags; import experiments.train; print('workdir' in flags.FLAGS, 'config' in flags.FLAGS)"
    assert subprocess.check_output([sys.executable, '-c', code], text=True, cwd=ROOT).split() == ['True', 'True']
