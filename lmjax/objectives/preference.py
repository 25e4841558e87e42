"""Preferred answers: a network is to tell the one answer of a pair rather than the other, and to stay near what it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from lmjax.objectives.rows import Rows, with_auxiliary

if TYPE_CHECKING:
    from lmjax.types import Array, Batch, HParams, Model, Teacher, Tree

SCORES = ('loss_nats', 'accuracy', 'likelier', 'margin')
SIDES = (1, 2)  # segments of a row: the answer that is preferred, and the other


class Told(NamedTuple):
    """How likely one answer of each pair is, in nats, B each."""

    own: Any  # its log-likelihood under the network
    reference: Any  # and under the network that it is to stay near; 0 without one
    tokens: Any  # how many it has


def dpo(chosen: Told, rejected: Told, beta: Any, smoothing: Any) -> tuple[Any, Any]:
    """-log sigmoid(margin), margin = beta (log-ratio of the chosen - that of the rejected) (Rafailov et al. 2023, eq. 7).

    With `smoothing` e it is (1 - e) of that and e of the same for the rejected, as if a share e of the pairs were swapped.
    """
    margin_B = beta * (chosen.own - chosen.reference - rejected.own + rejected.reference)
    return -(1.0 - smoothing) * jax.nn.log_sigmoid(margin_B) - smoothing * jax.nn.log_sigmoid(-margin_B), margin_B


def ipo(chosen: Told, rejected: Told, beta: Any, smoothing: Any) -> tuple[Any, Any]:
    """(h - 1 / (2 beta))^2, h the difference of the log-ratios of whole answers (Azar et al. 2023, eq. 17); margin beta h."""
    h_B = chosen.own - chosen.reference - rejected.own + rejected.reference
    return jnp.square(h_B - 0.5 / beta), beta * h_B


def orpo(chosen: Told, rejected: Told, beta: Any, smoothing: Any) -> tuple[Any, Any]:
    """Cross-entropy of the chosen answer per token - beta log sigmoid(margin) (Hong et al. 2024, eq. 6 and 7).

    The margin is the difference of log(P / (1 - P)), log P being the mean log-likelihood of an answer's tokens. It needs no
    reference.
    """
    mean_2xB = jnp.stack([side.own / jnp.maximum(side.tokens, 1.0) for side in (chosen, rejected)])
    odds_2xB = mean_2xB - jnp.log(-jnp.expm1(jnp.minimum(mean_2xB, -1e-6)))  # below 0, where 1 - P has a logarithm
    margin_B = odds_2xB[0] - odds_2xB[1]
    return -mean_2xB[0] - beta * jax.nn.log_sigmoid(margin_B), margin_B


class Preference(NamedTuple):
    """A way to learn from pairs."""

    loss: Callable[[Told, Told, Any, Any], tuple[Any, Any]]  # chosen, rejected, beta, smoothing -> loss and margin, B each
    refers: bool  # to a network that it stays near
    smooths: bool = False


PREFERENCES = {
    'dpo': Preference(dpo, refers=True, smooths=True),
    'ipo': Preference(ipo, refers=True),
    'orpo': Preference(orpo, refers=False),
}


def loss(
    model: Model,
    params: Tree,
    batch: Batch,
    hparams: HParams,
    key: Any,
    cache: Tree = None,
    *,
    preference: str = 'dpo',
    teacher: Teacher | None = None,
) -> tuple[Array, tuple[Array, dict[str, Array], Tree]]:
    """A row of PREFERENCES over pairs, with `hparams['beta']`; the reference is the `teacher`, without dropout and gradient.

    `batch.labels`, B x T, tell which tokens of a row are said, by which side. Sums over pairs: `loss`, `nll` (the same without
    auxiliary sums), `accuracy` (whose margin is above 0), `margin`, `likelier` (whose preferred answer is the likelier of the
    two, whatever the reference has) and `chosen_nll` with `chosen_tokens`; the weight is the number of pairs. In evaluation
    (`key` is None) a reference may be missing: it then counts as one that has both answers equally likely.

    Args:
      cache: not used; a text starts from nothing.

    Raises:
      ValueError: there is no reference in training where one is needed.
    """
    row = PREFERENCES[preference]
    if row.refers and teacher is None and key is not None:
        raise ValueError(f'{preference}: trains beside a reference; hand one to `assemble`')
    assert batch.labels is not None
    output = model.apply(params, batch.inputs, key=key, hparams=hparams)
    own_2xB = likelihoods(model, params, output.hidden, batch)
    tokens_2xB = jnp.stack([(batch.labels == side).sum(axis=1) for side in SIDES]).astype(jnp.float32)
    held_2xB = jnp.zeros_like(own_2xB)
    if row.refers and teacher is not None:
        frozen = jax.lax.stop_gradient(teacher.params)
        held_2xB = likelihoods(teacher.model, frozen, teacher.model.apply(frozen, batch.inputs).hidden, batch)
    chosen, rejected = (Told(own_2xB[side], held_2xB[side], tokens_2xB[side]) for side in (0, 1))
    loss_B, margin_B = row.loss(chosen, rejected, hparams['beta'], hparams.get('label_smoothing', 0.0))
    weights_B = batch.weights[:, 0]
    total, sums = with_auxiliary(output, (loss_B * weights_B).sum(), {})
    each = {
        'nll': loss_B,
        'accuracy': margin_B > 0,
        'margin': margin_B,
        'likelier': own_2xB[0] > own_2xB[1],
        'chosen_nll': -own_2xB[0],
        'chosen_tokens': tokens_2xB[0],
    }
    return total, (weights_B.sum(), sums | {name: (value * weights_B).sum() for name, value in each.items()}, None)


def likelihoods(model: Model, params: Tree, hidden_BxTxD: Array, batch: Batch) -> Any:
    """The log-likelihood of what each side of each row says, 2 x B, in nats."""
    logprob_BxT = model.score(params, hidden_BxTxD[:, :-1], batch.inputs.ids[:, 1:]).logprob
    said_BxT = jnp.asarray(batch.labels)[:, 1:]
    return jnp.stack([jnp.where(said_BxT == side, logprob_BxT, 0.0).sum(axis=1) for side in SIDES])


def report(totals: Mapping[str, float], rows: Rows) -> dict[str, float]:
    """What an evaluation says of these sums: means over pairs (`texts`), and `chosen_nats` per token of preferred answers."""
    pairs, names = totals['weight'], ('accuracy', 'likelier', 'margin')
    if not pairs:
        return {'loss_nats': math.nan, **dict.fromkeys((*names, 'chosen_nats'), math.nan), 'texts': 0}
    means = {name: totals[name] / pairs for name in names}
    nats = totals['chosen_nll'] / max(totals['chosen_tokens'], 1)
    return {'loss_nats': totals['nll'] / pairs, **means, 'chosen_nats': nats, 'texts': int(pairs)}
