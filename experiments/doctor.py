"""Check the installation: `python -m experiments.doctor [--expect=tpu|gpu|cpu]`.

Prints versions, devices, the default mesh and the caches, names clashes with their remedies, and ends with one JSON line.
Exit codes: 0 fine, 2 if work would not run on the accelerator that is expected.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from absl import flags

import lmjax
from experiments import cli

_EXPECT = flags.DEFINE_string('expect', '', 'tpu, gpu or cpu: fail unless JAX runs there; empty: what the machine looks like.')


def main(_: Sequence[str]) -> int:
    print(json.dumps(lmjax.doctor(_EXPECT.value)), flush=True)
    return 0


if __name__ == '__main__':
    cli.run(main)
