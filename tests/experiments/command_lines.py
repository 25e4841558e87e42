"""Command lines of an entry point, answered in a process of their own: two entry points' flags do not fit into one."""

import json
import os
import subprocess
import sys

PROGRAM = """
import contextlib, importlib, io, json, sys
from absl import flags
import lmjax

name, cases, setup = json.load(sys.stdin)
module, found = importlib.import_module(f'experiments.{name}'), []
exec(setup, {'lmjax': lmjax, 'module': module})
for case in cases:
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS.flags_by_module_dict()[module.__name__]:
        flag.unparse()
    flags.FLAGS(['x', *case])
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            assert module.main([]) == 0
        found.append(out.getvalue().splitlines())
    except lmjax.UsageError as error:
        found.append([f'error: {error}'])
print(json.dumps(found))
"""


def ask(name, cases, setup=''):
    """Of each list of flags the lines that are printed, or in a list of one the error; `setup` may change what is run."""
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        input=json.dumps([name, cases, setup]),
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
