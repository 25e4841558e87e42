"""More texts to learn from: a file's labelled texts, and the same said in other words.

    python -m experiments.augment --data='labelled:reviews.jsonl#text,label@2-9/10' --words=hf:DIR --output=more.jsonl
    python -m experiments.augment --data='labelled:reviews.jsonl#text,label@2-9/10' --there=runs/en_it --back=runs/it_en \\
        --output=more.jsonl

`--words` is any network with a table of tokens: of each text `--share` of the words become one of the `--top` nearest by
cosine, if it is at least `--least` (Wang and Yang 2015). `--there` and `--back` are runs of objective.kind=seq2seq, or folders
of encoder-decoders: each text is translated and translated back (Sennrich et al. 2016). With both, texts are reworded first.
Rows have `text` and `label`; the texts themselves come first, then `--times` rounds of others. What came back as it was, empty
or as another row has it is left out and counted. Train on `labelled:more.jsonl`, and validate on other rows of the file that
was read, never on these. The last line is JSON.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Sequence

from absl import flags

import lmjax
from experiments import cli
from lmjax.config import require
from lmjax.generate.word_vectors import own_words
from lmjax.study.synonyms import near_words, reworded
from lmjax.study.words import Vocabulary

_DATA = flags.DEFINE_string('data', '', 'Texts with labels: labelled:FILE#TEXT,LABEL@ROWS.')
_OUTPUT = flags.DEFINE_string('output', '', 'The file that is written.')
_WORDS = flags.DEFINE_string('words', '', "A run's folder, hf:DIR, hf:NAME or gguf:FILE: whose words are near to which.")
_SHARE = flags.DEFINE_float('share', 0.1, 'With --words: how likely each word is to give way.')
_TOP = flags.DEFINE_integer('top', 5, 'With --words: among how many words one is drawn.')
_LEAST = flags.DEFINE_float('least', 0.5, 'With --words: the cosine that a word must reach.')
_THERE = flags.DEFINE_string('there', '', 'A run that translates the texts into another language.')
_BACK = flags.DEFINE_string('back', '', 'A run that translates them back.')
_TIMES = flags.DEFINE_integer('times', 1, 'How many others of each text.')

Texts = list[str]


def main(_: Sequence[str]) -> int:
    cli.need((_DATA, 'labelled:reviews.jsonl#text,label@2-9/10'), (_OUTPUT, 'more.jsonl'))
    require(bool(_THERE.value) == bool(_BACK.value), '--back', _BACK.value, 'goes with --there; give both, or neither')
    require(bool(_WORDS.value or _THERE.value), '--words', '', 'nothing to say texts in other words by; give it, or --there')
    require(0 < _SHARE.value <= 1, '--share', _SHARE.value, 'use a number above 0, up to 1')
    require(_TOP.value >= 1, '--top', _TOP.value, 'use 1 or more')
    require(_TIMES.value >= 1, '--times', _TIMES.value, 'use 1 or more')
    texts, labels = cli.labelled_texts('data', _DATA.value)
    ways = ([with_words(_WORDS.value)] if _WORDS.value else []) + ([there_and_back()] if _THERE.value else [])
    rows, left_out = list(zip(texts, labels, strict=True)), 0
    seen = set(rows)
    for number in range(_TIMES.value):
        for row in zip(said_otherwise(texts, ways, number), labels, strict=True):
            is_new = bool(row[0].strip()) and row not in seen
            left_out += not is_new
            rows += [row] if is_new else []
            seen.add(row)
    cli.write_rows('output', _OUTPUT.value, [{'text': text, 'label': label} for text, label in rows])
    print(json.dumps({'texts': len(texts), 'others': len(rows) - len(texts), 'left_out': left_out}))
    return 0


def said_otherwise(texts: Texts, ways: Sequence[Callable[[Texts, int], Texts]], number: int) -> Texts:
    """The texts by one way after the other, in round `number`."""
    for way in ways:
        texts = way(texts, number)
    return texts


def with_words(name: str) -> Callable[[Texts, int], Texts]:
    """Texts with words near to theirs by a network's table; another draw each round."""
    run = lmjax.load(name)
    run.need_tokenizer()
    known = own_words(run.tokenizer)
    require(len(known) > 1, '--words', name, 'its tokenizer has no token for a whole word; take another network')
    vocabulary = Vocabulary(known, run.word_vectors(known))
    near = functools.cache(lambda word: near_words(vocabulary, word, top=_TOP.value, least=_LEAST.value))

    def reword(texts: Texts, number: int) -> Texts:
        return [reworded(text, near, random.Random(f'{number} {text}'), share=_SHARE.value) for text in texts]

    return reword


def there_and_back() -> Callable[[Texts, int], Texts]:
    """Texts translated and translated back, the same each round; one that is lost on the way stays empty."""
    runs = [lmjax.load(name) for name in (_THERE.value, _BACK.value)]

    def translate(texts: Texts, number: int) -> Texts:
        for run in runs:
            told = iter(run.predict([text for text in texts if text.strip()]))
            texts = [next(told)['target'] if text.strip() else '' for text in texts]
        return texts

    return translate


if __name__ == '__main__':
    cli.run(main)
