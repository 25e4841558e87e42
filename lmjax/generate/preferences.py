"""Which of two answers to a prompt a network finds the likelier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmjax.data.preferences import encode_sides
from lmjax.generate.likelihoods import continuation_likelihoods

if TYPE_CHECKING:
    from lmjax.generate.answers import Teller


def read_preferences(teller: Teller, texts: Sequence[str]) -> list[tuple[float, float]]:
    """The log-likelihood of the first and the second answer of each text, a JSON list of a prompt and two answers, in nats.

    Raises UsageError for a text that is none, or answers that do not fit.
    """
    pairs = encode_sides(texts, teller.tokenizer, seq_len=teller.context)
    asked = [(side.before.tolist(), side.answer.tolist()) for sides in pairs for side in sides]
    found = iter(continuation_likelihoods(teller.model, teller.params, asked, context=teller.context))
    return [(next(found).log_likelihood, next(found).log_likelihood) for _ in texts]
