"""Zero-shot classification: pairs that are made to learn from, and a network that is asked about each class."""

import json

import pytest
from command_lines import ask

ASKED = """
class Run:
    def predict(self, pairs):
        halves = [pair.split(chr(9)) for pair in pairs]
        sure = [0.9 if hypothesis[len('This is about '):-1] in text else 0.3 for text, hypothesis in halves]
        return [{'probabilities': {'entailment': p, 'other': 1 - p}} for p in sure]

lmjax.load = lambda workdir: Run()
"""


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pairs_are_made_and_classes_are_asked_for(tmp_path):
    kinds = ('old_cars', 'food', 'sport', 'none')
    texts = [{'text': f'{number} on {kind.replace("_", " ")}', 'label': kind} for number in range(5) for kind in kinds]
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, [*texts, {'text': 'on sport', 'label': 'food'}])))
    data = f'--data=labelled:{tmp_path}/rows.jsonl'
    pairs, told = tmp_path / 'pairs.jsonl', tmp_path / 'told.jsonl'
    cases = [
        [data, '--without=none', f'--pairs={pairs}'],
        [data, '--without=none', '--workdir=x', f'--predictions={told}'],
        [data, '--only=food,sport', '--workdir=x', '--classes=on'],
        [data],
        [data, '--workdir=x', '--only=fod'],
        [data, '--workdir=x', '--only=food'],
        [data, '--workdir=x', '--entails=yes'],
        ['--data=text:x', '--workdir=x'],
    ]
    (made,), (said, found), (_, narrow), *refused = ask('zero_shot', cases, ASKED)
    assert json.loads(made) == {'pairs': 32, 'classes': ['food', 'old_cars', 'sport']}
    right, wrong = ([row for row in rows(pairs) if row['label'] == label] for label in ('entailment', 'other'))
    assert {'premise': '0 on old cars', 'hypothesis': 'This is about old cars.', 'label': 'entailment'} in right
    assert sorted(row['premise'] for row in right) == sorted(row['premise'] for row in wrong)
    assert 3 < sum(row['label'] == 'other' for row in rows(pairs)[::2]) < 13  # no label has the even rows to itself
    wrong = {row['hypothesis'] for row in rows(pairs) if row['label'] == 'other' and row['premise'].endswith('old cars')}
    assert wrong == {'This is about food.', 'This is about sport.'}
    assert said.startswith('accuracy 0.9375 (')
    assert said.endswith(' of 16 texts; chance 0.3333')
    assert json.loads(found)['mean'] == 15 / 16
    assert [row['told'] for row in rows(told) if row['told'] != row['label']] == ['sport']
    assert sum(rows(told)[0]['probabilities'].values()) == pytest.approx(1)
    assert json.loads(narrow)['classes'] == ['food', 'on', 'sport']
    messages = [
        "--pairs='': ask by --workdir, or make --pairs",
        "--only='fod': no text has it; name some of: food, none, old_cars, sport",
        'has fewer than two classes left',
        "entails='yes': the network has no such class; choose one of: entailment, other",
        "--data='text:x': name texts with labels",
    ]
    for (line,), message in zip(refused, messages, strict=True):
        assert line.startswith('error: ')
        assert message in line
