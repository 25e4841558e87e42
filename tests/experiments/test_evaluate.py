"""Tasks of lm-evaluation-harness by command: every case is a command line, its output and its exit code."""

import json
import subprocess
import sys

import pytest
from command_lines import ask

DRIVER = r"""
import contextlib, io, json, sys
from absl import flags
import lmjax
from experiments import cli, evaluate
from lmjax.data.tokenizers import CharTokenizer
from lmjax.models.config import NgramConfig
from lmjax.models.ngram import build

folder, cases = json.load(sys.stdin)
text = 'abcdefgh\n' * 20
tokenizer = CharTokenizer(''.join(sorted(set(text + ' '))))
model = build(NgramConfig(order=3), vocab_size=tokenizer.vocab_size, seq_len=8)
run = lmjax.Run(folder, lmjax.Config(model=NgramConfig(order=3)), model, model.fit(tokenizer.encode(text)), tokenizer)
lmjax.load = lambda workdir, step=None: run
answers = []
for case in cases:
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS.flags_by_module_dict()['experiments.evaluate']:
        flag.unparse()
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ['evaluate', *case]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.run(evaluate.main)
        except SystemExit as stop:
            code = stop.code or 0
    answers.append({'out': out.getvalue(), 'err': err.getvalue(), 'code': code})
json.dump(answers, sys.__stdout__)
"""
TASK = """
task: next
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: [d, h]
doc_to_target: label
target_delimiter: ""
metric_list: [{metric: acc}]
"""


def answers(folder, *cases):
    command = [sys.executable, '-c', DRIVER]
    given = json.dumps([str(folder), cases])
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_table_is_printed_and_the_results_are_written(tmp_path):
    pytest.importorskip('lm_eval')
    rows = [{'text': 'abc', 'label': 0}, {'text': 'efg', 'label': 1}, {'text': 'fg', 'label': 0}, {'text': 'bc', 'label': 0}]
    (tmp_path / 'rows.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    (tmp_path / 'next.yaml').write_text(TASK.replace('FOLDER', str(tmp_path)))
    asked = ['--harness', f'--tasks={tmp_path}', '--workdir=w']
    told = tmp_path / 'told.jsonl'
    whole, part = answers(
        tmp_path,
        [*asked, f'--predictions={told}'],
        [*asked, '--limit=2', f'--output={tmp_path}/other.json'],
    )
    assert whole['code'] == part['code'] == 0, whole['err'] + part['err']
    *lines, last = whole['out'].splitlines()
    assert '| next | none   | 0      | acc    | 0.7500 | 0.2500 |' in lines
    (row,) = json.loads(last)['tasks']
    assert (row['value'], row['stderr']) == (0.75, 0.25)
    assert json.loads((tmp_path / 'harness.json').read_text())['results']['next']['acc,none'] == 0.75
    assert json.loads((tmp_path / 'other.json').read_text())['results']['next']['acc,none'] == 1.0
    assert [json.loads(line)['told'] for line in told.read_text().splitlines()] == ['d', 'h', 'h', 'd']


def test_flags_of_the_one_way_beside_the_other_are_refused(tmp_path):
    found = answers(
        tmp_path,
        ['--harness', '--workdir=w'],
        ['--tasks=x', '--workdir=w'],
        ['--chat', '--workdir=w'],
        ['--harness', '--tasks=x', '--workdir=w', '--stride=4'],
        ['--harness', '--tasks=x', '--workdir=w', '--data=text:x'],
    )
    words = ('--tasks: missing', 'add --harness', 'add --harness', '--stride=4: is of no use', '--data=text:x: is of no use')
    for case, said in zip(found, words, strict=True):
        assert (case['code'], case['out']) == (2, '')
        assert case['err'].startswith('error: --')
        assert case['err'].count('\n') == 1
        assert said in case['err']


TOLD = """
class Told:
    config = lmjax.Config(objective=lmjax.ObjectiveConfig(kind='classify'), data=lmjax.DataConfig(source='labelled:x'))
    def tell(self, source):
        assert source == 'labelled:y'
        return [{'text': 't', 'label': a, 'told': b, 'loss_nats': 0.5} for a, b in zip('aabbab' * 5, 'aabbbb' * 5)]
    def evaluate(self, **how):
        return {'accuracy': 25 / 30}

lmjax.load = lambda workdir, step=None: Told()
"""


def test_predictions_are_written_and_their_scores_have_intervals(tmp_path):
    path = tmp_path / 'told.jsonl'
    ((*said, last),) = ask('evaluate', [['--workdir=w', '--data=labelled:y', f'--predictions={path}']], TOLD)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert (len(rows), rows[0]) == (30, {'text': 't', 'label': 'a', 'told': 'a', 'loss_nats': 0.5})
    record = json.loads(last)
    found = record['intervals']
    assert record['accuracy'] == 25 / 30
    assert list(found) == ['accuracy', 'macro_f1', 'mcc', 'loss_nats']
    assert said[0] == f'accuracy 0.8333 ({found["accuracy"][0]:.4f} to {found["accuracy"][1]:.4f}) of 30 texts'
    assert 0.6 < found['accuracy'][0] < 25 / 30 < found['accuracy'][1]
