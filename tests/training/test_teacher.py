"""Learning from a teacher and telling texts apart, as runs: from the config to what is loaded again; and what is refused."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

import lmjax
from lmjax import (
    Config,
    DataConfig,
    LogConfig,
    ObjectiveConfig,
    OptimConfig,
    RecurrentConfig,
    SamplingConfig,
    TrainConfig,
    TransformerConfig,
    UsageError,
)
from lmjax.data.special_tokens import with_specials
from lmjax.data.tokenizers import ByteTokenizer, tokenizer_class
from lmjax.interop.huggingface import export_folder
from lmjax.models import build
from lmjax.models.config import NgramConfig
from lmjax.models.families import FAMILIES
from lmjax.training.checkpoint import Checkpointer
from lmjax.training.metrics import read_metrics
from lmjax.training.program import assemble
from lmjax.training.teacher import check_teacher
from lmjax.training.validate import validate
from lmjax.types import Batch, Inputs, Teacher

TINY = TransformerConfig(width=8, depth=1, heads=2)
LSTM = RecurrentConfig(hidden=6, embedding=4, depth=1)
KEY = jax.random.key(0)
SOURCE = 'copy:length=4,documents=60'


def config_of(model, objective=None, data=None, **train):
    return Config(
        name='tiny',
        data=DataConfig(**({'source': SOURCE, 'seq_len': 16} | (data or {}))),
        model=dataclasses.replace(model),
        objective=objective or ObjectiveConfig(),
        optim=OptimConfig(schedule='constant', learning_rate=1e-2, eps=1e-3),
        train=TrainConfig(**{'steps': 2, 'batch_size': 4, 'eval_every': 0, 'log_every': 1} | train),
        log=LogConfig(tensorboard=False, report=False, prompts=()),
        sample=SamplingConfig(max_new_tokens=2),
    )


def distill(**settings):
    return ObjectiveConfig(**{'kind': 'distill', 'teacher': 'somewhere'} | settings)


def train(config, workdir, **kwargs):
    said = []
    return lmjax.train(config, str(workdir), say=said.append, **kwargs), '\n'.join(said)


@pytest.mark.slow
def test_an_lstm_learns_from_a_transformer_and_goes_on_later(tmp_path):
    teacher, moved, student = tmp_path / 'teacher', tmp_path / 'moved', tmp_path / 'student'
    train(config_of(TINY, data={'tokenizer': 'char'}), teacher)
    objective = distill(teacher=str(teacher), soft_weight=0.9, hidden='relation')
    config = config_of(LSTM, objective, {'tokenizer': 'teacher', 'source': 'copy:length=3,documents=50'})
    outcome, _ = train(config, student)
    rows = read_metrics(student, 'train')
    assert [row['loss'] == pytest.approx(row['loss_nats'], rel=1e-3) for row in rows] == [False, False]
    checkpoints = Checkpointer(student / 'checkpoints')
    sizes = [np.prod(leaf.shape) for path, leaf in checkpoints.manifest(2).leaves.items() if path.startswith('params/')]
    assert sum(sizes) == sum(leaf.size for leaf in jax.tree.leaves(lmjax.load(str(student)).params))
    assert all(path.split('/')[0] in ('step', 'root', 'params', 'opt_state') for path in checkpoints.manifest(2).leaves)

    shutil.move(teacher, moved)
    run = lmjax.load(str(student))  # needs nothing of the teacher
    assert run.tokenizer.digest == lmjax.load(str(moved)).tokenizer.digest
    np.testing.assert_allclose(run.evaluate()['loss_nats'], outcome['loss_nats'], rtol=1e-6)
    assert outcome['bits_per_byte'] > 0
    config.train.steps = 3
    with pytest.raises(
        UsageError, match=r"objective\.teacher='.*teacher': there is no such folder; name a run's, hf:DIR"
    ) as error:
        train(config, student, extend=True)
    assert '\n' not in str(error.value)
    config.objective.teacher = str(moved)
    _, said = train(config, student, extend=True)
    assert 'resumes at step 2' in said
    assert [row['step'] for row in read_metrics(student, 'train')] == [1, 2, 3]

    train(config_of(TINY, data={'tokenizer': 'char'}, steps=3), moved, extend=True)
    config.train.steps = 4
    with pytest.raises(
        UsageError, match=r"objective\.teacher='.*moved': is not the network that the run in .* has learned from"
    ):
        train(config, student, extend=True)


@pytest.mark.parametrize(
    'kind',
    [
        pytest.param('imported', marks=pytest.mark.slow),
        pytest.param('counted', marks=pytest.mark.full),
        pytest.param('masked', marks=pytest.mark.full),
    ],
)
def test_teachers_of_every_kind(tmp_path, kind):
    """Someone else's checkpoint with its tokenizer, counts, and an encoder whose hidden states are learned too."""
    teacher, student, objective = str(tmp_path / 'teacher'), LSTM, ObjectiveConfig()
    if kind == 'imported':
        tokenizer = with_specials(tokenizer_class('bpe').train(['a b c d e f g h | ' * 50], [], 260), ('mask',))
        config = config_of(FAMILIES['llama3-tiny'].model)
        params = build(config.model, vocab_size=tokenizer.vocab_size, seq_len=16).init(KEY, {})
        export_folder(config, params, tokenizer, teacher)
        teacher = f'hf:{teacher}'
    else:
        if kind == 'masked':
            student, objective = ENCODER, ObjectiveConfig('masked')
        train(config_of(NgramConfig() if kind == 'counted' else ENCODER, objective, {'specials': ('mask',)}), teacher)
    settings = {'reads': objective.kind, 'hidden': 'cosine' if kind == 'masked' else '', 'teacher': teacher}
    outcome, _ = train(
        config_of(student, distill(**settings), {'tokenizer': 'teacher', 'layout': 'packed'}), tmp_path / 'student'
    )
    assert (outcome['status'], outcome['bits_per_byte'] is None) == ('complete', kind == 'masked')
    assert lmjax.load(str(tmp_path / 'student')).tokenizer.digest == lmjax.load(teacher).tokenizer.digest


