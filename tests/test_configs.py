"""Every preset loads, validates and builds abstractly; the counts that its docstring promises are checked."""

import dataclasses
import importlib
import pathlib
import re

import jax
import numpy as np
import pytest

from lmjax.config import fingerprint, from_dict, leaves, to_dict
from lmjax.models import build
from lmjax.optim import build_optimizer
from lmjax.study.spec import Study, choices, config_of
from lmjax.study.spec import validate as validate_study
from lmjax.training.state import hparams_of, init_state
from lmjax.training.validate import validate

ROOT = pathlib.Path(__file__).parent.parent
FILES = [path for path in sorted((ROOT / 'configs').rglob('*.py')) if path.stem != '__init__']
# Parameters at a vocabulary: published or by arithmetic, see each docstring.
COUNTS = {
    'gpt2_small': (50257, 124_439_808),
    'lstm_lm': (10_000, 11_364_112),
    'lstm_char': (85, 120_533),
    'rnn': (257, 257 * 256 + 256 * 256 + 256 + 256 * 257 + 257),
}
every_config = pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)


def load(path):
    return importlib.import_module('.'.join(path.relative_to(ROOT).with_suffix('').parts)).get_config()


def base(config):
    """The config of a run; that of a study is what its arms change."""
    return config.base if isinstance(config, Study) else config


def parameters(config, vocab_size):
    model = build(config.model, vocab_size=vocab_size, seq_len=config.data.seq_len)
    shapes = jax.eval_shape(model.init, jax.random.key(0), hparams_of(config))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


@every_config
def test_a_preset_builds_abstractly(path):
    config = base(load(path))
    validate(config)
    model = build(config.model, vocab_size=300, seq_len=config.data.seq_len)
    if model.traits.trainable:
        make_tx = build_optimizer(config.optim, model.axes, steps=config.train.steps or 10)
        state = jax.eval_shape(lambda key: init_state(model, make_tx, key, hparams_of(config)), jax.random.key(0))
        assert jax.tree.structure(state.params) == jax.tree.structure(jax.tree.map(lambda leaf: 0, state.params))


@pytest.mark.parametrize('path', [path for path in FILES if path.parent.name == 'studies'], ids=lambda path: path.stem)
def test_a_study_could_answer(path):
    study = load(path)
    validate_study(study)
    for arm in study.arms:
        validate(config_of(study, arm, choices(study)[0], 0))


@every_config
def test_a_preset_survives_json(path):
    config = load(path)
    again = from_dict(to_dict(config))
    assert again == config
    assert fingerprint(again) == fingerprint(config)


@every_config
def test_fields_are_scalars_or_tuples(path):
    assert all(isinstance(value, int | float | str | bool | tuple) for value in leaves(load(path)).values())


@every_config
def test_every_field_can_be_given_as_a_flag(path):
    """The flag parser reads each field's type off its class: a postponed annotation would be a string to it."""

    def check(part):
        for field in dataclasses.fields(part):
            assert not isinstance(field.type, str), (type(part), field.name)
            if dataclasses.is_dataclass(value := getattr(part, field.name)):
                check(value)

    check(load(path))


@pytest.mark.parametrize('name', COUNTS)
def test_the_published_count(name):
    vocab_size, count = COUNTS[name]
    config = importlib.import_module(f'configs.{name}').get_config()
    assert parameters(config, vocab_size) == count


def test_the_modern_preset_has_the_size_of_the_plain_one():
    modern, plain = (importlib.import_module(f'configs.{name}').get_config() for name in ('gpt_char_modern', 'gpt_char'))
    ratio = parameters(modern, 85) / parameters(plain, 85)
    assert 0.97 < ratio <= 1.0  # learned positions are all that differs


@every_config
def test_the_docstring_is_finished(path):
    text = path.read_text()
    assert not re.search(r'PARAMS_AND_RESULT|TODO', text)
    assert 'parameters' in text or path.stem == 'ngram'
