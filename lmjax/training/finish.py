"""The end of a run: samples, the facts for the report, the report, and a line on what to try next."""

from __future__ import annotations

import os
import time
from typing import Any

import jax
import numpy as np

from lmjax.config import UsageError
from lmjax.data.corpus import Corpus, compressor_lines, held_out_labels
from lmjax.data.tokenizers import MASK
from lmjax.generate.answers import ANSWERS, answers_to, teller_of
from lmjax.generate.fill import fill_mask
from lmjax.generate.languages import speaking
from lmjax.generate.text import generate_text
from lmjax.models.params import count_params
from lmjax.objectives.table import objective_of
from lmjax.ops.flops import count_flops
from lmjax.training.config import Config
from lmjax.training.environment import environment
from lmjax.training.program import plain_batch
from lmjax.training.report import write_report
from lmjax.training.scores import SCORES, unit_of
from lmjax.training.state import hparams_of
from lmjax.training.workdir import write_json
from lmjax.types import Model, Tree

READ, WORST = 2000, 10  # held-out texts that are told once more, and those of them that are shown


def context_of(config: Config, model: Model) -> int | None:
    """How many tokens a model can look back on: those it was trained on at once, or None for a recurrent one."""
    return None if model.traits.recurrent else getattr(config.model, 'context', 0) or config.data.seq_len


def finish(
    config: Config,
    corpus: Corpus,
    model: Model,
    params: Tree,
    valid: dict[str, Any],
    workdir: str,
    *,
    records: list[dict[str, Any]],
    say: Any,
) -> None:
    """Writes samples.txt, run.json and report.html, and says what came out: `valid`, the evaluation of `params`."""
    samples = _samples(config, corpus, model, params)
    with open(os.path.join(workdir, 'samples.txt'), 'w', encoding='utf-8') as file:
        file.write(samples)
    say(samples)
    known = facts(config, corpus, model, params, records)
    errors = worst_errors(config, corpus, model, params)
    write_json(os.path.join(workdir, 'run.json'), {**known, 'errors': errors, 'outcome_step': valid.get('step')})
    if config.log.report:
        say(f'report: {write_report(workdir)}')
    say(summary(valid))
    if config.next_step:
        say(f'next: {config.next_step}')


def summary(valid: dict[str, Any]) -> str:
    """An evaluation in a line: of tokens, or of whole texts."""
    if 'texts' in valid:
        told = {name: score for name, score in SCORES.items() if name in valid and name != 'loss_nats'}
        scores = [f'{name} {valid[name]:{score.form}}' for name, score in told.items() if valid[name] is not None]
        nats = [] if 'squared_error' in valid else [f'{valid["loss_nats"]:.4f} nats a {unit_of(valid)}']
        return f'validation: {", ".join(nats + scores)}'
    bits = valid.get('bits_per_byte')
    line = f'validation: {valid["loss_nats"]:.4f} nats a token, perplexity {valid["perplexity"]:.2f}'
    return line + (f', {bits:.3f} bits per byte' if bits is not None else '')


def _samples(config: Config, corpus: Corpus, model: Model, params: Any) -> str:
    objective, parts = objective_of(config.objective), []
    if objective.report is not None:
        return ''  # no token is ever told: what the head says is as it was born
    reader = speaking(objective.reader(model), config.objective, config.sample.language)
    for prompt in config.log.prompts:
        try:
            parts += _said_of(config, corpus, model, reader, params, prompt)
        except UsageError as error:  # a prompt that the network cannot read must not cost the report
            parts.append(f'--- {prompt!r}: {error}\n')
    return '\n'.join(parts)


def _said_of(config: Config, corpus: Corpus, model: Model, reader: Model, params: Any, prompt: str) -> list[str]:
    if not model.traits.cached:
        return _fillings(config, corpus, model, params, prompt)
    texts = generate_text(reader, params, corpus.tokenizer, prompt, config.sample, context=context_of(config, model))
    return [f'--- sample {i + 1} of {prompt!r}\n{text}\n' for i, text in enumerate(texts)]


def _fillings(config: Config, corpus: Corpus, model: Model, params: Any, prompt: str) -> list[str]:
    """What a network that cannot go on with a text puts in place of the masks of a prompt."""
    if MASK not in prompt:
        return []
    found = fill_mask(model, params, corpus.tokenizer, prompt, context=context_of(config, model))
    lines = [', '.join(f'{filling.text!r} {filling.probability:.3f}' for filling in fillings) for fillings in found]
    return [f'--- {prompt!r}\n' + '\n'.join(lines) + '\n']


def worst_errors(config: Config, corpus: Corpus, model: Model, params: Tree) -> list[dict[str, Any]]:
    """Of the held-out texts (the first READ) those with the greatest loss: text, label, what was told, and the loss.

    Empty where nothing is told of a text, or no text is told wrong.
    """
    kind = objective_of(config.objective).labels
    if kind not in ANSWERS or ANSWERS[kind].loss is None:
        return []
    texts, written, numbers = held_out_labels(config.data, config.objective.classes)
    teller = teller_of(model, params, corpus.tokenizer, config.objective, config.data, config.sample)
    rows = answers_to(teller, kind, texts[:READ], written[:READ], numbers[:READ])
    wrong = sorted((row for row in rows if row['told'] != row['label']), key=lambda row: -row['loss_nats'])
    return [{name: row[name] for name in ('text', 'label', 'told', 'loss_nats')} for row in wrong[:WORST]]


def facts(config: Config, corpus: Corpus, model: Model, params: Any, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What the report says beyond curves and config: sizes, speed, work, text, software and hardware."""
    speeds = [row['tokens_per_second'] for row in records if row.get('split') == 'train' and 'tokens_per_second' in row]
    tokens = sum(row.get('tokens', 0) for row in records if row.get('split') == 'train')
    work = flops_per_token(config, model, params)
    return {
        'finished': time.strftime('%Y-%m-%d %H:%M:%S %z'),
        'parameter_count': count_params(params),
        'flops_per_token': work,
        'flops_formula': 'three times the forward pass (one forward, two backward); a multiply-add counts two',
        'flops_total': work * tokens,
        'tokens_trained': tokens,
        'tokens_per_second': float(np.median(speeds[1:] or speeds)) if speeds else None,
        'corpus': {
            'digest': corpus.digest,
            'counts': corpus.counts,
            'train_tokens': len(corpus.train.tokens),
            'valid_tokens': len(corpus.valid.tokens),
            'vocab_size': corpus.tokenizer.vocab_size,
        },
        'compressors': compressor_lines(corpus),
        'environment': environment(),
    }


def flops_per_token(config: Config, model: Model, params: Any) -> float:
    """Operations of one training step per token of its batch, of text and sources.

    It is 3 x the objective's forward pass, for each ascent of an adversary.
    What the objective scores is counted and no more: of a masked model the head of the hidden tokens, of a student not its
    teacher.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    batch = plain_batch(config, model.vocab_size, rows=2)  # a text by itself has nothing to be told from
    loss, hparams = objective_of(config.objective).loss, hparams_of(config)
    work = count_flops(lambda params: loss(model, params, batch, hparams, None)[0], shapes)
    sources = batch.inputs.source_ids
    passes = 3.0 * (config.adversary.steps if config.adversary.kind else 1)
    return passes * work / (np.size(batch.inputs.ids) + (0 if sources is None else np.size(sources)))