ENCODER = dataclasses.replace(TINY, causal=False, dropout=0.1)
CONTRASTIVE = ObjectiveConfig(kind='contrastive')


@pytest.mark.slow
def test_a_network_learns_to_tell_texts_apart(tmp_path):
    config = config_of(ENCODER, dataclasses.replace(CONTRASTIVE, pooling='first'), {'layout': 'documents'}, steps=3)
    config.log = LogConfig(tensorboard=False, prompts=('copy',))
    outcome, said = train(config, tmp_path / 'run')
    assert set(outcome) >= {'loss_nats', 'accuracy', 'alignment', 'uniformity', 'texts'}
    assert not set(outcome) & {'perplexity', 'bits_per_byte', 'tokens', 'bytes', 'unknown_rate'}
    assert 'nats a text, accuracy' in said
    assert 'sample' not in said
    page = (tmp_path / 'run' / 'report.html').read_text()
    assert 'nats a text; accuracy' in page
    assert 'perplexity' not in page
    run = lmjax.load(str(tmp_path / 'run'))
    np.testing.assert_allclose(run.evaluate()['loss_nats'], outcome['loss_nats'], rtol=1e-5)
    np.testing.assert_array_equal(run.embed(['abc']), run.embed(['abc'], pooling='first'))
    assert run.evaluate('some text that is long enough for windows')['texts'] == 3
    with pytest.raises(UsageError, match='text: fewer than two windows of 16 tokens; nothing can be scored'):
        run.evaluate('short')


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (config_of(TINY, CONTRASTIVE), r"model\.dropout=0\.0: objective\.kind='contrastive' tells .*; set it to 0\.1"),
        (config_of(ENCODER, CONTRASTIVE, accumulate=2), r"train\.accumulate=2: the objective 'contrastive' looks at the whole"),
        (config_of(ENCODER, CONTRASTIVE, batch_size=1), r'train\.batch_size=1: a text is told from others'),
        (config_of(ENCODER, CONTRASTIVE, eval_batch_size=1), r'train\.eval_batch_size=1: .*; use 2 or more'),
        (config_of(ENCODER, CONTRASTIVE, {'layout': 'packed'}), r"data\.layout='packed': a row must be one text; use 'doc"),
        (config_of(ENCODER, ObjectiveConfig('contrastive', pooling='max')), r"objective\.pooling='max': no such"),
        (config_of(ENCODER, ObjectiveConfig('contrastive', pooling='pooler')), r'this network has no pooler; set'),
        (config_of(ENCODER, ObjectiveConfig('contrastive', temperature=0.0)), r'objective\.temperature=0\.0: must be above 0'),
        (
            config_of(dataclasses.replace(TINY, dropout=0.1), ObjectiveConfig('contrastive', pooling='first')),
            r"objective\.pooling='first': the first token of this network has seen nothing of a text; choose mean or last",
        ),
        (config_of(NgramConfig(), CONTRASTIVE), r"objective\.kind='contrastive': is learned by gradient, and this network"),
        (config_of(LSTM, distill(teacher='')), r"objective\.teacher='': .* name a run's folder, hf:DIR, hf:NAME or gguf:FILE"),
        (config_of(LSTM, ObjectiveConfig(teacher='w')), r"objective\.teacher='w': is read by .*distill', and by 'prefer'"),
        (config_of(LSTM, data={'tokenizer': 'teacher'}), r"data\.tokenizer='teacher': goes with objective\.kind='distill'"),
        (config_of(LSTM, distill(), {'tokenizer': 'teacher', 'vocab_size': 9}), r'data\.vocab_size=9: comes with the teacher'),
        (config_of(LSTM, distill(reads='causl')), r"objective\.reads='causl': no such choice; choose one of: causal, masked"),
        (config_of(ENCODER, distill()), r"objective\.reads='causal': this network sees later tokens"),
        (config_of(NgramConfig(), distill()), r"objective\.kind='distill': is learned by gradient"),
        (config_of(LSTM, distill(soft_weight=1.5)), r'objective\.soft_weight=1\.5: use a share between 0 and 1'),
        (config_of(LSTM, distill(soft_temperature=0.0)), r'objective\.soft_temperature=0\.0: must be above 0'),
        (config_of(LSTM, distill(hidden='mse')), r"objective\.hidden='mse': no such choice; choose one of: .*cosine, relation"),
        (config_of(LSTM, distill(), {'order': 'contiguous'}, carry=True), r'train\.carry=True: a teacher remembers nothing'),
    ],
)  # fmt: skip
def test_bad_configs_are_refused_in_one_line(config, message):
    with pytest.raises(UsageError, match=message) as error:
        validate(config)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('student', 'teacher', 'tokenizer', 'context', 'message'),
    [
        (distill(), TINY, with_specials(ByteTokenizer(), ('mask',)), 16, r"data\.tokenizer='byte': its tokens are not those of "
         r"objective\.teacher='somewhere'; set data\.tokenizer='teacher'"),
        (distill(reads='masked'), TINY, None, 16, r"objective\.reads='masked': .* was trained on 'causal'"),
        (distill(), TINY, None, 8, r"data\.seq_len=16: objective\.teacher='somewhere' reads 8 tokens at once; use 8 or less"),
        (distill(hidden='cosine'), TINY, None, 16, r"objective\.hidden='cosine': the network's states have width 6, those of "
         r"objective\.teacher='somewhere' 8; use 'relation'"),
        (distill(hidden='relation'), NgramConfig(), None, None, r"objective\.hidden='relation': .* only counts"),
        (distill(hidden='relation'), TINY, None, 16, ''),
        (distill(hidden='cosine'), LSTM, None, None, ''),
        (distill(), NgramConfig(), None, None, ''),
    ],
)  # fmt: skip
def test_teachers_that_do_not_fit_are_refused(student, teacher, tokenizer, context, message):
    config, own = config_of(LSTM, student), ByteTokenizer()
    given = Teacher(build(teacher, vocab_size=257, seq_len=16), {})
    told = {'teacher_config': config_of(teacher), 'teacher_tokenizer': tokenizer or own, 'context': context}
    if not message:
        return check_teacher(config, own, given, **told)
    with pytest.raises(UsageError, match=message) as error:
        check_teacher(config, own, given, **told)
    assert '\n' not in str(error.value)


