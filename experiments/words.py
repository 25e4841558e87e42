"""What a network's vectors know of words: neighbours, analogies, and how well they agree with people.

    python -m experiments.words --workdir=runs/mine --neighbours=king --analogy=man,king,woman --top=10
    python -m experiments.words --workdir=hf:DIR --analogies=questions.txt --similarity=pairs.tsv --lower

A word's vector is the mean of its tokens' rows in the table of embeddings, or with `--layer=last` that of the network's states
of the word by itself. Words are sought among `--vocabulary`, a file with a word a line or a source of text, of which the
commonest `--size` are taken; by default among those that the tokenizer has a token for. Analogies are told by 3CosAdd
(Mikolov et al. 2013), the three words that are asked left out. `--analogies` has four words a line, sections after a colon;
`--similarity` two words and people's score. Both are told with 95% intervals (bootstrap over questions, over pairs). What has
a word that is not in the vocabulary is left out and counted; of pairs what the tokenizer cannot spell. The last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

import lmjax
from experiments import cli
from lmjax.config import require
from lmjax.data.sources import SOURCES, open_source
from lmjax.generate.word_vectors import is_known, own_words
from lmjax.study.statistics import bootstrap_mean
from lmjax.study.words import Vocabulary, agreement, read_pairs, read_questions, right_answers, words_of

_WORKDIR = flags.DEFINE_string('workdir', '', "A run's folder, hf:DIR, hf:NAME or gguf:FILE.")
_LAYER = flags.DEFINE_string('layer', 'table', 'table (of token embeddings) or last (the states that the network ends with).')
_VOCABULARY = flags.DEFINE_string('vocabulary', '', 'A file with a word a line, or a source of text.')
_SIZE = flags.DEFINE_integer('size', 30_000, 'How many words of a source of text, the commonest.')
_LOWER = flags.DEFINE_bool('lower', False, 'Put every word in small letters.')
_TOP = flags.DEFINE_integer('top', 10, 'How many words of each answer.')
_NEIGHBOURS = flags.DEFINE_list('neighbours', [], 'Words whose neighbours are printed.')
_ANALOGY = flags.DEFINE_list('analogy', [], 'MAN,KING,WOMAN: what is to the third as the second is to the first.')
_ANALOGIES = flags.DEFINE_string('analogies', '', 'A file of analogies, four words a line.')
_SIMILARITY = flags.DEFINE_string('similarity', '', "A file of pairs of words with people's scores.")


def main(_: Sequence[str]) -> int:
    cli.need((_WORKDIR, 'runs/mine'))
    asked = _NEIGHBOURS.value or _ANALOGY.value or _ANALOGIES.value or _SIMILARITY.value
    require(bool(asked), '--neighbours', '', 'nothing is asked; give --neighbours, --analogy, --analogies or --similarity')
    require(len(_ANALOGY.value) in (0, 3), '--analogy', ','.join(_ANALOGY.value), 'give three words, as man,king,woman')
    require(_TOP.value > 0, '--top', _TOP.value, 'use 1 or more')
    require(_SIZE.value > 0, '--size', _SIZE.value, 'use 1 or more')
    run = lmjax.load(_WORKDIR.value)
    run.need_tokenizer()
    record: dict[str, Any] = {'workdir': _WORKDIR.value, 'layer': _LAYER.value}
    if _NEIGHBOURS.value or _ANALOGY.value or _ANALOGIES.value:
        record |= of_vocabulary(make_vocabulary(run))
    if _SIMILARITY.value:
        record['similarity'] = similarity(run)
    print(json.dumps(record, ensure_ascii=False))
    return 0


def lowered(text: str) -> str:
    return text.lower() if _LOWER.value else text


def make_vocabulary(run: lmjax.Run) -> Vocabulary:
    """The words among which answers are sought, with what is asked of by name."""
    name = _VOCABULARY.value
    if not name:
        words = own_words(run.tokenizer)
    elif name.partition(':')[0] in SOURCES:
        words = words_of(open_source(name), _SIZE.value)
    else:
        words = cli.read_text('vocabulary', name).split()
    named = [*_NEIGHBOURS.value, *_ANALOGY.value]
    kept = [word for word in dict.fromkeys(map(lowered, words)) if is_known(run.tokenizer, word)]
    kept = list(dict.fromkeys([*kept, *map(lowered, named)]))
    require(len(kept) > 3, '--vocabulary', name, f'has {len(kept)} words that the tokenizer can spell; name more')
    return Vocabulary(kept, run.word_vectors(kept, layer=_LAYER.value))


def of_vocabulary(vocabulary: Vocabulary) -> dict[str, Any]:
    record: dict[str, Any] = {'vocabulary': len(vocabulary.words)}
    for word in map(lowered, _NEIGHBOURS.value):
        record.setdefault('neighbours', {})[word] = printed(word, vocabulary.neighbours(word, top=_TOP.value))
    if _ANALOGY.value:
        a, b, c = map(lowered, _ANALOGY.value)
        record['analogy'] = printed(f'{a} : {b} = {c} :', vocabulary.analogy(a, b, c, top=_TOP.value))
    if _ANALOGIES.value:
        record['analogies'] = analogies(vocabulary)
    return record


def printed(what: str, found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    print(what, ', '.join(f'{word} {cosine:.3f}' for word, cosine in found))
    return list(found)


def analogies(vocabulary: Vocabulary) -> dict[str, Any]:
    """The share of right answers, of all and of each section."""
    asked = read_questions(_ANALOGIES.value, lowered(cli.read_text('analogies', _ANALOGIES.value)))
    known = set(vocabulary.words)
    kept = [question for question in asked if known.issuperset(question.words)]
    require(bool(kept), '--analogies', _ANALOGIES.value, 'none has all its words in the vocabulary; name another, or --lower')
    right = right_answers(vocabulary, kept)
    sections = dict.fromkeys(question.section for question in kept)
    parts = {name: np.array([question.section == name for question in kept]) for name in sections}
    found = {
        'all': bootstrap_mean(right[None]),
        **{name: bootstrap_mean(right[part][None]) for name, part in parts.items() if name},
    }
    counts = {'all': len(kept), **{name: int(part.sum()) for name, part in parts.items()}}
    for name, one in found.items():
        print(f'analogies, {name}: {one.said()} of {counts[name]}')
    print(f'{len(asked) - len(kept)} of {len(asked)} analogies have a word that is not in the vocabulary')
    told = {name: {'questions': counts[name], **one._asdict()} for name, one in found.items()}
    return {**told, 'left_out': len(asked) - len(kept)}


def similarity(run: lmjax.Run) -> dict[str, Any]:
    """Spearman's correlation of cosines with people's scores."""
    asked = read_pairs(_SIMILARITY.value, lowered(cli.read_text('similarity', _SIMILARITY.value)))
    kept = [pair for pair in asked if all(is_known(run.tokenizer, word) for word in pair[:2])]
    require(
        len(kept) > 2, '--similarity', _SIMILARITY.value, f'the tokenizer can spell {len(kept)} pairs; name more, or --lower'
    )
    sides = [run.word_vectors([pair[i] for pair in kept], layer=_LAYER.value) for i in (0, 1)]
    found = agreement((sides[0] * sides[1]).sum(axis=1), np.array([pair.score for pair in kept]))
    print(f'similarity: Spearman {found.said()} of {len(kept)} pairs, {len(asked) - len(kept)} left out')
    return {'pairs': len(kept), 'left_out': len(asked) - len(kept), **found._asdict()}


if __name__ == '__main__':
    cli.run(main)
