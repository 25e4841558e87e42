"""Arms that cost the same: what was solved for is shown, near enough, and never what an arm sets itself."""

import dataclasses

import pytest

from lmjax import Config, DataConfig, RecurrentConfig, Study, TrainConfig, TransformerConfig, UsageError
from lmjax.study.budget import TOLERANCE, cost_of, solved
from lmjax.study.fields import split_change, with_fields

VOCAB = 100
LSTM = ('model.kind=recurrent', 'model.cell=lstm', 'model.embedding=0')


def study(arms, **given):
    base = Config(
        data=DataConfig(seq_len=32),
        model=TransformerConfig(width=192, depth=2, heads=2),
        train=TrainConfig(steps=1000, batch_size=8),
    )
    return Study(base=base, arms=arms, **given)


def cost(asked, arm):
    config = with_fields(asked.base, arm)
    one = cost_of(config, VOCAB)
    return one.parameters, one.tokens * config.train.steps, one.flops * config.train.steps


def test_a_study_without_a_budget_is_left_as_it_is():
    asked = study(((), ('model.depth=4',)))
    assert solved(asked, VOCAB) is asked


def test_as_many_tokens_whatever_the_batch():
    asked = study(((), ('train.batch_size=16',), ('data.seq_len=128',)), budget='tokens')
    assert solved(asked, VOCAB).arms == (
        (),
        ('train.batch_size=16', 'train.steps=500'),
        ('data.seq_len=128', 'train.steps=250'),
    )


def test_as_many_operations_whatever_the_network():
    asked = study(((), ('model.depth=4',), ('model.width=96',), LSTM), budget='flops')
    arms = solved(asked, VOCAB).arms
    assert arms[0] == ()
    target = cost(asked, ())[2]
    for arm in arms[1:]:
        assert split_change(arm[-1])[0] == 'train.steps'
        config = with_fields(asked.base, arm)
        assert abs(cost(asked, arm)[2] - target) <= cost_of(config, VOCAB).flops / 2  # to half a step


def test_as_many_parameters_by_a_width_that_fits_the_heads():
    asked = study(((), ('model.depth=4',), ('model.feed_forward=swiglu',), LSTM), match='parameters')
    arms = solved(asked, VOCAB).arms
    assert arms[0] == ()
    target = cost(asked, ())[0]
    for arm in arms[1:]:
        assert abs(cost(asked, arm)[0] / target - 1) <= TOLERANCE
    assert split_change(arms[1][-1])[0] == 'model.width'
    assert split_change(arms[3][-1])[0] == 'model.hidden'


def test_both_at_once():
    asked = study(((), LSTM), match='parameters', budget='flops')
    arm = solved(asked, VOCAB).arms[1]
    assert [split_change(change)[0] for change in arm[-2:]] == ['model.hidden', 'train.steps']
    assert cost(asked, arm)[2] == pytest.approx(cost(asked, ())[2], rel=0.005)


def test_the_nearest_of_two_widths_is_taken():
    """Of a recurrent network any width will do: no other is nearer."""
    asked = study(((), LSTM), match='parameters')
    arm = solved(asked, VOCAB).arms[1]
    width, target = int(split_change(arm[-1])[1]), cost(asked, ())[0]
    near = {more: abs(cost(asked, (*arm[:-1], f'model.hidden={width + more}'))[0] - target) for more in (-1, 0, 1)}
    assert min(near, key=near.get) == 0


@pytest.mark.parametrize(
    ('arms', 'given', 'message'),
    [
        (((), ('train.steps=5',)), {'budget': 'tokens'}, 'train.steps is solved for'),
        (((), ('model.width=128',)), {'match': 'parameters'}, 'model.width is solved for'),
        (((), ('model.depth=4',)), {'match': 'parameters', 'solve': ('model.hidden',)}, 'has none of these fields'),
        (((), ('model.depth=20', 'model.heads=8')), {'match': 'parameters'}, 'comes no nearer to'),
        (((), ('data.layout=documents',)), {'budget': 'flops'}, "needs data.layout='windows'"),
        (((), ('data.seq_len=65536',)), {'budget': 'tokens'}, 'gets no step for it'),
    ],
)
def test_what_cannot_be_solved_is_refused(arms, given, message):
    with pytest.raises(UsageError, match=message):
        solved(study(arms, **given), VOCAB)


def test_a_budget_of_epochs_is_refused():
    asked = study(((), ('train.batch_size=16',)), budget='tokens')
    base = dataclasses.replace(asked.base, train=TrainConfig(steps=0, epochs=2))
    with pytest.raises(UsageError, match=r'set train.epochs to 0'):
        solved(dataclasses.replace(asked, base=base), VOCAB)


def test_the_two_kinds_are_what_they_say():
    assert isinstance(with_fields(study(()).base, LSTM).model, RecurrentConfig)
