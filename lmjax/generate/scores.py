"""How likely whole texts are under any network that tells tokens.

A network that reads from left to right tells each token given those before it, and a sum is the text's log-likelihood. A masked
one tells each token given all others, and a sum is the text's pseudo-log-likelihood (Salazar et al. 2020, eq. 1): texts can be
ranked by it, but it is the logarithm of no probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.special_tokens import end_id
from lmjax.generate.decode import padded_width
from lmjax.generate.embed import ROWS, by_length, padded_inputs
from lmjax.generate.likelihoods import token_likelihoods
from lmjax.generate.text import first_id
from lmjax.objectives.table import objective_of

if TYPE_CHECKING:
    from lmjax.objectives.config import ObjectiveConfig
    from lmjax.types import Model, Tree


class ScoredText(NamedTuple):
    ids: list[int]  # the tokens that are scored
    logprobs: list[float]  # of each, in nats
    bytes: int  # of the text as UTF-8

    @property
    def nats(self) -> float:
        """The text's log-likelihood, or pseudo-log-likelihood: at most 0."""
        return float(np.sum(self.logprobs))

    @property
    def bits_per_byte(self) -> float | None:
        """None of a text without a byte."""
        return -self.nats / np.log(2) / self.bytes if self.bytes else None


def need_scorer(objective: ObjectiveConfig, model: Model) -> None:
    """Raises UsageError for a network that was not trained to tell the tokens of a plain text from its beginning."""
    row = objective_of(objective)
    remedy = 'this network does not tell the tokens of a plain text; take one of objective.kind=causal or masked'
    require(row.report is None and row.reader(model) is model, 'objective.kind', objective.kind, remedy)


class Masked(NamedTuple):
    """A text with one of its tokens hidden."""

    ids: np.ndarray  # T int32
    at: int
    token: int


def score_texts(
    model: Model, params: Tree, tokenizer: Any, texts: Sequence[str], *, end: bool = False, context: int | None = None
) -> list[ScoredText]:
    """Each text, in their order, as a document of its own; a text without a token has 0 nats.

    Args:
      end: also score that the text ends after its last token, as a recogniser's language model does at the end of a sentence.
      context: tokens that the network sees. From left to right a longer text is read in windows, where it is masked refused.

    Raises:
      UsageError: a network that reads a source, a masked one without a token for the mask or with `end`, a text that is too
        long for it, or with `end` a tokenizer that has no token for the end.
    """
    require(
        not model.traits.sourced, 'model', 'encoder-decoder', 'reads a source beside the text; take a decoder or an encoder'
    )
    sizes = [len(text.encode()) for text in texts]
    if not model.traits.causal:
        require(not end, 'end', end, 'a masked network does not tell where a text ends; leave it out')
        return _masked(model, params, tokenizer, texts, sizes, context)
    last = [end_id(tokenizer)] if end else []
    encoded = [tokenizer.encode_rendered(text).tolist() + last for text in texts]
    told = token_likelihoods(model, params, encoded, start=first_id(tokenizer), context=context)
    return [ScoredText(ids, row.tolist(), size) for ids, row, size in zip(encoded, told, sizes, strict=True)]


def _masked(
    model: Model, params: Tree, tokenizer: Any, texts: Sequence[str], sizes: Sequence[int], context: int | None
) -> list[ScoredText]:
    named = tuple(tokenizer.specials)[:3]
    require(
        'mask' in tokenizer.specials, 'data.specials', named, 'this network is no language model: its tokenizer has no mask'
    )
    first, last = tokenizer.edges()
    inner = [tokenizer.encode_rendered(text).tolist() for text in texts]
    rows = [np.concatenate([first, ids, last]).astype(np.int32) for ids in inner]
    for row, text in zip(rows, texts, strict=True):
        if context and len(row) > context:
            raise UsageError(f'text={text[:40]!r}...: has {len(row)} tokens and the network reads {context}; shorten it')
    places = [range(len(first), len(first) + len(ids)) for ids in inner]
    hidden = [_hide(row, at, tokenizer.specials['mask']) for row, each in zip(rows, places, strict=True) for at in each]
    read = partial(_read, partial(_logprobs, model.apply, model.score, params), context)
    told = iter(by_length(read, hidden, ROWS, length=lambda one: len(one.ids)))
    return [ScoredText(ids, [float(next(told)) for _ in ids], size) for ids, size in zip(inner, sizes, strict=True)]


def _hide(ids_T: np.ndarray, at: int, mask: int) -> Masked:
    hidden = ids_T.copy()
    hidden[at] = mask
    return Masked(hidden, at, int(ids_T[at]))


def _read(logprobs: Any, context: int | None, some: Sequence[Masked]) -> np.ndarray:
    """The log-probability of each token that is hidden."""
    lengths_B = np.array([len(one.ids) for one in some], np.int32)
    width = padded_width(int(lengths_B.max()), context or 0)
    ids_BxT = np.stack([np.pad(one.ids, (0, width - len(one.ids))) for one in some])
    at_B, token_B = np.array([(one.at, one.token) for one in some], np.int32).T
    return np.asarray(logprobs(ids_BxT, lengths_B, at_B, token_B))


@partial(jax.jit, static_argnames=('apply', 'score'))
def _logprobs(apply: Any, score: Any, params: Tree, ids_BxT: Any, lengths_B: Any, at_B: Any, token_B: Any) -> Any:
    hidden_BxTxD = apply(params, padded_inputs(ids_BxT, lengths_B)).hidden
    hidden_Bx1xD = jnp.take_along_axis(hidden_BxTxD, at_B[:, None, None], axis=1)
    return score(params, hidden_Bx1xD, token_B[:, None]).logprob[:, 0]
