"""What a network says of texts: one answer each, by the kind of what it tells (a row of LABELS, or the target of a pair)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmjax.config import require
from lmjax.data.config import DataConfig
from lmjax.data.frames import read_files
from lmjax.data.parallel_text import SIGN, encode_two, with_separator
from lmjax.data.preferences import FIRST as FIRST_ANSWER
from lmjax.data.sources import is_two
from lmjax.data.texts import WORD_TOKENS, types_of
from lmjax.data.triples import query_of, tokens_of
from lmjax.data.words import word_encoder
from lmjax.generate.captions import tell_captions
from lmjax.generate.embed import padded_inputs, read_rows
from lmjax.generate.middles import read_middles
from lmjax.generate.passages import answer_said, read_answers
from lmjax.generate.preferences import read_preferences
from lmjax.generate.targets import tell_targets
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import objective_of
from lmjax.objectives.tagging import sequence_labeling, spell_spans
from lmjax.types import Inputs, Model

if TYPE_CHECKING:
    from lmjax.generate.config import SamplingConfig
    from lmjax.types import Tree

FIRST = 10  # tails of which probabilities are said


class Teller(NamedTuple):
    """A network that tells something of texts, and how texts are read for it."""

    model: Model
    params: Tree
    tokenizer: Any
    classes: tuple[str, ...]
    context: int  # tokens that are read at once
    word_token: str = 'first'  # a row of WORD_TOKENS
    two: bool = False  # texts are FIRST<TAB>SECOND
    stride: int = 0  # tokens between windows of a long text
    sampling: SamplingConfig | None = None  # how a target is searched for
    data: DataConfig | None = None  # how files are read as frames


def teller_of(
    model: Model, params: Tree, tokenizer: Any, objective: ObjectiveConfig, data: DataConfig, sampling: SamplingConfig
) -> Teller:
    """A network that was trained so, asked as it was trained."""
    tokenizer = with_separator(tokenizer) if objective_of(objective).paired else tokenizer
    sizes = (objective.classes, data.seq_len, objective.word_token, is_two(data.source), data.stride)
    return Teller(model, params, tokenizer, *sizes, sampling, data)


class Answer(NamedTuple):
    """How a kind of what is told is found and said."""

    name: str  # of what is told
    read: Callable[[Teller, Sequence[str]], list[Any]]  # texts -> what the network has for each
    said: Callable[[Any, Sequence[str], str], Any]  # that, names of classes, the text -> what is told
    more: Callable[[Any, Sequence[str], str], dict[str, Any]]  # that, names, the text -> what is said beside it
    written: Callable[[str], Any]  # a label as a document has it -> as it is told
    loss: Callable[[Any, Any], float] | None  # that, the label as LABELS parse it -> how much of a surprise it is, if known


def answers(teller: Teller, kind: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """What is said of each text. Raises UsageError for a text without any token."""
    row = ANSWERS[kind]
    found = zip(texts, row.read(teller, texts), strict=True)
    return [{row.name: row.said(x, teller.classes, text), **row.more(x, teller.classes, text)} for text, x in found]


def answers_to(
    teller: Teller, kind: str, texts: Sequence[str], written: Sequence[str], numbers: Sequence[Any]
) -> list[dict[str, Any]]:
    """The same beside each text's `label`, given as documents have it and in numbers: `told`, and `loss_nats` if known."""
    row, classes = ANSWERS[kind], teller.classes
    each = zip(texts, written, numbers, row.read(teller, texts), strict=True)
    return [
        {
            'text': text,
            'label': row.written(label),
            'told': row.said(x, classes, text),
            **row.more(x, classes, text),
            **({'loss_nats': row.loss(x, number)} if row.loss else {}),
        }
        for text, label, number, x in each
    ]


def read_texts(finish: Callable[[Any], Any], teller: Teller, texts: Sequence[str]) -> list[np.ndarray]:
    """`finish` of the logits of each text, of which only the first `context` tokens are read."""
    for text in texts:
        fits = text.count(SIGN) == 1 or not teller.two
        require(fits, 'text', text, 'this network reads two texts as one; give FIRST<TAB>SECOND')
    whole = [text if teller.two else text.replace(SIGN, ' ') for text in texts]
    rows = encode_two(whole, teller.tokenizer) if teller.two else teller.tokenizer.encode_documents(whole)
    for row, text in zip(rows, texts, strict=True):
        require(len(row) > 0, 'text', text, 'has no token; leave it out')

    def read(ids_BxT: np.ndarray, lengths_B: np.ndarray) -> Any:
        inputs, separator = padded_inputs(ids_BxT, lengths_B), teller.tokenizer.specials.get('separator')
        inputs = inputs._replace(types=types_of(ids_BxT, separator)) if teller.two else inputs
        return _row_logits(teller.model.apply, teller.params, inputs, finish=finish)

    return read_rows(read, rows, teller.context)


