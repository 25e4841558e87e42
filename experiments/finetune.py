"""Train a network that exists for a task: `python -m experiments.finetune --config=C --init=hf:DIR --workdir=W`.

`--init` is a checkpoint in Hugging Face's format (hf:DIR, hf:NAME), a gguf:FILE or the folder of another run, whose network and
tokenizer are used; with `none` the config's own learn from scratch. The rest is as in `experiments.train`.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli

_CONFIG = cli.define_config()
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run; holds everything that it writes.')
_INIT = flags.DEFINE_string('init', '', "What to start from: hf:DIR, hf:NAME, gguf:FILE, another run's folder, or none.")
_EXTEND = flags.DEFINE_bool('extend', False, 'Allow train.steps to be larger than when the run was started.')


def main(_: Sequence[str]) -> int:
    if not _WORKDIR.value:
        raise lmjax.UsageError('--workdir: missing; name a folder for the run, as in --workdir=runs/sentiment')
    if not _INIT.value:
        raise lmjax.UsageError('--init: missing; name what to start from, as --init=hf:DIR, or --init=none')
    init = '' if _INIT.value == 'none' else _INIT.value
    return cli.train(lmjax.finetune, _CONFIG.value, _WORKDIR.value, init=init, extend=_EXTEND.value)


if __name__ == '__main__':
    cli.run(main)
