"""Which arms a study has, and what it is refused for before anything trains."""

import dataclasses

import pytest

from lmjax import Config, TrainConfig, UsageError
from lmjax.study.spec import Study, choices, config_of, grid, one_factor_in, one_factor_out, study_of, validate, zipped

NORMS = (('model.norm=layer',), ('model.norm=rms',))


def test_arms_of_each_design():
    assert one_factor_in({'model.norm': 'layer', 'model.bias': True}) == ((), ('model.norm=layer',), ('model.bias=True',))
    assert one_factor_out({'model.norm': 'rms', 'model.bias': True}, {'model.norm': 'layer', 'model.bias': False}) == (
        ('model.norm=rms', 'model.bias=True'),
        ('model.norm=layer', 'model.bias=True'),
        ('model.norm=rms', 'model.bias=False'),
    )
    assert grid({'a': (1, 2), 'b': (3, 4)}) == (('a=1', 'b=3'), ('a=1', 'b=4'), ('a=2', 'b=3'), ('a=2', 'b=4'))
    assert zipped({'a': (1, 2), 'b': (3, 4)}) == (('a=1', 'b=3'), ('a=2', 'b=4'))
    with pytest.raises(UsageError, match='as many values'):
        zipped({'a': (1, 2), 'b': (3,)})


def test_a_rate_that_is_varied_beside_something_else_is_tuned():
    study = study_of(Config(), ['model.norm=layer,rms', 'optim.learning_rate=1e-3,3e-3,1e-2'])
    assert study.arms == NORMS
    assert choices(study) == tuple((f'optim.learning_rate={rate}',) for rate in ('1e-3', '3e-3', '1e-2'))
    alone = study_of(Config(), ['optim.learning_rate=1e-3,3e-3'])
    assert alone.arms == (('optim.learning_rate=1e-3',), ('optim.learning_rate=3e-3',))
    assert choices(alone) == ((),)


def test_a_run_has_the_arm_the_choice_and_the_seed():
    study = Study(base=Config(train=TrainConfig(metric='loss_nats')), arms=NORMS, metric='accuracy')
    config = config_of(study, NORMS[1], ('optim.learning_rate=0.5',), 3)
    assert (config.model.norm, config.optim.learning_rate, config.seed, config.train.metric) == ('rms', 0.5, 3, 'accuracy')
    assert not study.lower
    assert Study().lower


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'arms': NORMS[:1]}, 'fewer than two'),
        ({'arms': (*NORMS, ('model.norm=rms', 'model.depth=4'))}, "changes nothing against 'model.norm=rms'"),
        ({'arms': ((), ('seed=1',))}, 'every arm runs on the same seeds'),
        ({'arms': ((), ('train.log_every=3',))}, 'changes nothing that is learned'),
        ({'arms': ((), ('model.nrom=rms',))}, "did you mean 'model.norm'"),
        ({'seeds': 1}, 'says nothing of chance'),
        ({'tune_seeds': 0}, 'use 1 or more'),
        ({'tune': ('model.norm=rms,layer',)}, 'is what each arm is tuned over'),
        ({'tune': ('optim.learning_rate=1e-3',)}, 'two or more values'),
        ({'tune': ('optim.learning_rate=1e-3,x',)}, 'is no float'),
        ({'metric': 'bleu'}, 'choose one of: loss_nats'),
        ({'margin': -1.0}, 'the largest difference'),
        ({'confidence': 95.0}, 'use a share'),
        ({'test': 'anova'}, 'choose one of: student'),
        ({'test': 'permutation', 'seeds': 5}, r'cannot get p below 0.0625 of 5 seeds, and 0.05 is asked; use 6 seeds'),
    ],
)
def test_what_could_not_answer_is_refused(change, message):
    study = Study(arms=NORMS)
    validate(study)
    with pytest.raises(UsageError, match=message):
        validate(dataclasses.replace(study, **change))


def test_more_arms_ask_more_seeds_of_an_exact_test():
    arms = ((), *((f'model.depth={depth}',) for depth in range(5, 10)))  # five against the base
    validate(Study(arms=arms, test='wilcoxon', seeds=8))
    with pytest.raises(UsageError, match='use 8 seeds'):
        validate(Study(arms=arms, test='wilcoxon', seeds=7))
