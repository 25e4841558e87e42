"""The page of a run or of a study, anew: `python -m experiments.report --workdir=studies/norm`.

A run's is report.html. A study's comes with its table as table.md, table.tex and table.csv, and with answer.json; it works on a
study that still runs. The last line is JSON that says where the page is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from absl import flags

from experiments import cli

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a run or of a study.')


def main(_: Sequence[str]) -> int:
    from lmjax.study.report import write_study_report
    from lmjax.study.trials import SPEC
    from lmjax.training.report import write_report

    cli.need((_WORKDIR, 'studies/norm'))
    write = write_study_report if os.path.isfile(os.path.join(_WORKDIR.value, SPEC)) else write_report
    print(json.dumps({'report': str(write(_WORKDIR.value))}))
    return 0


if __name__ == '__main__':
    cli.run(main)
