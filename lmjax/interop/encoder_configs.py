"""How an encoder's config.json reads as a TransformerConfig, and back: a pair of functions for each family."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from lmjax.config import choose, require
from lmjax.interop.decoder_configs import PLAIN, SIZES, Json, only, sizes_read, sizes_write, theirs_of, value
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import inner_width


class Parts(NamedTuple):
    """What an encoder has around its layers; each class of transformers has its own."""

    head: bool
    pooler: bool
    classes: int  # of rows: 2 for whether one sentence follows another


BERT = {
    'BertForMaskedLM': Parts(head=True, pooler=False, classes=0),
    'BertModel': Parts(head=False, pooler=True, classes=0),
    'BertForPreTraining': Parts(head=True, pooler=True, classes=2),
}
ROBERTA = {
    'RobertaForMaskedLM': Parts(head=True, pooler=False, classes=0),
    'RobertaModel': Parts(head=False, pooler=True, classes=0),
}
DISTILBERT = {
    'DistilBertForMaskedLM': Parts(head=True, pooler=False, classes=0),
    'DistilBertModel': Parts(head=False, pooler=False, classes=0),
}
HEADS = ('cls.predictions.transform.dense.weight', 'lm_head.dense.weight', 'vocab_transform.weight')
DISTILBERT_SIZES = {'width': ('dim',), 'depth': ('n_layers',), 'heads': ('n_heads',), 'context': ('max_position_embeddings',)}


def held(config: TransformerConfig, names: Collection[str]) -> TransformerConfig:
    """The network with the parts whose tensors a checkpoint has, which its config.json may not tell."""

    def has(*ends: str) -> bool:
        return any(name.endswith(ends) for name in names)

    return with_parts(config, Parts(has(*HEADS), has('pooler.dense.weight'), 2 if has('cls.seq_relationship.weight') else 0))


def with_parts(config: TransformerConfig, parts: Parts) -> TransformerConfig:
    transform = config.head_transform if parts.head else 'none'
    return dataclasses.replace(
        config, head_transform=transform, head_bias=parts.head, pooler=parts.pooler, classes=parts.classes
    )


def encoder_read(config: Json, kinds: Mapping[str, Parts], activation: str, **more: Any) -> TransformerConfig:
    """What BERT and its kin share; `activation` is the name of their field."""
    only(config, 'tie_word_embeddings', True)
    plain = choose(PLAIN, value(config, activation), f'config.json: {activation}')
    fields: dict[str, Any] = {
        'causal': False,
        'max_length': more['context'],
        'position': 'learned',
        'norm': 'layer',
        'norm_place': 'post',
        'final_norm': False,
        'embed_norm': True,
        'feed_forward': plain,
        'head_transform': plain,
        'tied': True,
        'bias': True,
    }
    architecture = (config.get('architectures') or [''])[0]
    return with_parts(TransformerConfig(**fields | more), kinds.get(architecture, next(iter(kinds.values()))))


def architecture_of(config: TransformerConfig, kinds: Mapping[str, Parts]) -> dict[str, list[str]]:
    """The class that has the network's parts; where there is none, the first, which reads back as another network."""
    parts = Parts(config.head_transform != 'none', config.pooler, config.classes)
    return {'architectures': [next((name for name, own in kinds.items() if own == parts), next(iter(kinds)))]}


def bert_read(config: Json, kinds: Mapping[str, Parts] = BERT, **more: Any) -> TransformerConfig:
    only(config, 'position_embedding_type', 'absolute', None)
    only(config, 'is_decoder', False)
    types = value(config, 'type_vocab_size')
    require(types >= 1, 'config.json: type_vocab_size', types, 'must be at least 1')
    fields: dict[str, Any] = {
        **sizes_read(config, SIZES),
        'ff_width': value(config, 'intermediate_size'),
        'norm_eps': value(config, 'layer_norm_eps'),
        'token_types': types,
    }
    return encoder_read(config, kinds, 'hidden_act', **fields | more)


def bert_write(config: TransformerConfig, kinds: Mapping[str, Parts] = BERT, **more: Any) -> dict[str, Any]:
    c = config
    return {
        **architecture_of(c, kinds),
        **sizes_write(c, SIZES),
        'intermediate_size': inner_width(c),
        'layer_norm_eps': c.norm_eps,
        'hidden_act': theirs_of(PLAIN, c.feed_forward),
        'type_vocab_size': c.token_types,
        'tie_word_embeddings': True,
        **dict.fromkeys(('hidden_dropout_prob', 'attention_probs_dropout_prob'), c.dropout),
        **more,
    }


def roberta_read(config: Json) -> TransformerConfig:
    """Its positions begin after the row of padding, and its head's activation is GELU whatever the layers' is."""
    unused = value(config, 'pad_token_id') + 1
    context = value(config, 'max_position_embeddings') - unused
    read = bert_read(config, ROBERTA, context=context, unused_positions=unused)
    return dataclasses.replace(read, head_transform='gelu' if read.head_transform != 'none' else 'none')


def roberta_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    rows = c.context + c.unused_positions
    return bert_write(c, ROBERTA, max_position_embeddings=rows, pad_token_id=c.unused_positions - 1)


def distilbert_read(config: Json) -> TransformerConfig:
    sizes = sizes_read(config, DISTILBERT_SIZES)
    eps = 1e-12  # written in its code
    return encoder_read(config, DISTILBERT, 'activation', **sizes, ff_width=value(config, 'hidden_dim'), norm_eps=eps)


def distilbert_write(config: TransformerConfig) -> dict[str, Any]:
    c = config
    return {
        **architecture_of(c, DISTILBERT),
        **sizes_write(c, DISTILBERT_SIZES),
        'hidden_dim': inner_width(c),
        'activation': theirs_of(PLAIN, c.feed_forward),
        'tie_word_embeddings': True,
        **dict.fromkeys(('dropout', 'attention_dropout'), c.dropout),
    }
