"""Options for XLA that make a program faster without changing what it computes."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp

# By default XLA on CPU also hands sums and elementwise work around matrix products to YNNPACK, which for a softmax over a
# large vocabulary takes longer than XLA's own code; the products alone are up to a tenth faster there than with Eigen.
_CPU = {'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'}


@cache
def compiler_options() -> dict[str, str] | None:
    """What to pass to `jax.jit(..., compiler_options=)` here, or None: another platform, or a jaxlib that lacks them."""
    if jax.default_backend() != 'cpu':
        return None
    probe = jax.jit(lambda x: x + 1, compiler_options=_CPU)
    try:
        probe.lower(jax.ShapeDtypeStruct((), jnp.float32)).compile()
    except Exception:  # the class differs between releases: an XLA runtime error, or one of its own
        return None
    return dict(_CPU)
