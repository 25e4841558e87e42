"""What a notebook holds of a trained run or a checkpoint: its network, asked for logits, text, vectors and scores."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lmjax.config import UsageError, require
from lmjax.training.config import Config

if TYPE_CHECKING:
    import numpy as np

    from lmjax.generate.answers import Teller
    from lmjax.generate.config import SamplingConfig
    from lmjax.generate.scores import ScoredText
    from lmjax.interop.harness import Examinee
    from lmjax.types import Array, Model, Teacher, Tree


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run: its config, network, parameters and tokenizer."""

    workdir: str
    config: Config
    model: Model
    params: Tree
    tokenizer: Any  # None where an imported checkpoint has none

    @property
    def context(self) -> int | None:
        """Tokens that the network can look back on; None for a recurrent one."""
        from lmjax.training.finish import context_of

        return context_of(self.config, self.model)

    @functools.cached_property
    def reader(self) -> Model:
        """The network as it reads the prompts that it goes on with: that of a prefix language model sees them whole."""
        from lmjax.objectives.table import objective_of

        return objective_of(self.config.objective).reader(self.model)

    def reader_in(self, language: str) -> Model:
        """The same as it goes on in a language, by default the first of a run of objective.kind=languages."""
        from lmjax.generate.languages import speaking

        return speaking(self.reader, self.config.objective, language)

    def logits(self, ids: Any, source_ids: Any = None) -> Array:
        """Logits of the next token: ids (batch x time, or time) -> batch x time x vocabulary, float32.

        An encoder-decoder needs `source_ids` (batch x time, or time) beside the ids of its decoder.
        """
        import jax
        import numpy as np

        from lmjax.types import Inputs

        remedy = 'this network reads no source; put it before the ids'
        require(self.model.traits.sourced or source_ids is None, 'source_ids', source_ids, remedy)
        given = {'ids': ids} if source_ids is None else {'ids': ids, 'source_ids': source_ids}
        rows = {name: np.atleast_2d(np.asarray(value, np.int32)) for name, value in given.items()}
        for name, value in rows.items():
            if value.size and not 0 <= value.min() <= value.max() < self.model.vocab_size:
                raise UsageError(f'{name}={int(value.max())}: outside of the vocabulary of {self.model.vocab_size}')

        @jax.jit
        def forward(params: Tree, inputs: Inputs) -> Array:
            return self.model.score(params, self.model.apply(params, inputs).hidden)

        return forward(self.params, Inputs(**rows))

    def generate(self, prompt: str = '', **settings: Any) -> list[str]:
        """Samples that continue a prompt; settings are SamplingConfig's fields."""
        sampling = sampling_of(settings)
        self.need_tokenizer()
        return self._continue(prompt, sampling)

    def chat(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] | None = None, template: str = '', **settings: Any
    ) -> str:
        """The assistant's answer to a conversation, written as the checkpoint's chat template says.

        Args:
          messages: each `{'role': 'user', 'content': 'text'}`; roles are those that the template knows.
          tools: JSON schemas of functions, for templates that tell the network of them.
          template: which one, where the checkpoint has several; '': the default, or the one for tools.
          settings: SamplingConfig's fields; what is not given is as the run's config has it.

        Raises:
          UsageError: no chat template, messages that it refuses, or bad settings.
        """
        require(
            settings.get('num_samples', 1) == 1,
            'num_samples',
            settings.get('num_samples'),
            'a chat has one answer; leave it out',
        )
        sampling = sampling_of(settings, self.config.sample)
        return self._continue(self.chat_ids(messages, tools=tools, template=template), sampling)[0]

    def chat_ids(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] | None = None, template: str = ''
    ) -> np.ndarray:
        """What `chat` goes on with: the conversation as ids, int32, up to where the assistant's answer begins."""
        from lmjax.data.chat import chat_ids

        self.need_tokenizer()
        return chat_ids(self.tokenizer, messages, tools=tools, template=template)

    def _continue(self, prompt: str | np.ndarray, sampling: SamplingConfig) -> list[str]:
        from lmjax.generate.text import generate_text

        return generate_text(
            self.reader_in(sampling.language), self.params, self.tokenizer, prompt, sampling, context=self.context
        )

    def fill(self, text: str, *, count: int = 5) -> list[list[Any]]:
        """For each `<mask>` of a text the `count` likeliest tokens: their id, text and probability."""
        from lmjax.generate.fill import fill_mask

        self.need_tokenizer()
        return fill_mask(self.model, self.params, self.tokenizer, text, count=count, context=self.context)

    def embed(self, texts: Sequence[str], *, pooling: str = '', normalize: bool = True) -> Array:
        """One vector for each text, texts x width; a product of two is their cosine.

        `pooling`: mean, first, last or pooler; by default objective.pooling, with which a contrastive run was trained.
        """
        from lmjax.generate.embed import embed_texts

        self.need_tokenizer()
        args = (self.model, self.params, self.tokenizer, texts)
        pooling = pooling or self.config.objective.pooling
        return embed_texts(*args, pooling=pooling, normalize=normalize, context=self.context)

    def word_vectors(self, words: Sequence[str], *, layer: str = 'table') -> np.ndarray:
        """One vector of length 1 for each word, words x width: see `lmjax.generate.word_vectors.word_vectors`."""
        from lmjax.generate.word_vectors import word_vectors

        self.need_tokenizer()
        return word_vectors(self.model, self.params, self.tokenizer, words, layer=layer, context=self.context)

    def score(self, texts: Sequence[str], *, end: bool = False) -> list[ScoredText]:
        """How likely each text is, its nats, its tokens' and its bits per byte: see `lmjax.generate.scores.score_texts`."""
        from lmjax.generate.scores import need_scorer, score_texts

        self.need_tokenizer()
        need_scorer(self.config.objective, self.model)
        return score_texts(self.model, self.params, self.tokenizer, texts, end=end, context=self.context)

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """What a run that reads labels or pairs says of each text, by what it was trained to tell.

        classify: `label`, and the `probabilities` of all by name. multilabel: `labels`, those of more than 1/2, and
        `probabilities`. regress: `score`. tag: `words` (as white space parts them), their `tags`, how probable each is, and
        `spans` where tags spell them. seq2seq: the `target`, found as the config's `sample` says, but never drawn. caption: the
        `caption` of each file that is named, written greedily. prefer: which of two answers is `preferred`, and the `nats` of
        each. A text is cleaned as training did it, and cut too, but for words, which are all told; where two texts are read as
        one it is FIRST<TAB>SECOND.

        Raises:
          UsageError: the run tells nothing of texts, or a text has no token.
        """
        from lmjax.data.cleaning import edited
        from lmjax.generate.answers import answers
        from lmjax.training.rescoring import what_is_told

        kind = what_is_told(self.config)
        is_text = kind != 'caption'  # of which files are told
        return answers(self._teller, kind, [edited(text, self.config.data) if is_text else text for text in texts])

    def tell(self, source: str) -> list[dict[str, Any]]:
        """Each text of a source with labels: `text`, `label`, what was `told`, what `predict` says beside, and `loss_nats`.

        Of pairs the label is the target, and all are told, however long; how much of a surprise it is `evaluate` says alone.

        Raises:
          UsageError: as `predict`, a source without labels of the kind, or a label that training never saw.
        """
        from lmjax.generate.answers import answers_to
        from lmjax.training.rescoring import read_labelled, what_is_told

        return answers_to(self._teller, what_is_told(self.config, source), *read_labelled(self.config, source))

    @property
    def _teller(self) -> Teller:
        from lmjax.generate.answers import teller_of

        config = self.config
        return teller_of(self.model, self.params, self.tokenizer, config.objective, config.data, config.sample)

    def evaluate(self, text: str | None = None, *, source: str = '', stride: int = 0, seq_len: int = 0) -> dict[str, Any]:
        """Scores a text, a source such as 'text:books/*.txt', or (by default) the run's validation split.

        `stride` > 0 slides the window by that many tokens, each token still scored once with more context. `seq_len` is how
        many tokens are read at once, where these are to be fewer than in training, or, by a recurrent network, any number.

        Raises UsageError for texts that cannot be scored, or a `seq_len` beyond what the network can look back on.
        """
        from lmjax.training.rescoring import rescore

        self.need_tokenizer()
        most, config = self.context, self.config
        remedy = f'use 1 to {most}, the most that this network reads at once, or' if most else 'use 1 or more, or'
        require(0 <= seq_len <= (most or seq_len), 'seq_len', seq_len, f'{remedy} 0 for as many as in training')
        if seq_len:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, seq_len=seq_len))
        how: dict[str, Any] = {'text': text, 'source': source, 'stride': stride, 'teacher': self._judge()}
        found = rescore(config, self.model, self.params, self.tokenizer, **how)
        return {'workdir': self.workdir, 'seq_len': config.data.seq_len, **found}

    def _judge(self) -> Teacher | None:
        """The network that is asked beside this one where its objective is judged by another."""
        from lmjax.objectives.table import objective_of
        from lmjax.training.teacher import as_teacher, load_teacher

        is_judged = self.config.objective.teacher and objective_of(self.config.objective).judged
        return as_teacher(load_teacher(self.config, load_there), self.config, self.tokenizer) if is_judged else None

    def harness(self, tasks: str, *, limit: int = 0, shots: int | None = None, chat: bool = False) -> dict[str, Any]:
        """What lm-evaluation-harness reports of tasks: a folder of its YAML files, such a file, or its own by name.

        `limit` texts of each (0: all), with `shots` solved ones before (None: as the task says), in the checkpoint's chat
        template if `chat`. Each answer is in `samples`; `interop.harness.language_model` is for the harness's own functions.

        Raises:
          UsageError: a network that does not go on with text, no such task, or lm_eval is missing.
        """
        from lmjax.interop.harness_tasks import run_tasks

        return run_tasks(self.examinee, tasks, limit=limit, shots=shots, chat=chat, name=self.workdir)

    @property
    def examinee(self) -> Examinee:
        """The network as lm-evaluation-harness asks it."""
        from lmjax.interop.harness import Examinee

        self.need_tokenizer()
        whole = self.reader is not self.model
        return Examinee(self.model, self.params, self.tokenizer, context=self.context, opens=whole)

    def need_tokenizer(self) -> None:
        """Raises UsageError where there is no tokenizer to read and write text with."""
        if self.tokenizer is None:
            raise UsageError(f'{self.workdir}: has no tokenizer.json, so only `logits` of ids can be had; add the file')


