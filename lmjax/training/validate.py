"""Everything about a config that can be refused before a device is touched."""

from __future__ import annotations

import dataclasses

import jax

from lmjax.config import UsageError, choose, require
from lmjax.data.corruptions import check_augmentation, corruption_of
from lmjax.data.frames import check_frames
from lmjax.data.infilling import MARKED
from lmjax.data.labels import LABELS, UNSEEN
from lmjax.data.loader import validate as validate_data
from lmjax.data.marks import expected_marks, reading_of
from lmjax.data.parallel_text import need_separator
from lmjax.data.sources import is_paired, label_kind, need_pairs
from lmjax.data.spans import check_sentinels
from lmjax.data.special_tokens import roles_of
from lmjax.data.texts import WORD_TOKENS
from lmjax.data.tokenizers import expected_vocabulary, tokenizer_class
from lmjax.generate.middles import room_beside
from lmjax.generate.sampling import validate as validate_sampling
from lmjax.objectives.distillation import HIDDEN_LOSSES
from lmjax.objectives.preference import PREFERENCES
from lmjax.objectives.table import OBJECTIVES, Objective, objective_of
from lmjax.ops.pooling import POOLINGS
from lmjax.optim.config import validate as validate_optim
from lmjax.optim.config import validate_adapt
from lmjax.parallel.mesh import validate as validate_mesh
from lmjax.training.adversary import validate_adversary
from lmjax.training.config import Config
from lmjax.training.network import CLASSIFIERS, base_shapes, learner_of, network_of, of_rows

LACKING = {  # trait -> what is wrong where an objective needs it and a network lacks it
    'sourced': 'tells a target given a source, which this network does not read; choose an encoder-decoder',
    'causal': 'this network sees later tokens, its targets among them; use masked, or set model.causal=true',
    'prefixed': 'puts frames where vectors of tokens stood, and this network has none; set model.embedding above 0',
    'opens': 'shows tokens to earlier ones, which this network cannot; choose a causal transformer',
    'trainable': 'is learned by gradient, and this network counts; choose a transformer or a recurrent network',
}


def validate(config: Config) -> None:
    """Raises UsageError for the first field that is out of its range or contradicts another."""
    _non_negative(config)
    train = config.train
    require(train.steps >= 1 or train.epochs >= 1, 'train.steps', train.steps, 'must be at least 1, or give train.epochs')
    require(train.batch_size >= 1, 'train.batch_size', train.batch_size, 'must be at least 1')
    require(train.accumulate >= 1, 'train.accumulate', train.accumulate, 'must be at least 1')
    if train.batch_size % train.accumulate:
        raise UsageError(
            f'train.accumulate={train.accumulate}: must divide train.batch_size={train.batch_size}; '
            f'try {_nearest_divisor(train.batch_size, train.accumulate)}'
        )
    objective = objective_of(config.objective)
    choose(dict.fromkeys(objective.scores), train.metric, 'train.metric')
    require(train.keep_best > 0 or not train.load_best, 'train.keep_best', train.keep_best, 'train.load_best needs 1 or more')
    reads = reading_of(config.objective)
    require(
        train.accumulate == 1 or objective.separable,
        'train.accumulate',
        train.accumulate,
        f'the objective {config.objective.kind!r} looks at the whole batch at once; set it to 1',
    )
    if config.objective.pairs:
        _validate_pairs(config)
    _validate_teacher(config)
    if not objective.separable:
        _validate_batch(config)
    if config.objective.kind == 'contrastive':
        _validate_contrastive(config)
    if config.objective.kind == 'infill':
        _validate_infill(config)
    if 'middle' in (objective.tells, objective.labels):
        room_beside(config.sample.max_new_tokens, config.data.seq_len)
    _validate_labelled(config, objective.labels)
    if tokenizer_class(config.data.tokenizer).trainable:  # otherwise its special tokens come with it
        corruption_of(config.objective, expected_marks(config.data))
        if is_paired(config.data.source):
            need_separator(config.data.source, roles_of(config.data))
        if reads == 'spans':
            check_sentinels(config.objective, config.data.sentinels, config.data.seq_len)
    for section, name in (('objective', 'label_smoothing'), ('model', 'dropout')):
        value = getattr(getattr(config, section), name, 0.0)
        require(value < 1, f'{section}.{name}', value, 'use a number in [0, 1)')
    check_augmentation(config.objective)
    validate_data(config.data)
    if 'sourced' in objective.needs:
        _validate_sourced(config, reads, paired=objective.paired)
    validate_sampling(config.sample)
    validate_mesh(config.mesh, n_devices=len(jax.devices()), batch_size=train.batch_size, accumulate=train.accumulate)
    validate_adapt(config.adapt)
    _validate_network(config, objective, reads)


