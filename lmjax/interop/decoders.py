"""The decoders of Hugging Face's format, a row each, which works both ways.

`identify` finds the row that says a config of ours without loss, so that what was trained here can be loaded there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from lmjax.config import UsageError
from lmjax.interop import decoder_configs as configs
from lmjax.interop.decoder_names import BOTH, GPT2_NAMES, NEOX_NAMES, PRE, Name, llama_names
from lmjax.models.blocks import head_sizes
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import inner_width
from lmjax.ops.positions import POSITIONS


class Decoder(NamedTuple):
    """A `model_type`."""

    architecture: str  # the class of transformers that holds it with its head
    prefix: str  # before every name but the head's; a checkpoint without a head lacks it
    read: Callable[[configs.Json], TransformerConfig]
    write: Callable[[TransformerConfig], dict[str, Any]]
    names: tuple[Name, ...]
    head: str = 'lm_head.weight'
    ignored: tuple[str, ...] = ()  # ends of names that hold no parameters


def llama_like(architecture: str, read: Any, write: Any, *, norms: tuple[tuple[str, str], ...] = PRE) -> Decoder:
    return Decoder(architecture, 'model.', read, write, llama_names(*norms), ignored=('rotary_emb.inv_freq',))


# model_type -> row; where several can say the same network, the first does
DECODERS: dict[str, Decoder] = {
    'gpt2': Decoder(
        'GPT2LMHeadModel',
        'transformer.',
        configs.gpt2_read,
        configs.gpt2_write,
        GPT2_NAMES,
        ignored=('.attn.bias', '.attn.masked_bias'),
    ),
    'gpt_neox': Decoder(
        'GPTNeoXForCausalLM',
        'gpt_neox.',
        configs.neox_read,
        configs.neox_write,
        NEOX_NAMES,
        head='embed_out.weight',
        ignored=('.attention.bias', '.attention.masked_bias', 'rotary_emb.inv_freq'),
    ),
    'llama': llama_like('LlamaForCausalLM', configs.biased_llama_read, configs.biased_llama_write),
    'mistral': llama_like('MistralForCausalLM', configs.mistral_read, configs.mistral_write),
    'qwen2': llama_like('Qwen2ForCausalLM', configs.qwen2_read, configs.llama_write),
    'qwen3': llama_like('Qwen3ForCausalLM', configs.qwen3_read, configs.llama_write),
    'gemma2': llama_like('Gemma2ForCausalLM', configs.gemma2_read, configs.gemma2_write, norms=BOTH),
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
    if not POSITIONS[c.position].learned:
        unused = [*unused, 'max_length']
    for field in (*unused, *MANNER):
        setattr(c, field, getattr(plain, field))
    return dataclasses.asdict(c)


def identify(config: TransformerConfig) -> str:
    """The first model_type whose config says all that ours does.

    Raises UsageError naming what the closest one cannot say.
    """
    wanted = canonical(config)
    misses = {}
    for model_type, decoder in DECODERS.items():
        try:
            found = canonical(decoder.read({'model_type': model_type, **decoder.write(config)}))
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