def sampling_of(settings: Mapping[str, Any], base: SamplingConfig | None = None) -> SamplingConfig:
    """SamplingConfig of its fields by name, the others as in `base`; raises UsageError for another name."""
    from lmjax.generate.config import SamplingConfig

    names = [field.name for field in dataclasses.fields(SamplingConfig)]
    for name in settings:
        if name not in names:
            raise UsageError(f'{name}={settings[name]!r}: no such setting; choose from: {", ".join(names)}')
    return dataclasses.replace(base or SamplingConfig(), **settings)


def load(workdir: str, *, step: int | None = None) -> Run:
    """The run in a folder, at its newest checkpoint (its best one where train.load_best) or at `step`.

    Needs no other files, but for what the run adapts, if it does: what was learned is then put into its weights.

    'hf:DIR' and 'hf:NAME' are a checkpoint in Hugging Face's format, in a folder or on the Hub, 'gguf:FILE' one of llama.cpp's.

    Raises:
      UsageError: there is no run, no checkpoint, or it does not fit.
    """
    from lmjax.caches import keep_compiled_programs
    from lmjax.interop.sources import is_imported

    if is_imported(workdir):
        require(step is None, 'step', step, f'{workdir} is one checkpoint and has no steps; leave it out')
        return _load_imported(workdir)
    from lmjax.data.tokenizers import load_tokenizer
    from lmjax.interop.starts import run_params
    from lmjax.training.network import network_of
    from lmjax.training.workdir import read_config

    keep_compiled_programs()
    config = read_config(workdir)
    tokenizer = load_tokenizer(os.path.join(workdir, 'tokenizer'))
    model = network_of(config, tokenizer.vocab_size)
    params = run_params(workdir, config, tokenizer, model, step=step, best=config.train.load_best)
    return Run(workdir, config, model, params, tokenizer)


def load_there(name: str) -> Run:
    """As `load`. Raises FileNotFoundError where there is no such folder."""
    from lmjax.interop.sources import is_imported

    if not is_imported(name) and not os.path.isdir(name):
        raise FileNotFoundError(name)
    return load(name)


def _load_imported(name: str) -> Run:
    from lmjax.caches import keep_compiled_programs
    from lmjax.interop.sources import import_checkpoint
    from lmjax.models import build

    keep_compiled_programs()
    config, params, tokenizer = import_checkpoint(name)
    model = build(config.model, vocab_size=config.data.vocab_size, seq_len=config.data.seq_len)
    return Run(name, config, model, params, tokenizer)
