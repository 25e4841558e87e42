"""Compiler options: taken where they exist, dropped where they do not."""

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.parallel import compiler


def test_options_are_accepted_and_change_no_number():
    options = compiler.compiler_options()
    a, b = (jax.random.normal(jax.random.key(i), (40, 40)) for i in range(2))
    plain, tuned = jax.jit(jnp.matmul), jax.jit(jnp.matmul, compiler_options=options)
    np.testing.assert_allclose(tuned(a, b), plain(a, b), rtol=1e-5, atol=1e-5)


def test_options_that_a_jaxlib_lacks_are_dropped(monkeypatch):
    monkeypatch.setattr(compiler, '_CPU', {'xla_cpu_no_such_option': True})
    assert compiler.compiler_options.__wrapped__() is None


def test_there_are_none_for_accelerators(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
    assert compiler.compiler_options.__wrapped__() is None
