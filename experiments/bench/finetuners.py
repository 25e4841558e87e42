"""The two sides of a fine-tuning benchmark, lmjax's step and transformers' Trainer, from the same checkpoint."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from typing import Any

import numpy as np

from lmjax.config import require


class JaxSide:
    """What `experiments.finetune` runs for texts with labels: its batches, its program, its state donated from step to step."""

    def __init__(self, init: str, path: str, *, seq_len: int, batch_size: int, buckets: int):
        """Compiles for every width; `compile_seconds` says how long that took."""
        from configs.tasks import sentiment
        from lmjax.data.corpus import prepare
        from lmjax.data.corruptions import tokens_corruption
        from lmjax.data.loader import train_batches, train_widths
        from lmjax.interop.starts import given_tokenizer, start_params, taken_over, with_vocabulary
        from lmjax.training import run
        from lmjax.training.network import bare_network
        from lmjax.training.program import assemble
        from lmjax.training.validate import validate

        config = taken_over(sentiment.get_config(path), init)
        config = dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, source=f'labelled:{path}', valid_source='', seq_len=seq_len, buckets=buckets),
            train=dataclasses.replace(config.train, batch_size=batch_size),
        )
        tokenizer = given_tokenizer(config.data, init_from=init)
        config = with_vocabulary(config, tokenizer)
        validate(config)
        corpus = prepare(config.data, tokenizer=tokenizer)
        config = run.resolve(config, corpus)
        self._program = assemble(config, corpus.tokenizer.vocab_size)
        how = {'seed': config.seed, 'batch_size': batch_size}
        began = time.perf_counter()
        self._program.compile(train_widths(corpus.train, config.data, **how))
        self.compile_seconds = time.perf_counter() - began
        state = self._program.init()
        bare = bare_network(config, corpus.tokenizer.vocab_size)
        params = start_params(init, config, corpus.tokenizer, bare, say=lambda line: None)
        self._state = state._replace(params={**state.params, **params})
        corrupt = tokens_corruption(config.objective, corpus.tokenizer)
        self._batches = train_batches(corpus.train, config.data, corrupt=corrupt, **how)
        self.texts, self.epoch = corpus.train, -(-len(corpus.train.doc_offsets) // batch_size)
        self.slots = self.tokens = 0
        self.loss = float('nan')

    def run(self, steps: int) -> float:
        """Texts a second over so many steps."""
        texts, began, metrics = 0, time.perf_counter(), None
        for _ in range(steps):
            batch = next(self._batches)
            texts += int(batch.weights.sum())
            self.slots += batch.inputs.ids.size
            self.tokens += int((np.asarray(batch.inputs.segments) > 0).sum())
            self._state, metrics = self._program.step(self._state, self._program.place(batch))
        self.loss = float(metrics['loss']) if metrics else self.loss
        return texts / (time.perf_counter() - began)


class TrainerSide:
    """Trainer on the same texts, each batch padded to `seq_len` or, with `longest`, to its longest text."""

    def __init__(self, folder: str, texts: Any, *, seq_len: int, batch_size: int, longest: bool):
        """`texts` is a TokenStore with labels, encoded by the checkpoint's tokenizer."""
        import transformers

        require(texts.separator_id is None, 'model', folder, 'has texts that are separated by a token; take an encoder')
        transformers.logging.set_verbosity_error()
        ends = texts.doc_offsets
        self._rows = [
            {'input_ids': texts.tokens[begin : min(end, begin + seq_len)].tolist(), 'labels': int(label)}
            for begin, end, label in zip(ends[:-1], ends[1:], texts.labels, strict=True)
        ]
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self._network = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(texts.classes))
        self._batch_size, self._turn = batch_size, 0
        self._padding: dict[str, Any] = {'padding': 'longest'} if longest else {'padding': 'max_length', 'max_length': seq_len}
        self.slots = self.tokens = 0
        self.loss = float('nan')

    def run(self, steps: int) -> float:
        """Texts a second over so many steps after a first one; each turn begins with texts of its own."""
        import transformers

        clock = _clock(transformers)
        self._turn += 1
        with tempfile.TemporaryDirectory() as folder:
            args = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=self._batch_size,
                max_steps=steps + 1,
                learning_rate=1e-4,
                seed=self._turn,
                save_strategy='no',
                logging_strategy='no',
                report_to=[],
                disable_tqdm=True,
            )
            trainer = transformers.Trainer(
                model=self._network, args=args, train_dataset=self._rows, data_collator=self._collate, callbacks=[clock]
            )
            trainer.remove_callback(transformers.PrinterCallback)
            self.loss = trainer.train().training_loss
        return steps * self._batch_size / (clock.ended - clock.began)

    def _collate(self, rows: list[dict[str, Any]]) -> Any:
        batch = self._tokenizer.pad(rows, return_tensors='pt', **self._padding)
        self.slots += batch['input_ids'].numel()
        self.tokens += int(batch['attention_mask'].sum())
        return batch


def _clock(transformers: Any) -> Any:
    """A callback that knows when the first step and the last one ended."""

    class Clock(transformers.TrainerCallback):
        began = ended = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ended = time.perf_counter()
            self.began = self.began or self.ended

    return Clock()


def figures_of(side: Any, rates: list[float]) -> dict[str, float]:
    """Rates, the share of padding in what was read, the last loss, and where there is any the time of compilation."""
    figures = {
        'texts_per_second': statistics.median(rates),
        'slowest': min(rates),
        'fastest': max(rates),
        'padding': 1 - side.tokens / side.slots,
        'loss': side.loss,
    }
    return figures | ({'compile_seconds': side.compile_seconds} if hasattr(side, 'compile_seconds') else {})


def row(name: str, figures: dict[str, float]) -> str:
    """A line of the table."""
    rates = '{texts_per_second:7.1f} texts/s ({slowest:.1f}-{fastest:.1f})'.format(**figures)
    compiling = figures.get('compile_seconds')
    took = f', compiled in {compiling:.0f} s' if compiling is not None else ''
    return f'{name:<18}{rates}, padding {figures["padding"]:.1%}, loss {figures["loss"]:.3f}{took}'
