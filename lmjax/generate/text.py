"""Text in, text out: prompts are encoded, tokens become printable pieces as they come, stop strings cut.

A sample ends at a stop string (which is left out), where the network ends the document (the tokenizer's separator), or after
`max_new_tokens`. Samples hold what follows the prompt, not the prompt; an encoder-decoder reads the prompt as its source. With
`num_beams` they are the hypotheses of beam search, best first and all at once; a stop string cuts their text and does not steer
the search.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lmjax.config import UsageError
from lmjax.data.special_tokens import end_id, start_id
from lmjax.data.tokenizers import MASK
from lmjax.generate.beams import stream_best
from lmjax.generate.decode import STOPPED, stream
from lmjax.generate.sampling import validate

if TYPE_CHECKING:
    from lmjax.data.tokenizers import Tokenizer
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Model, Tree

REPLACEMENT = '\ufffd'  # what bytes that are no character decode to
REMEMBERED = 8  # tokens decoded again with each new one: how a token reads depends on its neighbours only


class Sample(NamedTuple):
    text: str
    tokens: int  # drawn for it, those of the stop string or the separator included
    finish: str  # length, stop (a stop string), end (of the document)


class Generation(NamedTuple):
    samples: list[Sample]
    tokens: int  # drawn in all rows; a row whose stop string came draws on until every row is done
    seconds: float
    first_seconds: float  # until the first token: compiling and reading the prompt
    tokens_per_second: float  # of all samples together, once everything is compiled


def generate_text(
    model: Model,
    params: Tree,
    tokenizer: Any,
    prompt: str | np.ndarray,
    sampling: SamplingConfig,
    *,
    context: int | None = None,
) -> list[str]:
    """`sampling.num_samples` continuations of a prompt, a text or its ids.

    Raises UsageError for bad settings or a character that is unknown.
    """
    return [sample.text for sample in generate(model, params, tokenizer, prompt, sampling, context=context).samples]


def generate(
    model: Model,
    params: Tree,
    tokenizer: Any,
    prompt: str | np.ndarray,
    sampling: SamplingConfig,
    *,
    context: int | None = None,
) -> Generation:
    """The same with the figures of each sample and of the whole."""
    pieces = stream_text(model, params, tokenizer, prompt, sampling, context=context)
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            return stop.value


def stream_text(
    model: Model,
    params: Tree,
    tokenizer: Any,
    prompt: str | np.ndarray,
    sampling: SamplingConfig,
    *,
    context: int | None = None,
) -> Generator[str, None, Generation]:
    """Printable pieces of the first sample as they come; the generator's return value holds all samples.

    Raises UsageError at once for bad settings or a character that the tokenizer lacks.
    """
    validate(sampling)
    source = source_ids(tokenizer, prompt) if model.traits.sourced else None
    prompt_ids = start_ids(tokenizer, prompt) if source is None else np.array([start_id(tokenizer)], np.int32)
    ends = tokenizer.end_ids
    if sampling.num_beams > 1:
        chunks = stream_best(model, params, prompt_ids, sampling, context=context, stop_ids=ends, source=source)
    else:
        many = sampling.num_samples
        sources = None if source is None else [source] * many
        chunks = stream(model, params, [prompt_ids] * many, sampling, context=context, stop_ids=ends, sources=sources)
    rows = [Continuation(tokenizer, prompt_ids, sampling.stop) for _ in range(sampling.num_samples)]
    return _stream_text(chunks, rows)


def _stream_text(chunks: Iterator[np.ndarray], rows: list[Continuation]) -> Generator[str, None, Generation]:
    clock = [time.perf_counter()]
    drawn = []
    for tokens_Bxn in chunks:
        clock.append(time.perf_counter())
        drawn.append(int((tokens_Bxn != STOPPED).sum()))
        for row, tokens in zip(rows, tokens_Bxn, strict=True):
            piece = ''.join([row.push(int(token)) for token in tokens])
            if row is rows[0] and piece:
                yield piece
        if all(row.finish for row in rows):
            break
    last = [row.close() for row in rows]
    if last[0]:
        yield last[0]
    # The first token waits for one compilation, the first chunk for another.
    steady = 2 if len(drawn) > 2 else 0
    rate = sum(drawn[steady:]) / max(clock[-1] - clock[steady], 1e-9)
    # Beam search may find fewer hypotheses than were asked for: a row without a token is none.
    samples = [Sample(row.text, row.tokens, row.finish) for row in rows if row.tokens]
    return Generation(samples, sum(drawn), clock[-1] - clock[0], clock[1] - clock[0], rate)


def start_ids(tokenizer: Any, prompt: str | np.ndarray) -> np.ndarray:
    """The prompt's ids, which it may be already; never empty.

    Without a prompt the text begins as a document does: after the separator, or where the tokenizer has none after a newline,
    else after a space, else after the token with id 0.
    """
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    if len(ids):
        return np.asarray(ids, np.int32)
    if tokenizer.separator_id is not None:
        return np.array([tokenizer.separator_id], np.int32)
    for text in ('\n', ' '):
        try:
            ids = tokenizer.encode(text)
        except UsageError:
            continue
        if len(ids):
            return np.asarray(ids[:1], np.int32)
    return np.zeros(1, np.int32)


def first_id(tokenizer: Any) -> int:
    """The token that stands for no context: a chat checkpoint's own, where it names one, else what begins a document."""
    named = tokenizer.chat.tokens.get('bos_token', '') if tokenizer.chat else ''
    ids: Sequence[int] = tokenizer.encode_rendered(named) if named else []
    return int(ids[0] if len(ids) == 1 else start_ids(tokenizer, '')[0])