def _validate_network(config: Config, objective: Objective, reads: str) -> None:
    model = network_of(config, expected_vocabulary(config.data) or 2)
    traits = model.traits
    remedy = 'changes weights by gradient, and this network counts; leave it out'
    require(traits.trainable or not config.adapt.kind, 'adapt.kind', config.adapt.kind, remedy)
    validate_adversary(config, model)
    learner_of(config, model, base_shapes(config, model.vocab_size) if config.adapt.kind else None)  # refuses idle patterns
    for trait in objective.needs:
        field = 'reads' if objective.taught and trait != 'trainable' else 'kind'
        require(getattr(traits, trait), f'objective.{field}', getattr(config.objective, field), LACKING[trait])
    remedy = 'gives this network no source to read; use spans, denoise or seq2seq'
    field = 'reads' if objective.taught else 'kind'
    require('sourced' in objective.needs or not traits.sourced, f'objective.{field}', reads, remedy)
    pools = 'pooling' in objective.settings or CLASSIFIERS.get(objective.labels) is of_rows
    if pools and traits.causal:
        remedy = 'the first token of this network has seen nothing of a text; choose mean or last, or set model.causal=false'
        pooling = config.objective.pooling
        require(pooling in ('mean', 'last'), 'objective.pooling', pooling, remedy)
    if traits.trainable:
        validate_optim(config.optim)


def _validate_pairs(config: Config) -> None:
    pairs, data = config.objective.pairs, config.data
    classes, layout = getattr(config.model, 'classes', 0), data.layout
    require(config.objective.kind == 'masked', 'objective.pairs', pairs, "goes with objective.kind='masked'")
    require(classes == 2, 'model.classes', classes, f'objective.pairs={pairs!r} tells two; set it to 2, and model.pooler=true')
    require(layout == 'windows', 'data.layout', layout, f"objective.pairs={pairs!r} cuts windows in two; use 'windows'")
    require(data.seq_len >= 16, 'data.seq_len', data.seq_len, f'objective.pairs={pairs!r} needs 16 or more')


def _validate_sourced(config: Config, reads: str, *, paired: bool) -> None:
    data = config.data
    who = f'objective.kind={reads!r}'
    if paired:
        need_pairs('data.source', data.source, who)
        require(data.layout == 'documents', 'data.layout', data.layout, f"{who} reads whole pairs; use 'documents'")
    remedy = f"{who} reads a row as one source, whose documents would see each other; use 'documents' or 'windows'"
    require(data.layout != 'packed', 'data.layout', data.layout, remedy)
    if reads == 'spans':
        require(data.seq_len >= 2, 'data.seq_len', data.seq_len, f'{who} hides one token of two; use 2 or more')


def _validate_labelled(config: Config, labels: str) -> None:
    data, carry, o = config.data, config.train.carry, config.objective
    who, found = f'objective.kind={o.kind!r}', label_kind(data.source)
    for field, kinds in LABEL_FIELDS.items():
        value = getattr(o, field)
        remedy = f'{who} does not read it; leave it out'
        require(not value or labels in kinds, f'objective.{field}', value, remedy)
    told = labels == 'language'
    remedy = 'use a number in [0, 1], as 0.5' if told else 'is for a source languages:NAME=SOURCE; use 1'
    require(0 <= data.balance <= 1 if told else data.balance == 1, 'data.balance', data.balance, remedy)
    if not labels:
        able = next((kind for kind, row in OBJECTIVES.items() if row.labels == found), '')
        remedy = f'{who} reads no labels; use {able}, or jsonl:GLOB#text for the texts alone'
        require(not found, 'data.source', data.source, remedy)
        return
    require(found == labels, 'data.source', data.source, f'{who} needs labels of its kind; use {LABELS[labels].written}')
    layouts = ('documents', 'packed') if LABELS[labels].packs else ('documents',)
    require(
        data.layout in layouts, 'data.layout', data.layout, f'{who} reads whole texts; use {" or ".join(map(repr, layouts))}'
    )
    require(not carry, 'train.carry', carry, 'each text is read by itself; set it to false')
    if labels == 'tail':
        require(data.tokenizer == 'word', 'data.tokenizer', data.tokenizer, f"{who} has a token for each name; use 'word'")
        require(data.seq_len >= 2, 'data.seq_len', data.seq_len, f'{who} reads a head and a relation; use 2 or more')
    if LABELS[labels].framed:
        check_frames(data)
    if labels not in ('tags', 'span'):
        _validate_pooling(config)
    choose(WORD_TOKENS, o.word_token, 'objective.word_token')
    choose(dict.fromkeys(UNSEEN), data.unseen_labels, 'data.unseen_labels')
    smoothing = o.label_smoothing
    require(
        not smoothing or labels != 'number', 'objective.label_smoothing', smoothing, 'a number is not smoothed; set it to 0'
    )
    fits = not o.class_weights or (len(o.class_weights) == len(o.classes) and min(o.class_weights) >= 0 < sum(o.class_weights))
    require(fits, 'objective.class_weights', o.class_weights, f'give one for each of objective.classes={o.classes}, 0 or more')


