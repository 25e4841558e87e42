"""What an objective does to a batch before the network reads it: a pure function of the rows and of a key for each.

A corruption is (batch, keys_B, store) -> batch. The batch comes with the next token as each target, and with segments where it
has any padding; the keys are 64 random bits a row, made of the seed and the row's number in the run, so that a row's corruption
depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lmjax.config import choose, require
from lmjax.data.augmentation import augmented
from lmjax.data.denoising import denoise
from lmjax.data.infilling import infilled
from lmjax.data.languages import typed
from lmjax.data.marks import Corruption, Marks, marks_of
from lmjax.data.masking import masked
from lmjax.data.preferences import preferred
from lmjax.data.prefixes import prefix
from lmjax.data.sequences import sequences
from lmjax.data.spans import spans
from lmjax.data.texts import answers, captions, ends, matches, tags, tails, texts
from lmjax.objectives.config import ObjectiveConfig

if TYPE_CHECKING:
    from lmjax.data.tokenizers import Tokenizer

# objective.kind -> what it does to a batch
CORRUPTIONS: dict[str, Callable[[ObjectiveConfig, Marks], Corruption | None]] = {
    'causal': lambda objective, marks: None,
    'masked': masked,
    'prefix': prefix,
    'spans': spans,
    'denoise': denoise,
    'seq2seq': sequences,
    'contrastive': texts,
    **dict.fromkeys(('classify', 'multilabel', 'regress'), texts),
    'tag': tags,
    'infill': infilled,
    **dict.fromkeys(('instruct', 'complete'), answers),
    'caption': captions,
    'languages': typed,
    'prefer': preferred,
    'match': matches,
    'span': ends,
    'link': tails,
    'distill': lambda objective, marks: choose(CORRUPTIONS, objective.reads, 'objective.reads')(objective, marks),
}


def corruption_of(objective: ObjectiveConfig, marks: Marks) -> Corruption | None:
    """The corruption of an objective, None where it leaves batches as they are.

    Raises UsageError for shares out of range or a special token that is missing.
    """
    o = objective
    require(0 < o.mask_fraction < 1, 'objective.mask_fraction', o.mask_fraction, 'use a share between 0 and 1, as 0.15')
    total = o.mask_replaced + o.mask_random
    require(total <= 1, 'objective.mask_random', o.mask_random, f'with objective.mask_replaced it makes {total}; use 1 or less')
    require(o.span_length >= 1, 'objective.span_length', o.span_length, 'tokens of a span, on average: use 1 or more, as 3')
    return choose(CORRUPTIONS, o.kind, 'objective.kind')(o, marks)


def tokens_corruption(objective: ObjectiveConfig, tokenizer: Tokenizer) -> Corruption | None:
    """The corruption of an objective over a tokenizer's tokens. Raises UsageError as `corruption_of` does."""
    return corruption_of(objective, marks_of(tokenizer, objective))


def training_corruption(objective: ObjectiveConfig, tokenizer: Tokenizer) -> Corruption | None:
    """The same as training has it, which sees texts a little otherwise each time if the objective asks for that.

    Raises UsageError as `tokens_corruption` does, and for an objective whose rows are no whole texts.
    """
    marks, drop, swap = marks_of(tokenizer, objective), objective.drop_tokens, objective.swap_tokens
    corrupt = corruption_of(objective, marks)
    check_augmentation(objective)
    return augmented(corrupt, marks, drop=drop, swap=swap) if corrupt and (drop or swap) else corrupt


def check_augmentation(objective: ObjectiveConfig) -> None:
    """Raises UsageError for shares out of range, or an objective whose rows are no whole texts."""
    whole = [kind for kind, made in CORRUPTIONS.items() if made is texts]
    for field in ('drop_tokens', 'swap_tokens'):
        value = getattr(objective, field)
        require(value < 1, f'objective.{field}', value, 'use a share below 1, as 0.1')
        remedy = f'changes whole texts, which objective.kind={objective.kind!r} does not read; it goes with {", ".join(whole)}'
        require(not value or objective.kind in whole, f'objective.{field}', value, remedy)
