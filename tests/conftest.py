"""Strict tests: rank promotion raises, warnings are errors (pyproject.toml), 8 virtual CPU devices, caches of their own."""

import os
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='lmjax-tests-')
# Programs here are small and run a few times: compiling them is what costs time.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true')

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_enable_compilation_cache', False)
