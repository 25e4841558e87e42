"""A run end to end at a tiny size: what it writes, resuming, extending, refusing, diverging, stopping early, counting."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

import lmjax
from lmjax import (
    Config,
    DataConfig,
    LogConfig,
    NgramConfig,
    NonFiniteLossError,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    SamplingConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.training.metrics import read_metrics
from lmjax.training.run import compile_ahead
from lmjax.types import Inputs

TINY = TransformerConfig(width=8, depth=1, heads=2)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_text('\n'.join(f'{i} times {i % 7} is {i * (i % 7)}.' for i in range(400)))
    return path


@pytest.fixture
def make(text, tmp_path):
    def make(model=TINY, data=None, optim=None, **train):
        train = {'steps': 4, 'batch_size': 4, 'eval_every': 2, 'eval_batches': 2, 'log_every': 1} | train
        return Config(
            name='tiny',
            data=DataConfig(source=f'text:{text}', seq_len=16, cache_dir=str(tmp_path / 'cache'), **(data or {})),
            model=dataclasses.replace(model),
            optim=OptimConfig(**{'schedule': 'constant', 'learning_rate': 1e-2, **(optim or {})}),
            train=TrainConfig(**train),
            log=LogConfig(tensorboard=False, report=False, prompts=()),
            sample=SamplingConfig(max_new_tokens=2),
        )

    return make


@pytest.fixture
def workdir(tmp_path):
    return str(tmp_path / 'run')


def train(config, workdir, **kwargs):
    said = []
    outcome = lmjax.train(config, workdir, say=said.append, **kwargs)
    return outcome, '\n'.join(said)


def losses(workdir):
    return {row['step']: row['loss_nats'] for row in read_metrics(workdir, 'train')}


def test_a_run_writes_what_it_needs_and_loads_again(make, workdir):
    config = make()
    config.log = LogConfig()
    outcome, said = train(config, workdir)
    names = {path.name for path in pathlib.Path(workdir).iterdir()}
    assert {
        'config.json',
        'metrics.jsonl',
        'checkpoints',
        'samples.txt',
        'report.html',
        'run.json',
        'tensorboard',
        'tokenizer',
    } <= names
    assert outcome['status'] == 'complete'
    valid = read_metrics(workdir, 'valid')
    assert [row['step'] for row in valid] == [2, 4]
    assert valid[-1]['loss_nats'] == outcome['loss_nats'] < np.log(257)
    facts = json.loads((pathlib.Path(workdir) / 'run.json').read_text())
    assert facts['tokens_trained'] == 4 * 4 * 16
    assert facts['parameter_count'] == 257 * 8 + 4 * 64 + 2 * 8 * 32 + 3 * 8

    run = lmjax.load(workdir)
    assert run.config == config
    assert run.logits([1, 2, 3]).shape == (1, 3, 257)
    assert run.logits([[1, 2, 3], [4, 5, 6]]).dtype == np.float32
    whole = run.evaluate()
    assert whole['tokens'] == valid[-1]['tokens'] > valid[0]['tokens']
    again, said = train(config, workdir)
    assert again['status'] == 'complete'
    assert 'complete' in said
    with pytest.raises(UsageError, match='outside of the vocabulary'):
        run.logits([257])


def test_evaluation_agrees_with_the_logits(make, workdir):
    train(make(), workdir)
    run = lmjax.load(workdir)
    text = '12 times 5 is 6'
    separator = run.tokenizer.separator_id
    ids = np.array([separator, *run.tokenizer.encode(text), separator])  # as a document lies in the stream: one window
    logits = np.asarray(run.logits(ids))[0, :-1].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -log_probs[np.arange(len(ids) - 1), ids[1:]]
    found = run.evaluate(text)
    assert (found['tokens'], found['bytes']) == (16, 15)
    np.testing.assert_allclose(found['loss_nats'], expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(found['bits_per_byte'], expected.sum() / np.log(2) / 15, rtol=1e-5)
    np.testing.assert_allclose(found['perplexity'], np.exp(expected.mean()), rtol=1e-5)
    halves = [np.asarray(run.logits(part))[0].astype(np.float64) for part in (ids[:8], ids[8:16])]  # of what each half sees
    logits = np.concatenate(halves)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = run.evaluate(text, seq_len=8)
    assert found['seq_len'] == 8
    np.testing.assert_allclose(found['loss_nats'], -log_probs[np.arange(16), ids[1:]].mean(), rtol=1e-5)
    with pytest.raises(UsageError, match='seq_len=17: use 1 to 16, the most that this network reads at once, or 0'):
        run.evaluate(text, seq_len=17)
    with pytest.raises(UsageError, match='seq_len=-1'):
        run.evaluate(text, seq_len=-1)


LSTM = RecurrentConfig(hidden=8, embedding=4, depth=1)


@pytest.mark.parametrize('model', [dataclasses.replace(TINY, dropout=0.3), pytest.param(LSTM, marks=pytest.mark.slow)])
def test_a_resumed_run_is_the_uninterrupted_one(make, tmp_path, model):
    carry = isinstance(model, RecurrentConfig)
    kwargs = {'model': model, 'data': {'order': 'contiguous'} if carry else {}, 'carry': carry, 'optim': {'ema': 0.9}}
    whole, parts = str(tmp_path / 'whole'), str(tmp_path / 'parts')
    train(make(**kwargs), whole)
    train(make(steps=2, **kwargs), parts)
    _, said = train(make(**kwargs), parts, extend=True)
    assert 'resumes at step 2' in said
    ours, theirs = losses(parts), losses(whole)
    assert list(ours) == list(theirs) == [1, 2, 3, 4]
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-6)
    a, b = (read_metrics(path, 'valid')[-1] for path in (whole, parts))
    np.testing.assert_allclose(a['loss_nats'], b['loss_nats'], rtol=1e-6)
    assert a['params'] == 'ema'


def test_identity_fields_must_match_and_others_may_change(make, workdir):
    train(make(steps=2), workdir)
    with pytest.raises(UsageError, match=r'model\.width=16: the run in .* has 8'):
        train(make(steps=2, model=dataclasses.replace(TINY, width=16)), workdir)
    with pytest.raises(UsageError, match=r'train\.steps=4: .* add --extend'):
        train(make(), workdir)
    train(make(eval_every=1), workdir, extend=True)
    changes = [row['changed'] for row in read_metrics(workdir, 'event') if 'changed' in row]
    assert changes == [{'train.steps': [2, 4], 'train.eval_every': [2, 1]}]


def test_a_checkpoint_that_does_not_fit_is_refused(make, workdir):
    train(make(steps=2), workdir)
    path = pathlib.Path(workdir) / 'config.json'
    path.write_text(path.read_text().replace('"width": 8', '"width": 16'))
    with pytest.raises(UsageError, match=r'does not fit: .*stored float32\[257,8\] wanted float32\[257,16\]'):
        train(make(steps=4, model=dataclasses.replace(TINY, width=16)), workdir, extend=True)
    with pytest.raises(UsageError, match='does not fit'):
        lmjax.load(workdir)


def test_a_loss_that_is_not_a_number_stops_the_run(make, workdir):
    config = make(steps=200, eval_every=0, checkpoint_every=1, optim={'learning_rate': 1e30, 'optimizer': 'sgd'})
    with pytest.raises(NonFiniteLossError, match=r'step \d+: \w+ is (nan|inf); the last good checkpoint is step \d+'):
        train(config, workdir)
    (event,) = [row for row in read_metrics(workdir, 'event') if row['event'] == 'not finite']
    run = lmjax.load(workdir)
    assert event['step'] < 200
    assert all(np.isfinite(leaf).all() for leaf in run.params['embedding'].values())


def test_patience_stops_early_and_stays_stopped(make, workdir):
    config = make(steps=50, eval_every=1, patience=2, optim={'learning_rate': 3.0, 'optimizer': 'sgd', 'momentum': 0.0})
    outcome, said = train(config, workdir)
    assert 'stopped early' in said
    assert outcome['steps'] < 50
    assert train(config, workdir)[0]['status'] == 'complete'


@pytest.mark.parametrize('ema', [0.0, 0.99])
def test_init_from_takes_over_the_parameters(make, tmp_path, ema):
    """And begins an average with them."""
    train(make(), str(tmp_path / 'first'))
    config = make(optim={'learning_rate': 1e-9, 'ema': ema})
    outcome, _ = train(config, str(tmp_path / 'second'), init_from=str(tmp_path / 'first'))
    first = read_metrics(str(tmp_path / 'first'), 'valid')[-1]
    np.testing.assert_allclose(outcome['loss_nats'], first['loss_nats'], rtol=1e-5)


def test_the_moving_average_is_what_is_scored(make, workdir):
    outcome, _ = train(make(optim={'ema': 0.5}, eval_batches=0), workdir)
    found = lmjax.load(workdir).evaluate()
    assert outcome['params'] == found['params'] == 'ema'
    np.testing.assert_allclose(found['loss_nats'], outcome['loss_nats'], rtol=1e-6)


def test_a_counted_model_goes_through_the_same_run(make, workdir):
    outcome, _ = train(make(model=NgramConfig(order=4), eval_batches=0), workdir)
    assert outcome['bits_per_byte'] < 4
    run = lmjax.load(workdir)
    found = run.evaluate()
    assert found['params'] == 'params'
    np.testing.assert_allclose(found['loss_nats'], outcome['loss_nats'], rtol=1e-6)
    assert len(run.generate('7 times ', max_new_tokens=5)) == 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: setattr(c.train, 'accumulate', 3), r'train\.accumulate=3: must divide train\.batch_size=4; try (2|4)'),
        (lambda c: setattr(c.model, 'heads', 3), r'model\.width=8: must divide by model\.heads=3'),
        (lambda c: setattr(c.model, 'norm', 'rmsnorm'), r"model\.norm='rmsnorm': no such choice; choose one of: .*rms"),
        (lambda c: setattr(c.optim, 'optimizer', 'adamz'), r"optim\.optimizer='adamz'"),
        (lambda c: setattr(c.optim, 'learning_rate', -1.0), r'optim\.learning_rate=-1\.0: must'),
        (lambda c: setattr(c.train, 'carry', True), r'train\.carry=True: .*transformer has no state to carry'),
        (lambda c: setattr(c.data, 'tokenizer', 'bites'), r"data\.tokenizer='bites': no such choice"),
        (lambda c: setattr(c.data, 'source', 'text:/nowhere/*.txt'), r'data\.source=.*no file'),
        (lambda c: setattr(c.data, 'seq_len', 10**6), r'data\.seq_len=1000000: the split has'),
        (lambda c: setattr(c.mesh, 'data', 16), r'mesh'),
        (lambda c: setattr(c.mesh, 'data', 3), r'(mesh\.data|batch_size)'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(make, workdir, change, message):
    config = make()
    change(config)
    with pytest.raises(UsageError, match=message) as error:
        train(config, workdir)
    assert '\n' not in str(error.value)
    assert not (pathlib.Path(workdir) / 'checkpoints').exists()


def test_a_refused_config_does_not_bind_the_folder(make, workdir):
    config = make()
    config.model.norm = 'rmsnorm'
    with pytest.raises(UsageError, match=r"model\.norm='rmsnorm'"):
        train(config, workdir)
    assert train(make(), workdir)[0]['status'] == 'complete'


def test_data_that_is_not_text_is_refused(make, workdir, text):
    text.write_bytes(b'')
    with pytest.raises(UsageError, match=r'data\.source='):
        train(make(), workdir)
    text.write_bytes(bytes(range(256)) * 50)
    with pytest.raises(UsageError, match=r'data\.source='):
        train(make(), workdir)


@pytest.mark.parametrize(('vocab_size', 'fits'), [(300, True), pytest.param(4000, False, marks=pytest.mark.slow)])
def test_a_program_compiled_ahead_serves_only_the_vocabulary_it_was_made_for(make, workdir, monkeypatch, vocab_size, fits):
    """The text gives a vocabulary of at most some hundreds, whatever the config hopes for."""
    ahead = []
    monkeypatch.setattr('lmjax.api.LONG_PREPARATION', 0.0)
    monkeypatch.setattr('lmjax.training.run.compile_ahead', lambda *args: ahead.append(compile_ahead(*args)) or ahead[-1])
    train(make(data={'tokenizer': 'bpe', 'vocab_size': vocab_size}), workdir)
    run = lmjax.load(workdir)
    assert ahead[0].model.vocab_size == vocab_size
    assert (run.model.vocab_size == vocab_size) == fits
    assert run.logits([1, 2, 3]).shape == (1, 3, run.tokenizer.vocab_size)


def test_nothing_is_compiled_ahead_of_a_text_that_alone_can_tell(make, workdir):
    for config in (make(data={'tokenizer': 'char'}), make(NgramConfig()), make(steps=0, epochs=1)):
        assert compile_ahead(config, workdir) is None


def test_a_masked_language_model_trains_fills_and_embeds(make, workdir):
    """Tokens read are counted, not those scored; nothing is said of bits per byte; its samples are fillings."""
    encoder = dataclasses.replace(TINY, causal=False, position='learned')
    config = make(encoder, data={'specials': ('mask',), 'tokenizer': 'char'}, eval_every=0, steps=60, batch_size=16)
    config.optim.learning_rate = 0.03
    config.objective.kind = 'masked'
    config.log.prompts = ('2 times <mask> is', 'no mask')
    outcome, said = train(config, workdir)
    assert outcome['bits_per_byte'] is None
    assert outcome['bytes'] is None
    found = list(losses(workdir).values())
    assert np.mean(found[-10:]) < np.mean(found[:3]) - 0.15
    record = read_metrics(workdir, 'train')[0]
    assert record['tokens'] == 16 * 16
    assert "--- '2 times <mask> is'" in said
    assert 'no mask' not in said
    assert 'bits per byte' not in said
    run = lmjax.load(workdir)
    (fillings,) = run.fill('2 times <mask> is', count=3)
    assert [filling.probability for filling in fillings] == sorted((f.probability for f in fillings), reverse=True)
    assert f'{fillings[0].text!r} {fillings[0].probability:.3f}' in said
    vectors = run.embed(['1 is 1.', '2 times 2 is 4.'])
    assert vectors.shape == (2, 8)
    scores = [run.evaluate('3 times 3 is 9. ' * 8) for _ in range(2)]
    assert scores[0] == scores[1]
    assert 0 < scores[0]['tokens'] < 0.2 * 128
    with pytest.raises(UsageError, match="stride=4: the objective 'masked' does not score all tokens in order; leave it at 0"):
        run.evaluate('3 times 3 is 9.', stride=4)
    with pytest.raises(UsageError, match='a network without a cache cannot generate'):
        run.generate('2 times')


def test_pairs_of_texts_are_told_apart(make, workdir):
    encoder = dataclasses.replace(TINY, causal=False, token_types=2, pooler=True, classes=2, position='learned')
    config = make(encoder, data={'specials': ('mask', 'class', 'separator')}, batch_size=8)
    config.objective = ObjectiveConfig(kind='masked', pairs='order')
    outcome, _ = train(config, workdir)
    assert 0 <= outcome['row_accuracy'] <= 1
    assert 0.3 < outcome['row_loss_nats'] < 1.2
    for change, message in (
        ({'model': dataclasses.replace(encoder, classes=0)}, r"model\.classes=0: objective\.pairs='order' tells two"),
        ({'data': {'layout': 'packed'}}, r"data\.layout='packed': objective\.pairs='order' cuts windows in two"),
        ({'data': {'specials': ('mask',)}}, r"the objective needs a token for 'class'; add 'class'"),
    ):
        wrong = make(**{'model': encoder, **change})
        wrong.objective = config.objective
        with pytest.raises(UsageError, match=message):
            lmjax.train(wrong, workdir + '2')


def test_a_prefix_language_model_sees_its_prompts_whole(make, workdir):
    config = make(dataclasses.replace(TINY, init='fan_in'), steps=2)
    config.objective.kind = 'prefix'
    config.log.prompts = ('2 times 2',)
    outcome, _ = train(config, workdir)
    assert outcome['bits_per_byte'] is None
    run = lmjax.load(workdir)
    ids = run.tokenizer.encode('3 times 5 is')
    open_inputs = Inputs(ids[None], open=np.ones((1, len(ids)), bool))
    logits = jax.jit(lambda p: run.model.score(p, run.model.apply(p, open_inputs).hidden))(run.params)
    likeliest = logits[0, -1].argmax()
    assert run.generate('3 times 5 is', max_new_tokens=1, greedy=True) == [run.tokenizer.decode([int(likeliest)])]
    recurrent = make(RecurrentConfig())
    recurrent.objective.kind = 'prefix'
    with pytest.raises(UsageError, match=r"objective\.kind='prefix': shows tokens to earlier ones, which this network cannot"):
        lmjax.train(recurrent, workdir + '2')


def test_objectives_and_networks_that_contradict_each_other_are_refused(make, workdir):
    encoder = dataclasses.replace(TINY, causal=False)
    with pytest.raises(UsageError, match=r"objective\.kind='causal': this network sees later tokens, .*; use masked, or"):
        lmjax.train(make(encoder), workdir)
    config = make(encoder)
    config.objective.kind = 'masked'
    with pytest.raises(UsageError, match=r"data\.specials=\(\): the objective needs a token for 'mask'; add 'mask'"):
        lmjax.train(config, workdir)
    with pytest.raises(UsageError, match=r"data\.specials='masc': no such choice; choose one of: mask, class, separator"):
        lmjax.train(make(data={'specials': ('masc',)}), workdir)