def read_targets(teller: Teller, texts: Sequence[str]) -> list[str]:
    """What an encoder-decoder tells of each text."""
    assert teller.sampling is not None
    whole = [text.replace(SIGN, ' ') for text in texts]
    return tell_targets(teller.model, teller.params, teller.tokenizer, whole, teller.sampling, context=teller.context)


def read_captions(teller: Teller, paths: Sequence[str]) -> list[str]:
    """What a network tells of each file."""
    assert teller.sampling is not None
    assert teller.data is not None
    frames_NxPxF = read_files(teller.data.source, paths, teller.data)
    return tell_captions(teller.model, teller.params, teller.tokenizer, frames_NxPxF, teller.sampling, context=teller.context)


def read_tails(teller: Teller, texts: Sequence[str]) -> list[np.ndarray]:
    """Probabilities of the entities as the tail of each text, HEAD<TAB>RELATION."""
    tokens_C = tokens_of(teller.classes, teller.tokenizer)

    def read(ids_Bx2: np.ndarray, lengths_B: np.ndarray) -> Any:
        return _next_token(teller.model, teller.params, ids_Bx2, tokens_C)

    return read_rows(read, [query_of(text, teller.tokenizer) for text in texts], 2)


def read_words(teller: Teller, texts: Sequence[str]) -> list[np.ndarray]:
    """Probabilities of the tags of each word (parted by white space), words x tags; a longer text is read part by part."""
    encode, stands = word_encoder(teller.tokenizer), WORD_TOKENS[teller.word_token]
    rows, owners, places = [], [], []
    for number, text in enumerate(texts):
        require(bool(text.split()), 'text', text, 'has no word; leave it out')
        for part in parts_of(text.split(), encode, teller.context):
            ids, marks = encode(part)
            rows.append(ids)
            owners.append(number)
            places.append(stands(marks[None, : teller.context])[0] >= 0)
    found = read_rows(partial(_token_logits, teller.model.apply, teller.params), rows, teller.context)
    told: list[list[np.ndarray]] = [[] for _ in texts]
    for owner, place, probs_TxC in zip(owners, places, found, strict=True):
        told[owner].append(probs_TxC[: len(place)][place])
    return [np.concatenate(parts) for parts in told]


def parts_of(words: Sequence[str], encode: Callable[[Sequence[str]], Any], context: int) -> list[Sequence[str]]:
    """Words in runs that are read at once: as many as fit, or one that does not."""
    if len(encode(words)[0]) <= context or len(words) == 1:
        return [words]
    half = len(words) // 2
    return [part for side in (words[:half], words[half:]) for part in parts_of(side, encode, context)]


@partial(jax.jit, static_argnames=('apply', 'finish'))
def _row_logits(apply: Any, params: Tree, inputs: Inputs, *, finish: Any) -> Any:
    return finish(apply(params, inputs).row_logits)


@partial(jax.jit, static_argnames=('apply',))
def _token_logits(apply: Any, params: Tree, ids_BxT: Any, lengths_B: Any) -> Any:
    return jax.nn.softmax(apply(params, padded_inputs(ids_BxT, lengths_B)).token_logits)


def _next_token(model: Model, params: Tree, ids_BxT: Any, tokens_C: Any) -> Any:
    hidden_Bx1xD = model.apply(params, Inputs(ids_BxT)).hidden[:, -1:]
    return jax.nn.softmax(model.score(params, hidden_Bx1xD)[:, 0, tokens_C])


def likeliest(probs_C: np.ndarray, classes: Sequence[str], text: str) -> dict[str, Any]:
    """The names of the FIRST most probable, with their probabilities."""
    first = np.argsort(-probs_C, kind='stable')[:FIRST]
    return {'probabilities': by_name(probs_C[first], [classes[i] for i in first])}


