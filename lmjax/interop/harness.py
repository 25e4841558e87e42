"""lm-evaluation-harness (Gao et al. 2021) asks, a network of lmjax answers: likelihoods of texts, and what follows them.

`Examinee` answers, of plain texts and without the library; `language_model` is the same as an object of the library's own
class, for `lm_eval.simple_evaluate(model=...)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lmjax.config import UsageError, require
from lmjax.data.chat import need_chat, render_chat
from lmjax.generate.config import SamplingConfig
from lmjax.generate.continuations import continue_prompts
from lmjax.generate.likelihoods import continuation_likelihoods, text_likelihoods
from lmjax.generate.text import first_id

if TYPE_CHECKING:
    from lmjax.types import Model, Tree

NEW_TOKENS = 256  # of an answer, where a task does not say; the harness's own number
# what a task may ask of a continuation -> the field of SamplingConfig; of names with the same field the first one counts
SETTINGS = {
    'max_gen_toks': 'max_new_tokens',
    'max_new_tokens': 'max_new_tokens',
    'max_tokens': 'max_new_tokens',
    'max_completion_tokens': 'max_new_tokens',
    'temperature': 'temperature',
    'top_k': 'top_k',
    'top_p': 'top_p',
    'min_p': 'min_p',
    'repetition_penalty': 'repetition_penalty',
    'num_beams': 'num_beams',
    'seed': 'seed',
}


class Examinee:
    """A network that goes on with text, asked as the harness asks.

    Raises UsageError for a network that does not: an encoder, an encoder-decoder, one without a tokenizer, or a prefix
    language model, which reads a prompt whole.
    """

    def __init__(self, model: Model, params: Tree, tokenizer: Any, *, context: int | None = None, opens: bool = False) -> None:
        remedy = 'the harness asks how likely texts are and what follows; take a decoder'
        require(tokenizer is not None, 'model', 'without a tokenizer', 'cannot read tasks; add its tokenizer.json')
        require(model.traits.causal and model.traits.cached, 'model', 'encoder', remedy)
        require(not model.traits.sourced, 'model', 'encoder-decoder', remedy)
        require(not opens, 'objective.kind', 'prefix', f'reads a prompt whole; {remedy}')
        self.model, self.params, self.tokenizer, self.context = model, params, tokenizer, context
        self._before = [int(i) for i in tokenizer.edges()[0]]
        self._start = first_id(tokenizer)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Of each context and continuation the log-likelihood in nats, and whether the continuation is the greedy one.

        Raises UsageError for a continuation without a token, or longer than the network's context.
        """
        ids = [self.split(*pair) for pair in pairs]
        for (_, after), pair in zip(ids, pairs, strict=True):
            require(
                len(after) > 0, 'continuation', pair[1], f'has no token of its own after {pair[0][-40:]!r}; change the task'
            )
        found = continuation_likelihoods(self.model, self.params, ids, context=self.context)
        return [(each.log_likelihood, each.is_greedy) for each in found]

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """The log-likelihood of each whole text in nats."""
        rows = [self.encode(text, special=False) for text in texts]
        return text_likelihoods(self.model, self.params, rows, start=self._start, context=self.context)

    def continuations(self, asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """What follows each text under settings of its own; greedy unless they ask for a temperature or `do_sample`."""
        samplings = [sampling_of(settings) for _, settings in asked]
        found = [''] * len(asked)
        for sampling in list(dict.fromkeys(map(dataclasses.astuple, samplings))):
            these = [i for i, other in enumerate(samplings) if dataclasses.astuple(other) == sampling]
            prompts = [np.array(self.encode(asked[i][0]) or [self._start], np.int32) for i in these]
            told = continue_prompts(
                self.model, self.params, self.tokenizer, prompts, SamplingConfig(*sampling), context=self.context
            )
            for i, text in zip(these, told, strict=True):
                found[i] = text
        return found

    def split(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of a context and of what comes after it, as the harness's own models split them.

        The two are encoded together, white space at the end of the context as part of the continuation: what the ids of the
        context alone do not cover is scored. Without a context the token that begins a text stands for it.
        """
        bare = context.rstrip()
        before, whole = self.encode(bare), self.encode(context + continuation, special=bool(bare))
        after = whole[len(before) :] if bare else whole
        if before and bare:
            return before, after
        return (after[:1], after[1:]) if after[:1] == [self._start] else ([self._start], after)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of a text; `special`: after the tokens that its tokenizer begins every text with, unless it spells the first."""
        ids = [int(i) for i in self.tokenizer.encode_rendered(text)]
        return self._before + ids if special and ids[:1] != self._before[:1] else ids

    def chat(self, messages: Sequence[Mapping[str, Any]], *, answer: bool = True) -> str:
        """A conversation as its checkpoint's chat template writes it; without `answer` the last message is still open."""
        chat = need_chat('tokenizer', self.tokenizer)
        text = render_chat(chat, messages, add_generation_prompt=answer)
        if answer:
            return text
        said = str(messages[-1]['content']).strip()
        return text[: text.rindex(said) + len(said)]


def sampling_of(asked: Mapping[str, Any]) -> SamplingConfig:
    """How a task wants a text continued. Raises UsageError for what is not to be had."""
    settings = {name: value for name, value in asked.items() if value is not None}
    until, draws = settings.pop('until', ()), settings.pop('do_sample', None)
    stop = (until,) if isinstance(until, str) else tuple(until)
    given: dict[str, Any] = {}
    for name in settings:
        require(name in SETTINGS, f'generation_kwargs.{name}', settings[name], f'no such setting; {", ".join(SETTINGS)}')
    for name, field in SETTINGS.items():
        if name in settings:
            given.setdefault(field, settings[name])
    greedy = not given.get('temperature') if draws is None else not draws
    if greedy:
        given = {
            field: value for field, value in given.items() if field in ('max_new_tokens', 'repetition_penalty', 'num_beams')
        }
    return SamplingConfig(**{'max_new_tokens': NEW_TOKENS, **given}, greedy=greedy, stop=tuple(text for text in stop if text))


def library() -> Any:
    """The package lm_eval. Raises UsageError where it is missing."""
    try:
        import lm_eval
    except ImportError as error:
        remedy = "pip install -e '.[harness]'"
        raise UsageError(f'lm_eval=None: lm-evaluation-harness cannot be loaded ({error}); {remedy}') from None
    return lm_eval


def language_model(examinee: Examinee, *, name: str = '') -> Any:
    """The same as an object of lm_eval's class LM. Raises UsageError where lm_eval is missing."""
    library()
    from lm_eval.api.model import LM

    class LanguageModel(LM):
        tokenizer_name = examinee.tokenizer.digest

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            return self._told('loglikelihood', requests, examinee.likelihoods)

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            return self._told('loglikelihood_rolling', requests, lambda asked: examinee.rolling([text for (text,) in asked]))

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            return self._told('generate_until', requests, examinee.continuations)

        def apply_chat_template(self, chat_history: Sequence[Any], add_generation_prompt: bool = True) -> str:
            return examinee.chat(chat_history, answer=add_generation_prompt)

        def chat_template(self, chat_template: bool | str = False) -> str:
            return need_chat('tokenizer', examinee.tokenizer).templates.get('default', '') if chat_template else ''

        def get_model_info(self) -> dict[str, Any]:
            return {'model': name or 'lmjax', 'model_args': {}, 'max_length': examinee.context}

        def _told(self, kind: str, requests: Sequence[Any], tell: Callable[[list[Any]], list[Any]]) -> list[Any]:
            asked = [request.args for request in requests]
            told = tell(asked)
            for args, answer in zip(asked, told, strict=True):
                self.cache_hook.add_partial(kind, args, answer)
            return told

    return LanguageModel()
