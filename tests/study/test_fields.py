"""Fields are set by path, typed as they are, and refused with the nearest name."""

import pytest

from lmjax import Config, RecurrentConfig, TransformerConfig, UsageError
from lmjax.study.fields import split_values, with_fields


def test_values_take_the_type_of_the_field():
    base = Config()
    changes = ('model.norm=layer', 'optim.learning_rate=3e-4', 'model.depth=2', 'model.bias=true', "optim.rates=('a=1','b=0')")
    made = with_fields(base, (*changes, 'config.seed=7'))
    assert (made.model.norm, made.optim.learning_rate, made.model.depth, made.model.bias) == ('layer', 3e-4, 2, True)
    assert made.optim.rates == ('a=1', 'b=0')
    assert made.seed == 7
    assert base == Config()  # the base stays as it was


def test_another_kind_of_network_takes_over_what_both_have():
    base = Config(model=TransformerConfig(depth=3, dropout=0.25, init='gpt2', width=32))
    made = with_fields(base, ('model.kind=recurrent', 'model.hidden=24'))
    assert made.model == RecurrentConfig(depth=3, dropout=0.25, hidden=24)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('model.nrom=rms', "did you mean 'model.norm'"),
        ('model.depth=two', 'is no int'),
        ('model.bias=maybe', 'is no bool'),
        ('optim.learning_rate=fast', 'is no float'),
        ('optim.rates=(', 'is no tuple'),
        ('model.kind=rnn', 'choose one of: transformer'),
        ('model.norm', 'write it as path=value'),
    ],
)
def test_what_no_field_can_have_is_refused(change, message):
    with pytest.raises(UsageError, match=message.replace('(', r'\(')):
        with_fields(Config(), (change,))


def test_commas_within_brackets_and_quotes_part_nothing():
    assert split_values("layer, rms,('a','b'),()") == ['layer', 'rms', "('a','b')", '()']
    assert split_values("'a,b',c") == ["'a,b'", 'c']
