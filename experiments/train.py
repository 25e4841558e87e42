"""Train a language model: `python -m experiments.train --config=configs/quickstart.py --workdir=runs/quickstart`.

Running the same command again resumes, or says that the run is complete.
Exit codes: 0 complete, 2 bad input, 3 the loss is not a number, 130 interrupted (saved).
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli

_CONFIG = cli.define_config()
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run; holds everything that it writes.')
_EXTEND = flags.DEFINE_bool('extend', False, 'Allow train.steps to be larger than when the run was started.')
_INIT_FROM = flags.DEFINE_string('init_from', '', "Start from the parameters in another run's folder, or hf:DIR.")
_PROFILE = flags.DEFINE_string('profile', '', 'START:STOP: write a trace of these steps to WORKDIR/profile.')


def main(_: Sequence[str]) -> int:
    if not _WORKDIR.value:
        raise lmjax.UsageError('--workdir: missing; name a folder for the run, as in --workdir=runs/quickstart')
    return cli.train(
        lmjax.train,
        _CONFIG.value,
        _WORKDIR.value,
        extend=_EXTEND.value,
        init_from=_INIT_FROM.value,
        profile=_PROFILE.value,
    )


if __name__ == '__main__':
    cli.run(main)