def source_ids(tokenizer: Tokenizer, text: str | np.ndarray) -> np.ndarray:
    """A text (or its ids) as an encoder-decoder reads it, the end token after it; `<mask>` stands for a mask or a sentinel."""
    if isinstance(text, str):
        text = tokenizer.encode_marked(text) if MASK in text else tokenizer.encode(text)
    ids, end = np.asarray(text, np.int32), end_id(tokenizer)
    return ids if len(ids) and ids[-1] in tokenizer.end_ids else np.append(ids, np.int32(end))


class Continuation:
    """One sample's text as it grows: `push` each token, then `close`; both return what can be printed now.

    Held back are half a character (bytes of UTF-8 may come token by token) and what may be the beginning of a stop string.
    """

    def __init__(self, tokenizer: Any, prompt_ids: Sequence[int] | np.ndarray, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.text, self.tokens, self.finish = '', 0, ''
        self._held = ''  # decoded, but perhaps the beginning of a stop string
        self._window = [int(i) for i in prompt_ids][-REMEMBERED:]  # the last tokens, for how a token reads depends on them
        self._read = len(tokenizer.decode(self._window))  # characters of the window's text that are in `text` or held

    def push(self, token: int) -> str:
        """Takes the next token; nothing happens after the end."""
        if self.finish or token == STOPPED:
            return ''
        self.tokens += 1
        if token in self.tokenizer.end_ids:
            return self._end('end', self._decoded(whole=True))
        self._window.append(token)
        self._held += self._decoded(whole=False)
        cuts = [index for index in (self._held.find(stop) for stop in self.stop) if index >= 0]
        if cuts:
            self._held = self._held[: min(cuts)]
            return self._end('stop', '')
        free = len(self._held) - self._beginning_of_stop()
        piece, self._held = self._held[:free], self._held[free:]
        self.text += piece
        return piece

    def close(self) -> str:
        """No more tokens come."""
        return '' if self.finish else self._end('length', self._decoded(whole=True))

    def _end(self, finish: str, more: str) -> str:
        piece, self._held, self.finish = self._held + more, '', finish
        self.text += piece
        return piece

    def _decoded(self, *, whole: bool) -> str:
        """The window's text that is new; an incomplete character at its end only if `whole`."""
        text = self.tokenizer.decode(self._window)
        ready = text if whole or not text.endswith(REPLACEMENT) else text[:-1]
        piece, self._read = ready[self._read :], max(len(ready), self._read)
        if ready == text and len(self._window) > 2 * REMEMBERED:
            self._window = self._window[-REMEMBERED:]
            self._read = len(self.tokenizer.decode(self._window))
        return piece

    def _beginning_of_stop(self) -> int:
        """How many characters at the end of what is held may become a stop string."""
        sizes = (n for stop in self.stop for n in range(1, len(stop)) if self._held.endswith(stop[:n]))
        return max(sizes, default=0)
