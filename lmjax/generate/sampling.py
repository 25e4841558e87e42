"""From logits to the next token: pure functions on logits_BxV, their parameters traced, so no setting recompiles anything.

The order is the one that people know: repetition penalty, temperature, top-k, top-p, min-p; each reads the distribution that
the one before left. What is ruled out gets minus infinity. A temperature of 0 means greedy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import require

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig

SAMPLERS = ('temperature', 'top_k', 'top_p', 'min_p')  # fields that only sampling heeds
RANKING = ('length_penalty', 'early_stopping')  # fields that only beam search heeds


class Knobs(NamedTuple):
    """The scalars of a SamplingConfig that the compiled sampler reads."""

    temperature: Any
    top_k: Any
    top_p: Any
    min_p: Any
    repetition_penalty: Any
    greedy: Any


def validate(sampling: SamplingConfig) -> None:
    """Raises UsageError for settings outside their ranges."""
    s = sampling
    for field in ('temperature', 'top_p', 'min_p', 'repetition_penalty', 'length_penalty'):
        require(math.isfinite(getattr(s, field)), f'sample.{field}', getattr(s, field), 'must be a finite number')
    require(s.max_new_tokens >= 1, 'sample.max_new_tokens', s.max_new_tokens, 'must be at least 1')
    require(s.num_samples >= 1, 'sample.num_samples', s.num_samples, 'must be at least 1')
    require(s.temperature >= 0, 'sample.temperature', s.temperature, 'must not be negative; 0 means greedy')
    require(s.top_k >= 0, 'sample.top_k', s.top_k, 'must not be negative; 0 turns it off')
    require(0 < s.top_p <= 1, 'sample.top_p', s.top_p, 'must be above 0 and at most 1; 1 turns it off')
    require(0 <= s.min_p <= 1, 'sample.min_p', s.min_p, 'must be between 0 and 1; 0 turns it off')
    penalty = s.repetition_penalty
    require(penalty > 0, 'sample.repetition_penalty', penalty, 'must be above 0; 1 turns it off, 1.2 discourages repeats')
    require(0 <= s.seed < 2**31, 'sample.seed', s.seed, 'must be between 0 and 2147483647')
    require(all(s.stop), 'sample.stop', s.stop, 'a stop string must not be empty')
    require(s.num_beams >= 1, 'sample.num_beams', s.num_beams, 'must be at least 1; 1 turns beam search off')
    remedy = f'beam search has only sample.num_beams={s.num_beams} hypotheses; ask for {s.num_beams} or fewer, or more beams'
    require(s.num_beams == 1 or s.num_samples <= s.num_beams, 'sample.num_samples', s.num_samples, remedy)
    require(-5 <= s.length_penalty <= 5, 'sample.length_penalty', s.length_penalty, 'must lie between -5 and 5')
    unheeded, reader = (SAMPLERS, 'only sampling') if s.num_beams > 1 else (RANKING, 'only beam search')
    for field in unheeded:
        value, default = getattr(s, field), getattr(type(s), field)
        remedy = f'{reader} heeds it, and sample.num_beams={s.num_beams}; leave it at {default}, or change num_beams'
        require(value == default, f'sample.{field}', value, remedy)


def knobs_of(sampling: SamplingConfig) -> Knobs:
    """The traced scalars of a validated config."""
    return Knobs(
        temperature=np.float32(sampling.temperature),
        top_k=np.int32(min(sampling.top_k, 2**31 - 1)),
        top_p=np.float32(sampling.top_p),
        min_p=np.float32(sampling.min_p),
        repetition_penalty=np.float32(sampling.repetition_penalty),
        greedy=np.bool_(sampling.greedy or sampling.temperature == 0),
    )


def repetition_penalty(logits_BxV: jax.Array, seen_BxV: jax.Array, penalty: Any) -> jax.Array:
    """Seen tokens' logits are divided by the penalty if positive, else multiplied by it (Keskar et al. 2019, section 4.1)."""
    punished = jnp.where(logits_BxV > 0, logits_BxV / penalty, logits_BxV * penalty)
    return jnp.where(seen_BxV, punished, logits_BxV)


def temperature(logits_BxV: jax.Array, value: Any) -> jax.Array:
    """Logits over the temperature; 0 leaves them, for greedy decoding does not look at their scale."""
    return logits_BxV / jnp.where(value > 0, value, 1.0)


def top_k(logits_BxV: jax.Array, k: Any) -> jax.Array:
    """The k most likely tokens, exactly k: among equals the lower id stays. 0 keeps all."""

    def cut(logits_BxV: jax.Array) -> jax.Array:
        return keep_until(logits_BxV, jnp.ones_like(logits_BxV), k)

    return jax.lax.cond(k > 0, cut, lambda logits_BxV: logits_BxV, logits_BxV)


