"""What a config builds: every module and parameter with its shape, logical axes, size and work; trains nothing.

`python -m experiments.inspect --config=configs/family.py:gpt2-xl`

Layers that are alike are shown once, with how many there are. FLOPs are those of a forward pass over a window of `data.seq_len`
tokens, per token, a multiply-add counting two; the last line is one line of JSON. Where only the text can tell the size
of the vocabulary, it is read first; `--vocab_size` says it instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli
from lmjax.models.summary import Row, summarize

_CONFIG = cli.define_config()
_VOCAB_SIZE = flags.DEFINE_integer('vocab_size', 0, 'Tokens of the vocabulary; 0: what the config or its text says.')
HEADER = ('module or parameter', 'shape', 'logical axes', 'parameters', 'FLOPs a token')


def main(_: Sequence[str]) -> int:
    from lmjax.models import build

    config = _CONFIG.value
    if _VOCAB_SIZE.value < 0:
        raise lmjax.UsageError(
            f'--vocab_size={_VOCAB_SIZE.value}: must not be negative; 0 takes what the config or its text says'
        )
    vocab_size = _VOCAB_SIZE.value or vocabulary(config)
    model = build(config.model, vocab_size=vocab_size, seq_len=config.data.seq_len)
    rows = summarize(model, seq_len=config.data.seq_len)
    _print([HEADER, *map(cells, rows)])
    total = rows[0]
    record = {'name': config.name, 'vocab_size': vocab_size, 'parameters': total.parameters, 'seq_len': config.data.seq_len}
    print(json.dumps(record | {'forward_flops_per_token': total.flops, 'training_flops_per_token': 3 * (total.flops or 0)}))
    return 0


def vocabulary(config: lmjax.Config) -> int:
    """The size of the vocabulary that a run of this config would have."""
    from lmjax.data.corpus import prepare
    from lmjax.data.tokenizers import expected_vocabulary
    from lmjax.interop.starts import given_tokenizer

    if size := expected_vocabulary(config.data):
        return size
    if config.data.tokenizer == 'teacher':
        return lmjax.load(config.objective.teacher).model.vocab_size
    given = given_tokenizer(config.data)
    return given.vocab_size if given else prepare(config.data).tokenizer.vocab_size


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts, indented by its depth in the tree."""
    *above, name = row.path.split('/')
    label = (
        '  ' * len(above) + (name or 'whole network') + (f' (x {row.copies})' if row.copies > 1 and name.isdecimal() else '')
    )
    dimensions = ' x '.join(map(str, row.shape)) if row.shape else ''
    return (
        label,
        dimensions,
        ', '.join(axis or '-' for axis in row.axes),
        f'{row.parameters:,}',
        f'{row.flops:,.0f}' if row.flops else '',
    )


def _print(table: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        texts = [text.ljust(width) for text, width in zip(row[:3], widths, strict=False)]
        numbers = [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
        print('  '.join(texts + numbers).rstrip())


if __name__ == '__main__':
    cli.run(main)
