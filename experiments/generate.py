"""Continue a prompt with a trained run; streams the first sample, prints the others, tokens per second and one JSON line.

A masked language model tells instead what stands in place of each `<mask>` of the prompt, the likeliest tokens first.

`python -m experiments.generate --workdir=runs/quickstart --prompt='def main(' --num_samples=3 --temperature=0.8`
`python -m experiments.generate --model=hf:DIR --prompt='Once upon a time' --max_length=50`

`--model` takes what others trained, a folder in Hugging Face's format or a Hub id, and needs no workdir; it is greedy unless a
flag asks for sampling. What is not given comes from the run's `config.sample`. The prompt may come from a file or, with
`--prompt_file=-`, from standard input. `--num_beams` searches for the likeliest continuations, without
the run's settings for sampling; the best `--num_samples` are printed. `--max_length` (which counts the prompt's tokens) and
`--num_return_sequences` are aliases known from elsewhere.

`--chat` takes the prompt for a user's message to a network that was taught to chat, `--system` for what stands before it:
`python -m experiments.generate --model=hf:DIR --chat --system='Be brief.' --prompt='What is a mole?'`
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from absl import flags

import lmjax
from experiments import cli
from lmjax.generate.sampling import SAMPLERS

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run.')
_MODEL = flags.DEFINE_string('model', None, 'hf:DIR or hf:NAME, in the format of Hugging Face; gguf:FILE; or a workdir.')
_STEP = flags.DEFINE_integer('step', 0, 'Which checkpoint; 0: the newest, or the best where train.load_best.')
_PROMPT = flags.DEFINE_string('prompt', None, 'Text to continue; empty: begin a new document.')
_PROMPT_FILE = flags.DEFINE_string('prompt_file', None, 'File that holds the prompt; - is standard input.')
_CHAT = flags.DEFINE_bool('chat', False, "The prompt is a message, written as the checkpoint's chat template says.")
_SYSTEM = flags.DEFINE_string('system', None, 'With --chat: the message that tells the assistant how to answer.')
_MAX_NEW_TOKENS = flags.DEFINE_integer('max_new_tokens', None, 'Tokens to add.')
_MAX_LENGTH = flags.DEFINE_integer('max_length', None, 'Tokens in all, those of the prompt counted.')
_NUM_SAMPLES = flags.DEFINE_integer('num_samples', None, 'How many continuations.')
_NUM_RETURN_SEQUENCES = flags.DEFINE_integer('num_return_sequences', None, 'The same as --num_samples.')
_STOP = flags.DEFINE_multi_string('stop', None, 'Text that ends a sample and is left out; may be given several times.')
_SETTINGS = {
    'temperature': flags.DEFINE_float('temperature', None, 'Below 1 is safer, above 1 is wilder; 0 means greedy.'),
    'top_k': flags.DEFINE_integer('top_k', None, 'Choose among the k most likely tokens; 0: all.'),
    'top_p': flags.DEFINE_float('top_p', None, 'Choose among the most likely tokens that reach this probability; 1: all.'),
    'min_p': flags.DEFINE_float('min_p', None, 'Drop tokens less likely than this times the most likely one; 0: none.'),
    'repetition_penalty': flags.DEFINE_float('repetition_penalty', None, 'Above 1 discourages tokens seen before; 1: off.'),
    'num_beams': flags.DEFINE_integer('num_beams', None, 'Search with so many beams for what is most likely; 1: off.'),
    'length_penalty': flags.DEFINE_float('length_penalty', None, 'Of beam search: above 0 favours long continuations.'),
    'early_stopping': flags.DEFINE_bool('early_stopping', None, 'End a beam search with num_beams finished continuations.'),
    'greedy': flags.DEFINE_bool('greedy', None, 'Always the most likely token.'),
    'language': flags.DEFINE_string('language', None, 'Of a network that was trained on several; by default the first.'),
    'seed': flags.DEFINE_integer('seed', None, 'The same seed draws the same samples.'),
}


def main(_: Sequence[str]) -> int:
    name = _MODEL.value or _WORKDIR.value
    if not name:
        raise lmjax.UsageError(
            '--workdir: missing; name the folder of a run, as in --workdir=runs/quickstart, or --model=hf:DIR'
        )
    _refuse_both(_WORKDIR, _MODEL)
    _refuse_both(_PROMPT, _PROMPT_FILE)
    _refuse_both(_MAX_NEW_TOKENS, _MAX_LENGTH)
    _refuse_both(_NUM_SAMPLES, _NUM_RETURN_SEQUENCES)
    if _SYSTEM.value is not None and not _CHAT.value:
        raise lmjax.UsageError(f'--system={_SYSTEM.value!r}: is a message of a chat; add --chat')
    prompt = _prompt()
    run = lmjax.load(name, step=_STEP.value or None)
    run.need_tokenizer()
    if _CHAT.value and not run.model.traits.cached:
        raise lmjax.UsageError('--chat=True: this network fills masks and cannot answer; leave it out')
    if run.model.traits.cached:
        _continue(run, prompt)
    else:
        _fill(run, prompt)
    return 0


def _continue(run: Any, prompt: str) -> None:
    """What follows a prompt, answers a chat, or is told of a source (of which a decoder has one token to begin with)."""
    sourced, ids = run.model.traits.sourced, prompt
    if _CHAT.value:
        ids = run.chat_ids(_messages(prompt))
    elif not sourced:
        ids = run.tokenizer.encode(prompt)
    _print(run, prompt, ids, _sampling(run, 1 if sourced else len(ids)))


def _messages(prompt: str) -> list[dict[str, str]]:
    system = [] if _SYSTEM.value is None else [{'role': 'system', 'content': _SYSTEM.value}]
    return [*system, {'role': 'user', 'content': prompt}]


def _refuse_both(one: flags.FlagHolder, other: flags.FlagHolder) -> None:
    if one.value is not None and other.value is not None:
        raise lmjax.UsageError(f'--{other.name}={other.value}: stands beside --{one.name}={one.value}; give only one of them')


def _prompt() -> str:
    path = _PROMPT_FILE.value
    return (_PROMPT.value or '') if path is None else cli.read_text('prompt_file', path)


def _sampling(run: Any, size: int) -> Any:
    """The run's own settings, changed by the flags that are given; `size` counts the prompt's tokens."""
    given: dict[str, Any] = {name: flag.value for name, flag in _SETTINGS.items()}
    given['num_samples'] = _samples()
    given['stop'] = None if _STOP.value is None else tuple(_STOP.value)
    given['max_new_tokens'] = _MAX_NEW_TOKENS.value
    if _MAX_LENGTH.value is not None:
        given['max_new_tokens'] = _MAX_LENGTH.value - size
        if size >= _MAX_LENGTH.value:
            raise lmjax.UsageError(
                f'--max_length={_MAX_LENGTH.value}: the prompt alone has {size} tokens; use {size + 1} or more'
            )
    given = {name: value for name, value in given.items() if value is not None}
    if given.get('num_beams', 1) > 1:  # the run's own ways to sample do not apply
        given = {name: getattr(lmjax.SamplingConfig, name) for name in SAMPLERS} | given
    if 'greedy' not in given and not given.keys().isdisjoint(SAMPLERS):
        given['greedy'] = False  # who asks for a temperature wants to sample
    sampling = dataclasses.replace(run.config.sample, **given)
    if sampling.num_samples > 1 and sampling.num_beams == 1 and (sampling.greedy or sampling.temperature == 0):
        remedy = f'ask for 1, or add --temperature=0.8 or --num_beams={sampling.num_samples}'
        raise lmjax.UsageError(f'--num_samples={sampling.num_samples}: there is one most likely continuation; {remedy}')
    return sampling


def _fill(run: Any, prompt: str) -> None:
    """The likeliest tokens for each mask of a prompt, as many as there would be samples, by default five."""
    found = run.fill(prompt, count=_samples() or 5)
    for number, fillings in enumerate(found, start=1):
        print(f'--- mask {number} of {len(found)}')
        for filling in fillings:
            print(f'{filling.probability:.4f}  {filling.text!r}')
    record = {'workdir': run.workdir, 'prompt': prompt, 'masks': [[one._asdict() for one in fillings] for fillings in found]}
    print(json.dumps(record), flush=True)


def _samples() -> int | None:
    return _NUM_SAMPLES.value if _NUM_RETURN_SEQUENCES.value is None else _NUM_RETURN_SEQUENCES.value


def _print(run: Any, prompt: str, ids: Any, sampling: Any) -> None:
    """Samples behind their prompt, or the answers of a chat alone."""
    from lmjax.generate.text import stream_text

    pieces = stream_text(run.reader_in(sampling.language), run.params, run.tokenizer, ids, sampling, context=run.context)
    before = '' if _CHAT.value or run.model.traits.sourced else prompt  # an encoder-decoder does not go on with what it reads
    print(f'--- sample 1 of {sampling.num_samples}\n{before}', end='', flush=True)
    try:
        while True:
            print(next(pieces), end='', flush=True)
    except StopIteration as stop:
        found = stop.value
    print()
    for number, sample in enumerate(found.samples[1:], start=2):
        print(f'--- sample {number} of {sampling.num_samples}\n{before}{sample.text}')
    print(f'--- {found.tokens_per_second:,.1f} tokens/s ({found.tokens} tokens; the first after {found.first_seconds:.2f} s)')
    record = {'workdir': run.workdir, 'prompt': prompt, **found._asdict()}
    record['samples'] = [sample._asdict() for sample in found.samples]
    print(json.dumps(record), flush=True)


if __name__ == '__main__':
    cli.run(main)
