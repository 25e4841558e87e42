"""Checkpoints in Hugging Face's format, in and out: a workdir from theirs, or a folder that transformers loads from a workdir.

`python -m experiments.convert --from=hf:DIR --workdir=runs/imported` (or `--from=gguf:FILE`)
`python -m experiments.convert --workdir=runs/mine --to=hf:DIR --dtype=bfloat16`

Nothing is overwritten, and a folder appears whole or not at all. The workdir can be evaluated and sampled, and another run can
start from its parameters with `--init_from`. A network that no family of transformers describes is refused, field by field.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli

_FROM = flags.DEFINE_string('from', '', 'hf:DIR, hf:NAME or gguf:FILE, the checkpoint to read.')
_TO = flags.DEFINE_string('to', '', 'hf:DIR, the folder to write.')
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run that is made (--from) or read (--to).')
_STEP = flags.DEFINE_integer('step', 0, 'With --to: which checkpoint; 0: the newest, or the best where train.load_best.')
_DTYPE = flags.DEFINE_string('dtype', 'float32', 'With --to: float32, bfloat16 or float16.')
_SCAN_LAYERS = flags.DEFINE_bool('scan_layers', False, 'With --from: keep the layers stacked, for one compiled layer.')


def main(_: Sequence[str]) -> int:
    from lmjax.interop.sources import is_imported

    if not _WORKDIR.value:
        raise lmjax.UsageError('--workdir: missing; name the folder of the run, as in --workdir=runs/imported')
    if bool(_FROM.value) == bool(_TO.value):
        raise lmjax.UsageError(f'--to={_TO.value!r}: give either --from=hf:DIR or --to=hf:DIR')
    if _FROM.value and not is_imported(_FROM.value):
        raise lmjax.UsageError(f'--from={_FROM.value!r}: begins with hf: or gguf:, as in --from=hf:{_FROM.value}')
    if _TO.value and not _TO.value.startswith('hf:'):
        raise lmjax.UsageError(f'--to={_TO.value!r}: begins with hf:, as in --to=hf:{_TO.value}')
    print(json.dumps(_read() if _FROM.value else _write()), flush=True)
    return 0


def _read() -> dict[str, object]:
    from lmjax.interop.workdirs import import_workdir

    config, count = import_workdir(_FROM.value, _WORKDIR.value, scan_layers=_SCAN_LAYERS.value)
    return {'from': _FROM.value, 'workdir': _WORKDIR.value, 'parameters': count, 'vocab_size': config.data.vocab_size}


def _write() -> dict[str, object]:
    from lmjax.interop.huggingface import export_folder

    run = lmjax.load(_WORKDIR.value, step=_STEP.value or None)
    folder = _TO.value.removeprefix('hf:')
    model_type = export_folder(run.config, run.params, run.tokenizer, folder, dtype=_DTYPE.value)
    has_tokenizer = os.path.isfile(os.path.join(folder, 'tokenizer.json'))
    if not has_tokenizer:
        print(f'{folder}: the network alone; a {run.config.data.tokenizer} tokenizer has no tokenizer.json', file=sys.stderr)
    written = {'model_type': model_type, 'dtype': _DTYPE.value, 'tokenizer': has_tokenizer}
    return {'workdir': _WORKDIR.value, 'to': _TO.value, **written}


if __name__ == '__main__':
    cli.run(main)