LABEL_FIELDS = {
    'classes': ('class', 'classes', 'tags', 'tail'),
    'class_weights': ('class',),
    'balanced': ('class',),
}  # who reads them


def _validate_pooling(config: Config) -> None:
    pooling = config.objective.pooling
    choose(POOLINGS, pooling, 'objective.pooling')
    has_pooler = pooling != 'pooler' or getattr(config.model, 'pooler', False)
    require(has_pooler, 'objective.pooling', pooling, 'this network has no pooler; set model.pooler=true, or choose another')


def _validate_contrastive(config: Config) -> None:
    _validate_pooling(config)
    dropout = getattr(config.model, 'dropout', 1.0)  # a network without the field is refused for what it is
    remedy = "objective.kind='contrastive' tells a text by two readings, which dropout alone makes differ; set it to 0.1"
    require(dropout > 0, 'model.dropout', dropout, remedy)
    _validate_rows(config)


def _validate_infill(config: Config) -> None:
    rate, length = config.objective.infill_rate, config.data.seq_len
    require(rate <= 1, 'objective.infill_rate', rate, 'use a share between 0 and 1, as 0.5')
    require(
        length >= MARKED,
        'data.seq_len',
        length,
        f"objective.kind='infill' adds {MARKED} tokens to a text; use {MARKED} or more",
    )
    _validate_rows(config)


def _validate_rows(config: Config) -> None:
    layout, carry = config.data.layout, config.train.carry
    require(layout != 'packed', 'data.layout', layout, "a row must be one text; use 'documents', or 'windows'")
    require(not carry, 'train.carry', carry, 'each text is read by itself; set it to false')


def _validate_batch(config: Config) -> None:
    o, train = config.objective, config.train
    require(o.temperature > 0, 'objective.temperature', o.temperature, 'must be above 0, as 0.05')
    remedy = "takes a row for one text, and objective.kind='match' has several in each; choose mean, first or last"
    require(o.kind != 'match' or o.pooling != 'pooler', 'objective.pooling', o.pooling, remedy)
    for field in ('batch_size', 'eval_batch_size'):
        rows = getattr(train, field)
        require(rows != 1, f'train.{field}', rows, 'a text is told from others of its batch; use 2 or more')


def _validate_teacher(config: Config) -> None:
    o, data = config.objective, config.data
    is_taught = o.kind == 'distill'
    refers = o.kind == 'prefer' and choose(PREFERENCES, o.preference, 'objective.preference').refers
    require(refers or is_taught == bool(o.teacher), 'objective.teacher', o.teacher, TEACHER[is_taught])
    if o.kind == 'prefer':
        require(o.beta > 0, 'objective.beta', o.beta, 'must be above 0, as 0.1')
        smooths = PREFERENCES[o.preference].smooths
        remedy = f'objective.preference={o.preference!r} has none; set it to 0, or choose dpo'
        require(smooths or not o.label_smoothing, 'objective.label_smoothing', o.label_smoothing, remedy)
    takes = data.tokenizer == 'teacher'
    require(is_taught or not takes, 'data.tokenizer', data.tokenizer, "goes with objective.kind='distill'; choose bpe or byte")
    for field in ('vocab_size', 'specials', 'sentinels'):
        value = getattr(data, field)
        require(not (takes and value), f'data.{field}', value, "comes with the teacher's tokenizer; leave it out")
    if not is_taught:
        return
    require(o.soft_weight <= 1, 'objective.soft_weight', o.soft_weight, 'use a share between 0 and 1, as 0.5')
    require(o.soft_temperature > 0, 'objective.soft_temperature', o.soft_temperature, 'must be above 0, as 2.0')
    choose({'': None, **HIDDEN_LOSSES}, o.hidden, 'objective.hidden')
    remedy = 'a teacher remembers nothing of the window before; set it to false'
    require(not config.train.carry, 'train.carry', config.train.carry, remedy)


TEACHER = {  # whether the objective is taught -> what is wrong with the name
    True: "objective.kind='distill' learns from a network; name a run's folder, hf:DIR, hf:NAME or gguf:FILE",
    False: "is read by objective.kind='distill', and by 'prefer' with dpo or ipo; choose one, or leave it out",
}


def _non_negative(config: Config) -> None:
    for section in ('data', 'model', 'objective', 'optim', 'train', 'sample'):
        part = getattr(config, section)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                require(value >= 0, f'{section}.{field.name}', value, 'must not be negative')


def _nearest_divisor(number: int, wanted: int) -> int:
    return min((d for d in range(1, number + 1) if number % d == 0), key=lambda d: abs(d - wanted))