def top_p(logits_BxV: jax.Array, p: Any) -> jax.Array:
    """The smallest set of most likely tokens whose probability reaches p (Holtzman et al. 2020, section 3.1). 1 keeps all."""

    def cut(logits_BxV: jax.Array) -> jax.Array:
        return keep_until(logits_BxV, jax.nn.softmax(logits_BxV, axis=-1), p)

    return jax.lax.cond(p < 1, cut, lambda logits_BxV: logits_BxV, logits_BxV)


def keep_until(logits_BxV: jax.Array, weights_BxV: jax.Array, amount: Any) -> jax.Array:
    """Keeps the most likely tokens, in order, until their weights' sum reaches `amount`; among equals lower ids come first.

    The last logit that is needed is found by bisection over the bits of a float32: 32 sums, exact, and ten times faster on CPU
    than XLA's sort, which would cost more than a small network.
    """
    bits_BxV = jax.lax.bitcast_convert_type(logits_BxV, jnp.int32)
    keys_BxV = jnp.where(bits_BxV < 0, bits_BxV ^ jnp.int32(2**31 - 1), bits_BxV)  # integers in the order of the floats

    def halve(_: Any, span: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low_Bx1, high_Bx1 = span
        middle_Bx1 = (low_Bx1 | high_Bx1) - ((low_Bx1 ^ high_Bx1) >> 1)  # their mean, rounded up, without overflow
        enough_Bx1 = jnp.where(keys_BxV >= middle_Bx1, weights_BxV, 0).sum(axis=-1, keepdims=True) >= amount
        return jnp.where(enough_Bx1, middle_Bx1, low_Bx1), jnp.where(enough_Bx1, high_Bx1, middle_Bx1 - 1)

    span = (jnp.full((len(keys_BxV), 1), -(2**31), jnp.int32), jnp.full((len(keys_BxV), 1), 2**31 - 1, jnp.int32))
    last_Bx1, _ = jax.lax.fori_loop(0, 32, halve, span)
    above_BxV, equal_BxV = keys_BxV > last_Bx1, keys_BxV == last_Bx1
    before_Bx1 = jnp.where(above_BxV, weights_BxV, 0).sum(axis=-1, keepdims=True)
    equals_BxV = jnp.where(equal_BxV, weights_BxV, 0)
    needed_BxV = equal_BxV & (before_Bx1 + jnp.cumsum(equals_BxV, axis=-1) - equals_BxV < amount)
    return jnp.where(above_BxV | needed_BxV, logits_BxV, -jnp.inf)


def min_p(logits_BxV: jax.Array, p: Any) -> jax.Array:
    """The tokens at least p times as likely as the most likely one (Nguyen et al. 2024, section 3). 0 keeps all."""
    floor_Bx1 = jnp.max(logits_BxV, axis=-1, keepdims=True) + jnp.log(p)
    return jnp.where(logits_BxV >= floor_Bx1, logits_BxV, -jnp.inf)


def process(logits_BxV: jax.Array, seen_BxV: jax.Array, knobs: Knobs) -> jax.Array:
    """All of the above in their order: logits whose softmax is the distribution that is sampled."""
    logits_BxV = repetition_penalty(logits_BxV.astype(jnp.float32), seen_BxV, knobs.repetition_penalty)
    logits_BxV = temperature(logits_BxV, knobs.temperature)
    return min_p(top_p(top_k(logits_BxV, knobs.top_k), knobs.top_p), knobs.min_p)


def sample(logits_BxV: jax.Array, seen_BxV: jax.Array, knobs: Knobs, keys_B: jax.Array) -> jax.Array:
    """The next token of each row, B int32; each row draws with its own key, whatever batch it travels in."""
    logits_BxV = process(logits_BxV, seen_BxV, knobs)
    token_B = jax.lax.cond(knobs.greedy, lambda: jnp.argmax(logits_BxV, axis=-1), lambda: draw(logits_BxV, keys_B))
    return token_B.astype(jnp.int32)


def draw(logits_BxV: jax.Array, keys_B: jax.Array) -> jax.Array:
    """One token of each row's softmax, by inverting its cumulative distribution at one uniform number.

    A number for each token (Gumbel noise) would be as exact in float32, but takes a second longer to compile.
    """
    prob_BxV = jax.nn.softmax(logits_BxV, axis=-1)
    # Sums in parallel may shrink by a rounding error: what cannot be drawn is left out by name.
    reached_BxV = jnp.where(prob_BxV > 0, jnp.cumsum(prob_BxV, axis=-1), 0)
    target_Bx1 = jax.vmap(jax.random.uniform)(keys_B)[:, None] * jnp.max(reached_BxV, axis=-1, keepdims=True)
    return jnp.argmax(reached_BxV > target_Bx1, axis=-1)
