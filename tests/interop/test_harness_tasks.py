"""lm-evaluation-harness itself, without a network, on tasks made here: its scores against ones worked out by hand."""

import json
import math
import re

import jax
import numpy as np
import pytest

import lmjax
from lmjax.config import UsageError
from lmjax.data.tokenizers import CharTokenizer
from lmjax.generate.likelihoods import continuation_likelihoods, rolling_windows
from lmjax.interop.harness import language_model
from lmjax.interop.harness_tasks import answer_rows, as_json, find_tasks, scores, table
from lmjax.models import build
from lmjax.models.config import RecurrentConfig, TransformerConfig

lm_eval = pytest.importorskip('lm_eval')

CONTEXT = 32
LETTERS = CharTokenizer('\n .abcdefghijklmnopqrstuvwxyz')
CONFIGS = {
    'lstm': RecurrentConfig(hidden=6, embedding=4, depth=1),
    'transformer': TransformerConfig(width=8, depth=1, heads=2, init='fan_in'),
}
DRAW = np.random.default_rng(0)
ROWS = [
    {'text': f'{"".join(DRAW.choice(list("abcdefgh"), 3 + i % 40))} is', 'label': int(DRAW.integers(2)), 'answer': 'ab'}
    for i in range(16)
]
ANSWERS = ['good', 'so bad']
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
doc_to_text: "{{{{text}}}}"
"""
CHOICE = """
output_type: multiple_choice
doc_to_choice: [good, so bad]
doc_to_target: label
metric_list: [{metric: acc}]
"""
ROLLING = """
output_type: loglikelihood_rolling
doc_to_target: "{{text}}"
doc_to_text: ""
metric_list: [{metric: bits_per_byte}]
"""
ENDING = """
output_type: loglikelihood
doc_to_target: answer
metric_list: [{metric: perplexity}, {metric: acc}]
"""
WRITING = """
output_type: generate_until
doc_to_target: answer
generation_kwargs: {until: [d], max_gen_toks: 9}
metric_list: [{metric: exact_match}]
"""
KINDS = {'choice': CHOICE, 'rolling': ROLLING, 'ending': ENDING, 'writing': WRITING}


@pytest.fixture(autouse=True, scope='module')
def _quick_compilation():
    """Small programs that run a few times: compiled in half of the time."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module', params=CONFIGS)
def run(request):
    config = lmjax.Config(model=CONFIGS[request.param], data=lmjax.DataConfig(seq_len=CONTEXT))
    model = build(config.model, vocab_size=LETTERS.vocab_size, seq_len=CONTEXT)
    params = jax.tree.map(lambda leaf: 4 * leaf, jax.jit(model.init)(jax.random.key(2), {}))
    return lmjax.Run(request.param, config, model, params, LETTERS)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tasks')
    (folder / 'rows.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
    for name, rest in KINDS.items():
        (folder / f'{name}.yaml').write_text(TASK.format(name=name, file=folder / 'rows.jsonl') + rest)
    return str(folder)


@pytest.fixture(scope='module')
def found(run, folder, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv('HF_HOME', str(tmp_path_factory.mktemp('hf')))
    yield run.harness(folder)
    patch.undo()


def likelihoods(run, pairs):
    ids = [(LETTERS.encode(before).tolist(), LETTERS.encode(after).tolist()) for before, after in pairs]
    return [each.log_likelihood for each in continuation_likelihoods(run.model, run.params, ids, context=run.context)]


def by_task(found):
    return {(row['task'], row['metric']): row for row in scores(found)}


def test_accuracy_is_the_one_that_likelihoods_give(run, found):
    told = np.array([likelihoods(run, [(row['text'], f' {answer}') for answer in ANSWERS]) for row in ROWS]).argmax(1)
    right = told == [row['label'] for row in ROWS]
    row = by_task(found)['choice', 'acc']
    assert row['value'] == right.mean()
    assert 0 < right.mean() < 1
    np.testing.assert_allclose(row['stderr'], right.std(ddof=1) / math.sqrt(len(ROWS)))
    rows = answer_rows({**found, 'samples': {'choice': found['samples']['choice']}})
    assert [one['told'] for one in rows] == [f' {ANSWERS[one]}' for one in told]
    assert [one['label'] == one['told'] for one in rows] == right.tolist()


def test_perplexity_is_the_one_that_likelihoods_give(run, found):
    told = likelihoods(run, [(row['text'], row['answer']) for row in ROWS])
    np.testing.assert_allclose(by_task(found)['ending', 'perplexity']['value'], math.exp(-np.mean(told)), rtol=1e-5)
    assert by_task(found)['ending', 'perplexity']['stderr'] > 0


def test_bits_per_byte_count_every_token_once(run, found):
    windows = [window for row in ROWS for window in rolling_windows(LETTERS.encode(row['text']).tolist(), 0, run.context)]
    told = continuation_likelihoods(run.model, run.params, windows, context=run.context)
    size = sum(len(row['text']) for row in ROWS)
    bits = -sum(each.log_likelihood for each in told) / math.log(2) / size
    np.testing.assert_allclose(by_task(found)['rolling', 'bits_per_byte']['value'], bits, rtol=1e-5)


def test_what_is_written_is_what_the_network_writes_alone(run, found):
    for sample in found['samples']['writing'][4:6]:
        alone = run.generate(sample['doc']['text'], greedy=True, max_new_tokens=9, stop=('d',))
        assert sample['filtered_resps'] == alone


def test_the_table_and_the_file_hold_every_score(found):
    lines = table(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + len(list(scores(found)))
    tidy = [re.sub(r' +', ' ', line).strip('| ') for line in lines]
    row = by_task(found)['choice', 'acc']
    assert ['choice', 'none', '0', 'acc', f'{row["value"]:.4f}', f'{row["stderr"]:.4f}'] in [line.split(' | ') for line in tidy]
    kept = json.loads(as_json(found))
    assert kept['results']['choice']['acc,none'] == row['value']
    assert 'samples' not in kept


@pytest.mark.parametrize('run', ['lstm'], indirect=True)
def test_limit_and_shots(run, folder):
    found = run.harness(f'{folder}/choice.yaml', limit=3, shots=1)
    assert [sample['doc_id'] for sample in found['samples']['choice']] == [0, 1, 2]
    (context, _), _ = found['samples']['choice'][0]['arguments']
    assert context.count('\n\n') == 1
    assert context.endswith(ROWS[0]['text'])


@pytest.mark.parametrize('run', ['lstm'], indirect=True)
@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'tasks': 'no/such'}, 'no such folder or YAML file'),
        ({'tasks': 'gone.yaml'}, 'no such folder or YAML file'),
        ({'tasks': '{empty}'}, 'has no YAML file with a task'),
        ({'tasks': ''}, 'names no task'),
        ({'tasks': '{broken}'}, 'cannot be loaded .*FileNotFoundError'),
        ({'limit': -1}, 'limit=-1'),
        ({'shots': -1}, 'shots=-1'),
        ({'chat': True}, "tokenizer='char': has no chat template"),
    ],
)
def test_bad_input_is_one_line(run, folder, tmp_path, change, words):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken/task.yaml').write_text(TASK.format(name='broken', file=tmp_path / 'gone.jsonl') + CHOICE)
    given = {'tasks': folder, **change}
    given['tasks'] = given['tasks'].format(empty=tmp_path / 'empty', broken=tmp_path / 'broken')
    with pytest.raises(UsageError, match=words) as error:
        run.harness(**given)
    assert '\n' not in str(error.value)


