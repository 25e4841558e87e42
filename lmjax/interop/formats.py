"""The networks of Hugging Face's format, a row each, which works both ways.

`identify` finds the row that says a config of ours without loss, so that what was trained here can be loaded there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from lmjax.config import UsageError
from lmjax.interop import decoder_configs as decoders
from lmjax.interop import encoder_configs as encoders
from lmjax.interop import encoder_decoder_configs as encoder_decoders
from lmjax.interop.encoder_decoder_names import bart_names, t5_names
from lmjax.interop.layouts import TRANSPOSED
from lmjax.interop.names import (
    BERT_HEAD,
    BERT_LAYERS,
    BOTH,
    DISTILBERT_HEAD,
    DISTILBERT_NAMES,
    GPT2_NAMES,
    NEOX_NAMES,
    PRE,
    ROBERTA_HEAD,
    Name,
    llama_names,
)
from lmjax.models.attention import head_sizes
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import inner_width
from lmjax.ops.positions import POSITIONS


class Format(NamedTuple):
    """A `model_type`."""

    architecture: str  # the class of transformers that holds it with its head
    prefix: str  # before every one of `names`; a checkpoint without a head lacks it
    read: Callable[[decoders.Json], TransformerConfig]
    write: Callable[[TransformerConfig], dict[str, Any]]
    names: Callable[[TransformerConfig], tuple[Name, ...]]
    head: tuple[Name, ...] = (Name('lm_head.weight', ('head/w',), TRANSPOSED),)
    ignored: tuple[str, ...] = ()  # ends of names that hold no parameters of their own
    zeros: tuple[str, ...] = ()  # names of tensors that we have no parameter for and that must be zero
    older: tuple[tuple[str, str], ...] = ()  # ends of names, and how some checkpoints spell them
    held: Callable[[TransformerConfig, Collection[str]], TransformerConfig] = lambda config, names: config
    # what a checkpoint holds of the network that its config.json describes, told by the names of its tensors


def llama_like(architecture: str, read: Any, write: Any, *, norms: tuple[tuple[str, str], ...] = PRE) -> Format:
    names, ignored = llama_names(*norms), ('rotary_emb.inv_freq', 'lm_head.weight')
    return Format(architecture, 'model.', read, write, lambda config: names, ignored=ignored)


# model_type -> row; where several can say the same network, the first does
FORMATS: dict[str, Format] = {
    'gpt2': Format(
        'GPT2LMHeadModel',
        'transformer.',
        decoders.gpt2_read,
        decoders.gpt2_write,
        lambda config: GPT2_NAMES,
        ignored=('.attn.bias', '.attn.masked_bias', 'lm_head.weight'),
    ),
    'gpt_neox': Format(
        'GPTNeoXForCausalLM',
        'gpt_neox.',
        decoders.neox_read,
        decoders.neox_write,
        lambda config: NEOX_NAMES,
        head=(Name('embed_out.weight', ('head/w',), TRANSPOSED),),
        ignored=('.attention.bias', '.attention.masked_bias', 'rotary_emb.inv_freq', 'embed_out.weight', 'lm_head.weight'),
        older=(('embed_out.weight', 'lm_head.weight'),),
    ),
    'llama': llama_like('LlamaForCausalLM', decoders.biased_llama_read, decoders.biased_llama_write),
    'mistral': llama_like('MistralForCausalLM', decoders.mistral_read, decoders.mistral_write),
    'qwen2': llama_like('Qwen2ForCausalLM', decoders.qwen2_read, decoders.llama_write),
    'qwen3': llama_like('Qwen3ForCausalLM', decoders.qwen3_read, decoders.llama_write),
    'gemma2': llama_like('Gemma2ForCausalLM', decoders.gemma2_read, decoders.gemma2_write, norms=BOTH),
    'bert': Format(
        'BertForMaskedLM',
        'bert.',
        encoders.bert_read,
        encoders.bert_write,
        lambda config: BERT_LAYERS,
        head=BERT_HEAD,
        ignored=('.position_ids', 'cls.predictions.decoder.weight', 'cls.predictions.decoder.bias'),
        older=(('LayerNorm.weight', 'LayerNorm.gamma'), ('LayerNorm.bias', 'LayerNorm.beta')),
        held=encoders.held,
    ),
    'roberta': Format(
        'RobertaForMaskedLM',
        'roberta.',
        encoders.roberta_read,
        encoders.roberta_write,
        lambda config: BERT_LAYERS,
        head=ROBERTA_HEAD,
        ignored=('.position_ids', 'lm_head.decoder.weight', 'lm_head.decoder.bias'),
        held=encoders.held,
    ),
    'distilbert': Format(
        'DistilBertForMaskedLM',
        'distilbert.',
        encoders.distilbert_read,
        encoders.distilbert_write,
        lambda config: DISTILBERT_NAMES,
        head=DISTILBERT_HEAD,
        ignored=('.position_ids', 'vocab_projector.weight'),
        held=encoders.held,
    ),
    't5': Format(
        'T5ForConditionalGeneration',
        '',
        encoder_decoders.t5_read,
        encoder_decoders.t5_write,
        t5_names,
        ignored=('.embed_tokens.weight', 'lm_head.weight', '.EncDecAttention.relative_attention_bias.weight'),
        held=encoder_decoders.t5_held,
    ),
    'bart': Format(
        'BartForConditionalGeneration',
        'model.',
        encoder_decoders.bart_read,
        encoder_decoders.bart_write,
        bart_names,
        ignored=('.embed_tokens.weight', 'lm_head.weight'),
        zeros=('final_logits_bias',),
    ),
}

# Fields that say how a network is trained or computed, not what it computes.
MANNER = ('dropout', 'init', 'init_scale', 'dtype', 'attention', 'scan_layers', 'remat')


def canonical(config: TransformerConfig) -> dict[str, Any]:
    """What a config computes, each thing said in one way: defaults filled in, fields without effect at theirs."""
    c = dataclasses.replace(config)
    (_, c.kv_heads, c.head_width), c.ff_width = head_sizes(c), inner_width(c)
    c.attention_scale = c.attention_scale or c.head_width**-0.5
    plain = TransformerConfig()
    rotary = ['rotary_scaling', 'rotary_factor', 'rotary_low', 'rotary_high', 'rotary_original']
    unused = rotary[1:] if c.rotary_scaling == 'none' else rotary[2:] if c.rotary_scaling == 'linear' else []
    if not POSITIONS[c.position].rotated:
        unused = ['rotary_base', 'rotary_fraction', *rotary]
    if not POSITIONS[c.position].bucketed:
        unused = [*unused, 'relative_buckets', 'relative_distance']
    if not POSITIONS[c.position].learned:
        unused = [*unused, 'max_length', 'unused_positions']
    for field in (*unused, *MANNER):
        setattr(c, field, getattr(plain, field))
    return dataclasses.asdict(c)


def identify(config: TransformerConfig) -> str:
    """The first model_type whose config says all that ours does.

    Raises UsageError naming what the closest one cannot say.
    """
    wanted = canonical(config)
    misses = {}
    for model_type, form in FORMATS.items():
        try:
            found = canonical(form.read({'model_type': model_type, **form.write(config)}))
        except UsageError:
            continue
        misses[model_type] = [field for field in wanted if found[field] != wanted[field]]
        if not misses[model_type]:
            return model_type
    if not misses:
        raise UsageError(f'model.feed_forward={config.feed_forward!r}: no family of transformers has it; choose another')
    closest = min(misses, key=lambda name: len(misses[name]))
    unsaid = ', '.join(f'model.{field}={wanted[field]!r}' for field in misses[closest])
    raise UsageError(f'{unsaid}: no family of transformers has this; the closest, {closest}, differs there')
