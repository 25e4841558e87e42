"""Strict tests: rank promotion raises, warnings are errors (pyproject.toml), 8 virtual CPU devices, caches of their own."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
if 'LMJAX_TESTS_FOLDER' not in os.environ:  # the first process; workers and what they start write into its folder
    os.environ['PYTEST_DEBUG_TEMPROOT'] = tempfile.gettempdir()  # but for what pytest keeps of the last runs
    os.environ['LMJAX_TESTS_FOLDER'] = os.environ['TMPDIR'] = tempfile.mkdtemp(prefix='lmjax-tests-')
    atexit.register(shutil.rmtree, os.environ['LMJAX_TESTS_FOLDER'], ignore_errors=True)
    tempfile.tempdir = None  # is asked for again
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='cache-')
# Programs here are small and run a few times: compiling them is what costs time.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true')
# Most programs are made by several tests: those that take a while are kept, for all workers and what they start.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    os.environ['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='programs-')
    os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.2'

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
