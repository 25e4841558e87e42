"""From a checkpoint's description and tensors, wherever they come from, to a network with its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lmjax.config import UsageError, choose
from lmjax.data.config import DataConfig
from lmjax.generate.config import SamplingConfig
from lmjax.interop.checkpoints import Source, read_params
from lmjax.interop.formats import FORMATS
from lmjax.models.config import TransformerConfig
from lmjax.objectives.config import ObjectiveConfig
from lmjax.training.config import Config, TrainConfig

if TYPE_CHECKING:
    from lmjax.data.tokenizers import Tokenizer
    from lmjax.types import Tree

WINDOW = 1024  # tokens in which an imported network scores text, if it reads as many


class Imported(NamedTuple):
    """What a checkpoint held; `tokenizer` is None where it had none."""

    config: Config
    params: Tree
    tokenizer: Tokenizer | None


def read_checkpoint(
    name: str,
    described: dict[str, Any],
    tensors: Callable[[], Source],
    tokenizer: Callable[[int], Tokenizer | None],
    *,
    label: str,
    scan_layers: bool,
) -> Imported:
    """The network that a description in the manner of transformers' config.json and tensors of its names make.

    Args:
      tensors: opens them; called once the description is found sound.
      tokenizer: makes it for a network of so many tokens.
      label: where the description stands, for error messages.

    Raises:
      UsageError: a family that is not known, or tensors or a tokenizer that do not fit the description.
    """
    form = choose(FORMATS, str(described.get('model_type')), f'{label}: model_type')
    try:
        model = _typed(form.read(described))
        vocab_size = int(described['vocab_size'])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        if isinstance(error, UsageError):
            raise UsageError(f'{label}: {error}') from None
        raise UsageError(f'{label}: a field is missing or of the wrong type ({error}); fetch it again') from error
    found = tokenizer(vocab_size)
    source = tensors()
    model = dataclasses.replace(form.held(model, source.index), scan_layers=scan_layers)
    params = read_params(source, form, model, vocab_size)
    room = model.context - bool(model.encoder_depth)  # an end token follows both sides of an encoder-decoder
    layout = 'documents' if model.encoder_depth else 'windows'
    data = DataConfig(tokenizer='library', vocab_size=vocab_size, seq_len=min(WINDOW, room), layout=layout)
    sample = SamplingConfig(greedy=True)  # what transformers does unless it is asked
    objective = ObjectiveConfig(kind='seq2seq' if model.encoder_depth else 'causal' if model.causal else 'masked')
    config = Config(name, data=data, model=model, objective=objective, train=TrainConfig(eval_batch_size=1), sample=sample)
    return Imported(config, params, found)


def _typed(config: TransformerConfig) -> TransformerConfig:
    """The config itself; raises TypeError for a value that is not of its field's type."""
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), type(field.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(f'{field.name}={value!r}: expected {kind.__name__}')
    return config