def by_name(values: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    return dict(zip(classes, map(float, values), strict=True))


def surprise(probability: Any) -> float:
    """In nats; of what was held impossible, hundreds."""
    return -math.log(max(float(probability), 1e-300))


def surprise_of_set(probs_C: np.ndarray, has_C: np.ndarray) -> float:
    """The mean over classes."""
    return float(np.mean([surprise(p if has else 1.0 - p) for p, has in zip(probs_C, has_C, strict=True)]))


def surprise_of_tags(probs_WxC: np.ndarray, tags_W: np.ndarray) -> float:
    """The mean over words."""
    return float(np.mean([surprise(row[tag]) for row, tag in zip(probs_WxC, tags_W, strict=True)]))


def tags_said(probs_WxC: np.ndarray, classes: Sequence[str], text: str = '') -> list[str]:
    return [classes[tag] for tag in probs_WxC.argmax(axis=1)]


def spans_said(probs_WxC: np.ndarray, classes: Sequence[str], text: str) -> dict[str, Any]:
    """The words, how probable each one's tag is and, where tags spell spans, the spans: kind, text, first and last word."""
    words, tags = text.split(), tags_said(probs_WxC, classes)
    found: dict[str, Any] = {'words': words, 'probabilities': probs_WxC.max(axis=1).tolist()}
    if spell_spans(classes):
        spans = sequence_labeling().get_entities(tags)
        found['spans'] = [
            {'kind': kind, 'text': ' '.join(words[first : last + 1]), 'first': int(first), 'last': int(last)}
            for kind, first, last in spans
        ]
    return found


ANSWERS: Mapping[str, Answer] = {
    'class': Answer(
        name='label',
        read=partial(read_texts, jax.nn.softmax),
        said=lambda probs_C, classes, text: classes[int(probs_C.argmax())],
        more=lambda probs_C, classes, text: {'probabilities': by_name(probs_C, classes)},
        written=str,
        loss=lambda probs_C, label: surprise(probs_C[label]),
    ),
    'classes': Answer(
        name='labels',
        read=partial(read_texts, jax.nn.sigmoid),
        said=lambda probs_C, classes, text: [name for name, p in zip(classes, probs_C, strict=True) if p > 0.5],
        more=lambda probs_C, classes, text: {'probabilities': by_name(probs_C, classes)},
        written=json.loads,
        loss=surprise_of_set,
    ),
    'number': Answer(
        name='score',
        read=partial(read_texts, jnp.asarray),
        said=lambda told_1, classes, text: float(told_1[0]),
        more=lambda told_1, classes, text: {},
        written=float,
        loss=lambda told_1, label: float(np.square(told_1[0] - label)),
    ),
    'tags': Answer(
        name='tags',
        read=read_words,
        said=tags_said,
        more=spans_said,
        written=lambda label: label.split(' '),
        loss=surprise_of_tags,
    ),
    'tail': Answer(
        name='tail',
        read=read_tails,
        said=lambda probs_C, classes, text: classes[int(probs_C.argmax())],
        more=likeliest,
        written=lambda label: json.loads(label)['tail'],
        loss=lambda probs_C, tails: surprise(probs_C[tails[0]]),
    ),
    'span': Answer(
        name='answer',
        read=read_answers,
        said=answer_said,
        more=lambda found, classes, text: {'begin': found.begin, 'end': found.end, 'probability': found.probability},
        written=lambda label: json.loads(label)['text'],
        loss=None,
    ),
    'middle': Answer(
        name='middle',
        read=read_middles,
        said=lambda middle, classes, text: middle,
        more=lambda middle, classes, text: {},
        written=json.loads,
        loss=None,
    ),
    'caption': Answer(
        name='caption',
        read=read_captions,
        said=lambda caption, classes, path: caption,
        more=lambda caption, classes, path: {},
        written=str,
        loss=None,
    ),
    'preferred': Answer(
        name='preferred',
        read=read_preferences,
        said=lambda nats, classes, text: FIRST_ANSWER if nats[0] > nats[1] else 'second',
        more=lambda nats, classes, text: {'nats': list(nats)},
        written=str,
        loss=None,
    ),
    'target': Answer(
        name='target',
        read=read_targets,
        said=lambda target, classes, text: target,
        more=lambda target, classes, text: {},
        written=str,
        loss=None,
    ),
}