@pytest.mark.slow  # reads all of the harness's own tasks
def test_a_name_is_one_of_the_harness_s_own():
    assert find_tasks('lambada_openai')[1] == ['lambada_openai']
    with pytest.raises(
        UsageError, match=r"tasks='lambda_openai': no such folder or YAML file, and not one of the harness's own"
    ):
        find_tasks('lambda_openai')


@pytest.mark.parametrize('run', ['lstm'], indirect=True)
def test_a_group_counts_its_tasks_once(run, folder, tmp_path):
    for name in ('one', 'two'):
        (tmp_path / f'{name}.yaml').write_text(TASK.format(name=name, file=f'{folder}/rows.jsonl') + CHOICE)
    both = 'group: both\ntask: [one, two]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n'
    (tmp_path / 'both.yaml').write_text(both)
    values = {row['task']: row['value'] for row in scores(run.harness(str(tmp_path), limit=4))}
    assert values.keys() == {'both', 'one', 'two'}


@pytest.mark.parametrize('run', ['lstm'], indirect=True)
def test_texts_are_split_and_windowed_as_the_harness_s_own_models_do(run):
    from lm_eval.api.model import TemplateLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    class Theirs(TemplateLM):
        eot_token_id = int(LETTERS.encode('\n')[0])
        loglikelihood_rolling = generate_until = None

        def tok_encode(self, string, add_special_tokens=None, **kwargs):
            return LETTERS.encode(string).tolist()

        def _loglikelihood_tokens(self, requests, **kwargs):
            return [(before, after) for _, before, after in requests]

    text, request = 'a bc  de f\n g ', type('Request', (), {})
    for at in range(len(text) - 1):
        request.args = (text[:at], text[at:])
        if text[:at].strip() or not at:
            assert [run.examinee.split(*request.args)] == Theirs().loglikelihood([request], disable_tqdm=True)
    for size in (1, 31, 32, 33, 64, 80):
        row = DRAW.integers(1, 20, size).tolist()
        theirs = map(make_disjoint_window, get_rolling_token_windows(row, 0, CONTEXT, 1))
        assert list(rolling_windows(row, 0, CONTEXT)) == list(theirs)


@pytest.mark.parametrize('run', ['lstm'], indirect=True)
def test_the_harness_s_own_entry_takes_the_model(run, folder):
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folder, include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=language_model(run.examinee), tasks=['choice'], task_manager=manager, limit=5, torch_random_seed=None
    )
    assert found['n-samples']['choice']['effective'] == 5
    assert (
        by_task(found)['choice', 'acc']['value']
        == by_task(run.harness(f'{folder}/choice.yaml', limit=5))['choice', 'acc']['value']
    )
