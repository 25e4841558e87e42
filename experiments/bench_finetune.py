"""Fine-tuning speed beside transformers' Trainer: the same checkpoint, the same texts with labels, float32, in turns.

`python -m experiments.bench_finetune --model=hf:DIR --data='FILE#text,label' [--rounds=5]`, after `pip install -e '.[parity]'`.

Each side trains all of the network with AdamW on its own batches of 16 texts, cut at 64 tokens, in two ways: padded to 64, and
as people save that work: lmjax with texts of like length together (data.buckets=10), Trainer with each batch padded to its
longest text. Prints texts a second (median, minimum and maximum over the rounds; loading and padding of the batches counted,
compilation apart), how much of the batches was padding, and ratios, lmjax's over Trainer's. The last line is JSON with every
figure. An encoder whose tokenizer writes its own ends, as BERT's, is expected.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import cli
from experiments.bench.machine import machine
from lmjax.config import UsageError, require

_MODEL = flags.DEFINE_string('model', '', 'The checkpoint: hf:DIR, a folder.')
_DATA = flags.DEFINE_string('data', '', 'Texts with labels: FILE#TEXT,LABEL.')
_SEQ_LEN = flags.DEFINE_integer('seq_len', 64, 'Tokens of the longest text.')
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Texts of a step.')
_BUCKETS = flags.DEFINE_integer('buckets', 10, 'Widths of batches, where texts of like length are together.')
_STEPS = flags.DEFINE_integer('steps', 15, 'Steps of a turn.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each side.')


def main(_: Sequence[str]) -> int:
    from experiments.bench import finetuners

    for package in ('torch', 'transformers', 'accelerate'):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"{package}=None: it is not installed; run: pip install -e '.[parity]'")
    for flag, example in ((_MODEL, 'hf:minilm'), (_DATA, 'reviews.csv#text,label')):
        require(bool(flag.value), flag.name, flag.value, f'missing; give it, as in --{flag.name}={example}')
    require(_MODEL.value.startswith('hf:'), 'model', _MODEL.value, 'Trainer reads a folder; name one as hf:DIR')
    for size in (_SEQ_LEN, _BATCH_SIZE, _BUCKETS, _STEPS, _ROUNDS):
        require(size.value >= 1, size.name, size.value, 'must be at least 1')
    record: dict[str, Any] = {'machine': machine(), 'dtype': 'float32', 'rounds': _ROUNDS.value, 'steps': _STEPS.value}
    record |= {'seq_len': _SEQ_LEN.value, 'batch_size': _BATCH_SIZE.value}
    about = record['machine']
    print('{device}; {threads} threads; jax {jax}, torch {torch}, transformers {transformers}; load {load:.1f}'.format(**about))
    record['sides'] = measure()
    for name, figures in record['sides'].items():
        print(finetuners.row(name, figures), flush=True)
    rates = {name: figures['texts_per_second'] for name, figures in record['sides'].items()}
    record['ratio_padded'] = rates['lmjax, padded'] / rates['Trainer, padded']
    record['ratio'] = rates['lmjax, by length'] / rates['Trainer, longest']
    print(f'ratio: {record["ratio_padded"]:.2f} padded, {record["ratio"]:.2f} as people train')
    print(json.dumps(record))
    return 0


def measure() -> dict[str, dict[str, float]]:
    """The figures of each side."""
    from experiments.bench import finetuners
    from experiments.bench.turns import turns

    sizes = {'seq_len': _SEQ_LEN.value, 'batch_size': _BATCH_SIZE.value}
    ways = {'lmjax, padded': 0, 'lmjax, by length': _BUCKETS.value}
    ours = {name: finetuners.JaxSide(_MODEL.value, _DATA.value, buckets=count, **sizes) for name, count in ways.items()}
    texts, folder = ours['lmjax, padded'].texts, _MODEL.value.removeprefix('hf:')
    theirs = {
        f'Trainer, {way}': finetuners.TrainerSide(folder, texts, longest=way == 'longest', **sizes)
        for way in ('padded', 'longest')
    }
    sides: dict[str, Any] = {**ours, **theirs}
    for side in sides.values():
        side.run(2)
        side.slots = side.tokens = 0
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for name in turns(sides, rounds=_ROUNDS.value):
        rates[name].append(sides[name].run(_STEPS.value))
    return {name: finetuners.figures_of(sides[name], values) for name, values in rates.items()}


if __name__ == '__main__':
    cli.run(main)