def rows(objective):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 11, (8, 17)).astype(np.int32)
    lengths = np.array([16, 3, 1, 7, 8, 1, 5, 8])
    real = (np.arange(16)[None] < lengths[:, None]).astype(np.int32)
    inputs = Inputs(ids[:, :-1], segments=real)
    if objective.kind == 'contrastive':
        return Batch(inputs, np.zeros((8, 1), np.int32), np.ones((8, 1), np.float32))
    return Batch(inputs, ids[:, 1:], real.astype(np.float32))


def test_a_teacher_s_parameters_are_an_argument_of_the_step(monkeypatch):
    """Neither of the program, which would hold a copy, nor of the state, which is saved."""
    monkeypatch.setattr('lmjax.training.program.compiler_options', lambda: None)  # a traced jit may have none
    taught = build(dataclasses.replace(TINY, width=16), vocab_size=11, seq_len=16)
    teacher = Teacher(taught, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), jax.eval_shape(taught.init, KEY, {})))
    program = assemble(config_of(LSTM, distill(), batch_size=8), 11, teacher)
    (step,) = jax.make_jaxpr(program.step)(program.like, rows(distill())).eqns
    assert sum(constant.size for constant in step.params['jaxpr'].consts) < 16
    state, batch, hparams = (len(jax.tree.leaves(tree)) for tree in (program.like, rows(distill()), program.hparams))
    assert len(step.invars) == state + batch + hparams + len(jax.tree.leaves(teacher.params))
    alone = assemble(config_of(LSTM), 11)
    assert jax.tree.structure(alone.like) == jax.tree.structure(program.like)
    assert (alone.digests, len(program.digests['teacher'])) == ({}, 64)


@pytest.mark.slow
@pytest.mark.parametrize('objective', [CONTRASTIVE, distill(hidden='relation')], ids=lambda o: o.kind)
def test_two_devices_take_the_same_step_as_one(objective):
    """The batch is one batch wherever its rows lie; the teacher lies over the mesh as a network of its own."""
    taught = build(dataclasses.replace(TINY, width=16), vocab_size=11, seq_len=16)
    teacher = Teacher(taught, jax.jit(taught.init)(jax.random.key(1), {})) if objective.kind == 'distill' else None
    found = []
    for devices in (1, 2):
        config = config_of(dataclasses.replace(TINY, dropout=0.2), objective, batch_size=8)
        config.mesh.fsdp = devices
        program = assemble(config, 11, teacher)
        state, metrics = program.step(program.init(), program.place(rows(objective)))
        found.append((metrics, state.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), *found)
