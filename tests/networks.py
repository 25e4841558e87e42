"""For the laws: a network of each kind. The transformer's rows together use every row of every table of choices."""

from lmjax.models.config import GraphConfig, NgramConfig, RecurrentConfig, TransformerConfig

VOCAB, TIME = 11, 8
TINY = {'width': 8, 'depth': 2, 'heads': 2}

NETWORKS = {
    'gpt2': TransformerConfig(
        **TINY, position='learned', norm='layer', feed_forward='gelu_tanh', bias=True, init='gpt2', attention='einsum'
    ),
    'transformer_2017': TransformerConfig(
        **TINY, ff_width=12, position='sinusoidal', norm='layer', norm_place='post', final_norm=False, feed_forward='relu',
        tied=False, embed_scale=True, bias=True, head_bias=True, dropout=0.3, init='uniform_0.1',
    ),
    'multi_query': TransformerConfig(
        **TINY, kv_heads=1, position='rotary', norm='rms', feed_forward='swiglu', qk_norm=True, logit_cap=5.0, tied=False,
        init='fan_in', scan_layers=True,
    ),
    'alibi_window': TransformerConfig(
        width=9, depth=2, heads=3, head_width=4, position='alibi', norm='layer', norm_place='both', feed_forward='geglu',
        window=3, final_logit_cap=3.0, init='xavier', attention='blocked',
    ),
    'textbook': TransformerConfig(
        **TINY, position='none', norm='none', residual='none', final_norm=False, feed_forward='two_relu', bias=True,
        init='xavier', tied=False,
    ),
    'grouped': TransformerConfig(
        width=8, depth=2, heads=4, kv_heads=2, position='rotary', rotary_base=100.0, norm='rms', norm_place='both',
        feed_forward='squared_relu', init='fan_in', remat='full', dropout=0.2,
    ),
    'rotary_window': TransformerConfig(
        **TINY, window=3, position='rotary', norm='rms', norm_place='post', feed_forward='silu', remat='dots',
        scan_layers=True, attention='blocked', init='fan_in',
    ),
    'bfloat16': TransformerConfig(**TINY, feed_forward='reglu', position='sinusoidal', init='fan_in', dtype='bfloat16'),
    'plain': TransformerConfig(**TINY, max_length=16, position='learned', norm='layer', feed_forward='gelu', init='fan_in'),
    'parallel': TransformerConfig(
        **TINY, block='parallel', position='rotary', rotary_fraction=0.5, rotary_scaling='linear', rotary_factor=2.0,
        norm='layer', feed_forward='gelu', bias=True, tied=False,
    ),
    'alternating': TransformerConfig(
        width=8, depth=2, heads=4, kv_heads=2, head_width=6, window=3, global_every=2, attention_scale=0.7, logit_cap=4.0,
        position='rotary', rotary_scaling='llama3', rotary_factor=4.0, rotary_original=32, norm='rms_plus_one',
        norm_place='both', feed_forward='geglu_tanh', qkv_bias=True, embed_scale=True, init='fan_in', scan_layers=True,
    ),
    'encoder': TransformerConfig(
        **TINY, causal=False, max_length=12, unused_positions=2, token_types=2, embed_norm=True, position='learned',
        norm='layer', norm_place='post', final_norm=False, bias=True, head_bias=True, head_transform='gelu', pooler=True,
        classes=3, init='fan_in', dropout=0.1,
    ),
    'encoder_decoder': TransformerConfig(
        **TINY, encoder_depth=1, position='relative', relative_buckets=4, relative_distance=6, norm='rms', attention_scale=1.0,
        feed_forward='relu', head_scale=True, init='fan_in', scan_layers=True, qk_norm=True, dropout=0.1,
    ),
    'elman': RecurrentConfig(cell='rnn', embedding=0, hidden=8, depth=1),
    'lstm': RecurrentConfig(cell='lstm', embedding=6, hidden=8, depth=2, initial_state='learned', dropout=0.2),
    'gru': RecurrentConfig(cell='gru', embedding=8, hidden=8, depth=2, tied=True, init='orthogonal', remat='full'),
    'complex': GraphConfig(scoring='complex', width=8, dropout=0.2),
    'rotate': GraphConfig(scoring='rotate', width=8, init_scale=2.0),
    'ngram': NgramConfig(order=4),
}  # fmt: skip

# By hand: embedding (+ positions), layers x (attention + feed-forward + norms), final norm, head.
COUNTS = {
    'gpt2': 11 * 8 + 8 * 8 + 2 * ((4 * 64 + 32) + (2 * 8 * 32 + 40) + 32) + 16,
    'transformer_2017': 11 * 8 + 2 * ((4 * 64 + 32) + (2 * 8 * 12 + 20) + 32) + 8 * 11 + 11,
    'multi_query': 11 * 8 + 2 * ((2 * 64 + 2 * 32 + 8) + 3 * 8 * 24 + 16) + 8 + 8 * 11,
    'alibi_window': 11 * 9 + 2 * (4 * 9 * 12 + 3 * 9 * 24 + 4 * 9) + 9,
    'textbook': 11 * 8 + 2 * ((4 * 64 + 32) + (2 * 8 * 32 + 40)) + 8 * 11,
    'grouped': 11 * 8 + 2 * (2 * 64 + 2 * 32 + 2 * 8 * 32 + 32) + 8,
    'rotary_window': 11 * 8 + 2 * (4 * 64 + 2 * 8 * 32 + 16) + 8,
    'bfloat16': 11 * 8 + 2 * (4 * 64 + 3 * 8 * 24 + 16) + 8,
    'plain': 11 * 8 + 16 * 8 + 2 * (4 * 64 + 2 * 8 * 32 + 16) + 8,
    'parallel': 11 * 8 + 2 * ((4 * 64 + 32) + (2 * 8 * 32 + 40) + 32) + 16 + 8 * 11,
    'alternating': 11 * 8 + 2 * ((2 * 8 * 24 + 2 * 8 * 12 + 24 + 2 * 12) + 3 * 8 * 24 + 32) + 8,
    'encoder': (11 + 14 + 2 + 2) * 8 + 2 * ((4 * 64 + 32) + (2 * 8 * 32 + 40) + 32) + (8 * 8 + 8 + 16 + 11) + (64 + 8 + 27),
    'encoder_decoder': 11 * 8 + 2 * (2 * (4 * 64 + 2 * 4) + 2 * 8 * 32 + 24) + 8 + 8 + (4 * 64 + 8 + 2 * 8 * 32 + 16 + 8 + 8),
    'elman': (11 + 8 + 1) * 8 + 8 * 11 + 11,
    'lstm': 11 * 6 + 4 * 8 * (6 + 8 + 1) + 4 * 8 * (8 + 8 + 1) + 4 * 8 + 8 * 11 + 11,
    'gru': 11 * 8 + 2 * (3 * 8 * (8 + 8 + 1) + 8) + 11,
    'complex': 2 * 11 * 8,
    'rotate': 11 * (8 + 4),
}
