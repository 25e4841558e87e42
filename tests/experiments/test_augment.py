"""More texts of a file: reworded, translated there and back, and what is left out."""

import json

from command_lines import ask

SAID = """
import numpy as np

WORDS = {'good': (1, 0), 'fine': (1, 0.1), 'film': (0, 1), 'movie': (0.1, 1), 'zebra': (-1, -1)}

class Run:
    def __init__(self, name):
        self.name, self.tokenizer = name, None
    def need_tokenizer(self):
        pass
    def word_vectors(self, words):
        vectors = np.array([WORDS[word] for word in words], float)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    def predict(self, texts):
        assert all(texts)
        told = {'there': str.upper, 'back': lambda text: '' if 'LOST' in text else 'so ' + text.lower()}
        return [{'target': told[self.name](text)} for text in texts]

module.own_words = lambda tokenizer: list(WORDS)
lmjax.load = Run
"""


def test_texts_are_said_in_other_words_and_what_is_no_other_is_left_out(tmp_path):
    texts = [('A good film.', 'yes'), ('42', 'no'), ('lost', 'no')]
    (tmp_path / 'rows.csv').write_text('text,label\n' + ''.join(f'"{text}",{label}\n' for text, label in texts))
    given = [f'--data=labelled:{tmp_path}/rows.csv', '--share=1']
    outs = [tmp_path / f'{name}.jsonl' for name in ('words', 'back', 'both')]
    cases = [
        [*given, f'--output={outs[0]}', '--words=x', '--times=2'],
        [*given, f'--output={outs[1]}', '--there=there', '--back=back'],
        [*given, f'--output={outs[2]}', '--words=x', '--there=there', '--back=back'],
        [*given, '--output=x', '--there=there'],
        [*given, '--output=x'],
        [*given, '--output=x', '--words=x', '--share=0'],
        [*given, '--output=x', '--words=x', '--times=0'],
    ]
    *counts, one, two, three, four = [line for (line,) in ask('augment', cases, SAID)]
    words, back, both = (
        [(row['text'], row['label']) for row in map(json.loads, path.read_text().splitlines())] for path in outs
    )
    assert words == [*texts, ('A fine movie.', 'yes')]
    assert back == [*texts, ('so a good film.', 'yes'), ('so 42', 'no')]
    assert both == [*texts, ('so a fine movie.', 'yes'), ('so 42', 'no')]
    numbers = [(3, 1, 5), (3, 2, 1), (3, 2, 1)]
    assert [tuple(json.loads(line).values()) for line in counts] == numbers
    assert one.startswith("error: --back='': goes with --there")
    assert two.startswith("error: --words='': nothing to say texts in other words by")
    assert three.startswith('error: --share=0.0: use a number above 0')
    assert four.startswith('error: --times=0: use 1 or more')
