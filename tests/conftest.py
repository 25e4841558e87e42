"""Strict tests: rank promotion raises, warnings are errors (pyproject.toml), 8 virtual CPU devices."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Programs here are small and run a few times: compiling them is what costs time.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true')

import jax

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
