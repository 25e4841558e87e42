"""Freed memory is used again instead of being mapped and zeroed afresh."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from lmjax.training.memory import keep_freed_memory
if sys.argv[1] == 'keep':
    assert keep_freed_memory()
np.ones(2**24, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**24, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    return int(subprocess.run([sys.executable, '-c', FAULTS, mode], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has the setting')
def test_repeated_temporaries_cost_no_page_faults():
    assert faults('keep') < 100 < faults('leave')
