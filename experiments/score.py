"""How likely texts are under a network, and which hypothesis of a speech recogniser it would rather have.

    python -m experiments.score --workdir=runs/mine --input=texts.txt [--tokens] [--end]
    python -m experiments.score --workdir=gguf:FILE --nbest='lists.jsonl@!0/5' --tune='lists.jsonl@0/5' [--output=FILE]

Each line of `--input` (-: the standard input) is a text, or with `FILE#FIELD` a JSON object with one in the field. Printed is a
JSON object for each: its log-likelihood in `nats`, how many `tokens` it has, and `bits_per_byte`; with `--tokens` those of each
token. Of a masked network it is the pseudo-log-likelihood of Salazar et al. (2020). `--end` also scores that the text ends.

`--nbest` has a JSON object a line, `{"hypotheses": [{"text": ..., "score": ...}, ...], "reference": ...}`, scores being the
recogniser's, of which the larger is the better. Of each list the hypothesis with the largest score + weight x nats +
word_bonus x words is taken; the two are given, or those with the fewest word errors on the lists of `--tune`, which are others.
Printed are the word error rates before, after, and of the best hypothesis that there is (oracle), with 95% intervals
(bootstrap over utterances), and what is won. `--output` is for `experiments.compare --score=wer`; the last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

import lmjax
from experiments import cli
from lmjax.config import require
from lmjax.data.sources import open_source
from lmjax.study.nbest import Lists, Weights, choose, read_lists, taken, tune, word_errors
from lmjax.study.statistics import bootstrap_mean, paired_difference
from lmjax.study.text_scores import TEXT_SCORES

_WORKDIR = flags.DEFINE_string('workdir', '', "A run's folder, hf:DIR, hf:NAME or gguf:FILE.")
_STEP = flags.DEFINE_integer('step', 0, 'Which checkpoint; 0: the newest, or the best where train.load_best.')
_END = flags.DEFINE_bool('end', False, 'Also score that each text ends.')
_INPUT = flags.DEFINE_string('input', '', 'A file with a text on each line, FILE#FIELD of JSON lines; -: the standard input.')
_TOKENS = flags.DEFINE_bool('tokens', False, 'With --input: also the text and the nats of each token.')
_NBEST = flags.DEFINE_string('nbest', '', 'Lists of hypotheses, FILE@ROWS, of which one each is chosen.')
_TUNE = flags.DEFINE_string('tune', '', 'With --nbest: lists on which the weights are chosen.')
_WEIGHT = flags.DEFINE_float('weight', None, "With --nbest: the weight of the network's nats.")
_BONUS = flags.DEFINE_float('word_bonus', 0.0, 'With --nbest and --weight: what each word of a hypothesis adds.')
_OUTPUT = flags.DEFINE_string('output', '', 'With --nbest: a file for what is chosen, as predictions.')

OF_LISTS: tuple[flags.FlagHolder, ...] = (_TUNE, _WEIGHT, _BONUS, _OUTPUT)


def main(_: Sequence[str]) -> int:
    cli.need((_WORKDIR, 'runs/mine'))
    require(bool(_INPUT.value) != bool(_NBEST.value), '--input', _INPUT.value, 'give texts by --input, or lists by --nbest')
    for flag in (_TOKENS,) if _NBEST.value else OF_LISTS:
        require(flag.value == flag.default, f'--{flag.name}', flag.value, 'belongs to the other way to score; leave it out')
    return rescore() if _NBEST.value else score()


def load() -> lmjax.Run:
    return lmjax.load(_WORKDIR.value, step=_STEP.value or None)


def score() -> int:
    run = load()
    for texts in batches(_INPUT.value):
        for text, found in zip(texts, run.score(texts, end=_END.value), strict=True):
            row = {'text': text, 'nats': found.nats, 'tokens': len(found.ids), 'bits_per_byte': found.bits_per_byte}
            if _TOKENS.value:
                pairs = zip(found.ids, found.logprobs, strict=True)
                row['token_nats'] = [[run.tokenizer.decode([i]), logprob] for i, logprob in pairs]
            print(json.dumps(row, ensure_ascii=False), flush=True)
    return 0


def batches(name: str) -> Iterator[list[str]]:
    """The texts of lines, or of a field of JSON lines, every one of which must have it."""
    if '#' not in name:
        yield from cli.text_batches('input', name)
        return
    texts = list(open_source(f'jsonl:{name}').documents())
    for start in range(0, len(texts), cli.MANY):
        part = texts[start : start + cli.MANY]
        kept = [text for text in part if text is not None]
        require(
            len(kept) == len(part), '--input', name, f'has rows without a text, one in the {len(part)} from {start}; mend them'
        )
        yield kept


def rescore() -> int:
    remedy = 'give one of the two: lists to tune on, as --tune=lists.jsonl@0/5, or --weight'
    require(bool(_TUNE.value) != (_WEIGHT.value is not None), '--tune', _TUNE.value, remedy)
    require(not (_TUNE.value and _BONUS.value), '--word_bonus', _BONUS.value, '--tune chooses it; leave it out')
    lists = read_lists('nbest', _NBEST.value)
    tuned = read_lists('tune', _TUNE.value) if _TUNE.value else None
    shared = sorted(set(lists.places) & set(tuned.places)) if tuned else []
    require(not shared, '--tune', _TUNE.value, f'{", ".join(shared[:1])} is in --nbest too; take other rows, as @0/5 and @!0/5')
    errors_UxHx2 = word_errors(lists)  # before the network is loaded: the library may be missing
    run = load()
    weights = tune(tuned, nats(run, tuned)) if tuned else Weights(_WEIGHT.value or 0.0, _BONUS.value)
    chosen_U = choose(lists, nats(run, lists), weights)
    counts = [len(texts) for texts in lists.texts]
    print(f'{len(counts)} utterances of {np.mean(counts):.1f} hypotheses; weight {weights.weight:.4g}, ', end='')
    print(f'word bonus {weights.word_bonus:.4g}, ' + (f'tuned on {len(tuned.texts)} others' if tuned else 'given'))
    write(lists, chosen_U)
    print(json.dumps({'utterances': len(counts), **weights._asdict(), **report(lists, errors_UxHx2, chosen_U)}))
    return 0


def nats(run: lmjax.Run, lists: Lists) -> np.ndarray:
    """The log-likelihood of each hypothesis, U x H."""
    texts = lists.all_texts
    found = {text: one.nats for text, one in zip(texts, run.score(texts, end=_END.value), strict=True)}
    return lists.laid_out([[found[text] for text in row] for row in lists.texts])


def report(lists: Lists, errors_UxHx2: np.ndarray, chosen_U: np.ndarray) -> dict[str, Any]:
    """Word error rates with their intervals, printed."""
    before_U, oracle_U = lists.scores.argmax(axis=1), errors_UxHx2[..., 0].argmin(axis=1)
    finish = TEXT_SCORES['wer'].finish
    sides = {'before': before_U, 'after': chosen_U, 'oracle': oracle_U}
    counted = {name: taken(errors_UxHx2, side_U)[None] for name, side_U in sides.items()}
    found = {f'wer_{name}': bootstrap_mean(side, finish=finish) for name, side in counted.items()}
    for name, one in found.items():
        print(f'{name} {one.said()}')
    difference = paired_difference(counted['after'], counted['before'], finish=finish)
    print(f'difference {difference.said("+.4f")}')
    return {**{name: one._asdict() for name, one in found.items()}, 'difference': difference._asdict()}


def write(lists: Lists, chosen_U: np.ndarray) -> None:
    """What is chosen, as predictions."""
    if _OUTPUT.value:
        rows = zip(lists.places, lists.references, lists.texts, chosen_U, strict=True)
        said = [{'text': place, 'label': label, 'told': texts[i]} for place, label, texts, i in rows]
        cli.write_rows('output', _OUTPUT.value, said)


if __name__ == '__main__':
    cli.run(main)
