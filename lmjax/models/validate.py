"""What a transformer's config must hold to, before anything is built."""

from __future__ import annotations

import math

from lmjax.config import choose, require
from lmjax.models.attention import head_sizes, rotated_width
from lmjax.models.blocks import BLOCKS, NORM_PLACES, RESIDUALS
from lmjax.models.config import TransformerConfig
from lmjax.models.feed_forward import FEED_FORWARDS
from lmjax.models.initial import INITS
from lmjax.models.params import DTYPES
from lmjax.models.stack import REMATS
from lmjax.ops.activations import ACTIVATIONS
from lmjax.ops.attention import ATTENTIONS
from lmjax.ops.norms import NORMS
from lmjax.ops.positions import POSITIONS, ROTARY_SCALINGS


def validate(config: TransformerConfig, seq_len: int) -> None:
    """Raises UsageError for a config that cannot be built."""
    c = config
    for table, field in _TABLES:
        choose(table, getattr(c, field), f'model.{field}')
    for field in ('width', 'depth', 'heads'):
        require(getattr(c, field) >= 1, f'model.{field}', getattr(c, field), 'must be at least 1')
    for field in _NOT_NEGATIVE:
        require(getattr(c, field) >= 0, f'model.{field}', getattr(c, field), 'must not be negative; 0 turns it off')
    remedy = f'must divide by model.heads={c.heads}; try model.heads={math.gcd(c.width, c.heads)} or set model.head_width'
    require(bool(c.head_width) or c.width % c.heads == 0, 'model.width', c.width, remedy)
    remedy = f'must divide model.heads={c.heads}; try {math.gcd(c.heads, c.kv_heads)}'
    require(not c.kv_heads or c.heads % c.kv_heads == 0, 'model.kv_heads', c.kv_heads, remedy)
    _, _, head_width = head_sizes(c)
    if POSITIONS[c.position].rotated:
        _validate_rotary(c, head_width)
    is_plain = c.residual == 'add' and not NORM_PLACES[c.norm_place].after
    remedy = "needs model.residual='add' and model.norm_place='pre' or 'both': there is one sum, which no norm follows"
    require(c.block != 'parallel' or is_plain, 'model.block', c.block, remedy)
    if c.encoder_depth:
        require(c.causal, 'model.encoder_depth', c.encoder_depth, 'goes with a decoder; set model.causal=true')
        require(c.block == 'sequential', 'model.block', c.block, "must be 'sequential' beside an encoder")
        require(not c.pooler, 'model.pooler', c.pooler, 'an encoder-decoder has none; set it to false')
    if POSITIONS[c.position].bucketed:
        least = 2 if c.causal and not c.encoder_depth else 4
        require(c.relative_buckets >= least, 'model.relative_buckets', c.relative_buckets, f'must be at least {least}')
        require(c.relative_buckets % 2 == 0, 'model.relative_buckets', c.relative_buckets, 'must be even')
        remedy = f'must be above half of model.relative_buckets={c.relative_buckets}'
        require(c.relative_distance > c.relative_buckets // 2, 'model.relative_distance', c.relative_distance, remedy)
    require(not c.classes or c.pooler, 'model.classes', c.classes, 'are told from the pooled state; set model.pooler=true')
    remedy = 'says which layers have no window; set model.window'
    require(not c.global_every or bool(c.window), 'model.global_every', c.global_every, remedy)
    least = longest(c, seq_len)
    remedy = f'must be at least {least} with data.seq_len={seq_len}, or 0 to follow it'
    require(not c.max_length or c.max_length >= least, 'model.max_length', c.max_length, remedy)
    require(0.0 <= c.dropout < 1.0, 'model.dropout', c.dropout, 'must be in [0, 1)')


def longest(config: TransformerConfig, seq_len: int) -> int:
    """Positions that are read of a window: both sides of an encoder-decoder have an end token after their text."""
    return seq_len + bool(config.encoder_depth)


def _validate_rotary(config: TransformerConfig, head_width: int) -> None:
    c = config
    fraction, rotated = c.rotary_fraction, rotated_width(c, head_width)
    require(0 < fraction <= 1, 'model.rotary_fraction', fraction, 'must be above 0 and at most 1')
    remedy = f"must be even with model.position='rotary'; try {head_width + 1}"
    require(fraction < 1 or head_width % 2 == 0, 'model.head_width', head_width, remedy)
    remedy = f'must rotate an even number of the {head_width} channels of a head, and at least 2; this is {rotated}'
    require(rotated % 2 == 0 and rotated >= 2, 'model.rotary_fraction', fraction, remedy)
    require(c.rotary_factor >= 1, 'model.rotary_factor', c.rotary_factor, 'must be at least 1')
    remedy = f'must be below model.rotary_high={c.rotary_high}'
    require(0 < c.rotary_low < c.rotary_high, 'model.rotary_low', c.rotary_low, remedy)
    require(c.rotary_original >= 1, 'model.rotary_original', c.rotary_original, 'must be at least 1')


_NOT_NEGATIVE = (
    'encoder_depth',
    *('kv_heads', 'head_width', 'ff_width', 'max_length', 'unused_positions', 'token_types', 'context', 'window'),
    *('global_every', 'logit_cap', 'final_logit_cap', 'attention_scale', 'classes'),
)
_TABLES = (
    (BLOCKS, 'block'),
    (ROTARY_SCALINGS, 'rotary_scaling'),
    (POSITIONS, 'position'),
    (NORMS, 'norm'),
    (NORM_PLACES, 'norm_place'),
    (RESIDUALS, 'residual'),
    (FEED_FORWARDS, 'feed_forward'),
    ({'none': None, **ACTIVATIONS}, 'head_transform'),
    (INITS, 'init'),
    (ATTENTIONS, 'attention'),
    (REMATS, 'remat'),
    (DTYPES, 'dtype'),
)
