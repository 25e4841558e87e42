"""The configs of the networks; `kind` is the row of MODELS that builds it."""

import dataclasses


@dataclasses.dataclass
class TransformerConfig:
    """A decoder, with causal=False an encoder, or with encoder_depth both; every choice is a row of a table named beside it."""

    kind: str = 'transformer'
    causal: bool = True  # a token sees the earlier ones alone; false: all of its segment
    encoder_depth: int = 0  # layers of an encoder of the same kind, whose states every layer of the decoder sees; 0: none
    width: int = 128
    depth: int = 4
    heads: int = 4
    kv_heads: int = 0  # 0: as many as heads; 1: multi-query; between: grouped
    head_width: int = 0  # 0: width / heads
    ff_width: int = 0  # 0: 4 x width (gated forms: 8/3 x width, rounded up to a multiple of 8)
    max_length: int = 0  # positions that a learned table has; 0: data.seq_len
    unused_positions: int = 0  # rows of that table before the first position's (RoBERTa: 2)
    token_types: int = 0  # rows of a table added to the embedding, by which of two texts a token is from; 0: none
    embed_norm: bool = False  # a norm on the embedding
    context: int = 0  # the most tokens that it was trained to read at once; 0: data.seq_len
    position: str = 'rotary'  # POSITIONS: sinusoidal, learned, rotary, alibi, relative, none
    relative_buckets: int = 32  # of distances, each of which has a bias (Raffel et al. 2020)
    relative_distance: int = 128  # in tokens; from here on distances share the last bucket
    rotary_base: float = 10000.0
    rotary_fraction: float = 1.0  # of each head's channels, the first ones, are rotated
    rotary_scaling: str = 'none'  # ROTARY_SCALINGS, to stretch a trained context: none, linear, llama3
    rotary_factor: float = 1.0  # by how much
    rotary_low: float = 1.0  # llama3: channels that turn fewer times than this in the original context are stretched whole
    rotary_high: float = 4.0  # and those that turn more often than this are left
    rotary_original: int = 8192  # the original context, in tokens
    block: str = 'sequential'  # BLOCKS: sequential, parallel (both sublayers read the same stream)
    norm: str = 'rms'  # NORMS: layer, rms, rms_plus_one, none
    norm_place: str = 'pre'  # pre, post, both (before and after each sublayer)
    norm_eps: float = 1e-5
    final_norm: bool = True
    residual: str = 'add'  # RESIDUALS: add, none
    # FEED_FORWARDS: relu, gelu, gelu_tanh, silu, squared_relu, two_relu; gated: geglu, geglu_tanh, swiglu, reglu
    feed_forward: str = 'gelu'
    window: int = 0  # sliding attention window in tokens, itself counted; 0: all before
    global_every: int = 0  # every so many layers, the last of them sees all before in spite of the window; 0: none does
    attention_scale: float = 0.0  # of the attention logits; 0: head_width ** -0.5
    qk_norm: bool = False
    logit_cap: float = 0.0  # soft cap of attention logits, cap * tanh(x / cap); 0: none
    final_logit_cap: float = 0.0  # the same on the output logits
    tied: bool = True  # the head is the embedding, transposed
    embed_scale: bool = False  # embedding times sqrt(width)
    bias: bool = False  # in attention, feed-forward and layer norms
    qkv_bias: bool = False  # in the projections to queries, keys and values, also without `bias`
    head_bias: bool = False
    head_scale: bool = False  # hidden states divided by sqrt(width) before the logits
    head_transform: str = 'none'  # before the logits, a dense layer, this row of ACTIVATIONS and a norm (Devlin et al. 2019)
    pooler: bool = False  # tanh of a dense layer on a row's first token, beside the hidden states
    classes: int = 0  # of rows, told from the pooled state; 0: no classifier
    dropout: float = 0.0  # embedding, attention weights and sublayer outputs
    init: str = 'gpt2'  # INITS: gpt2, fan_in, xavier, uniform_0.1 (embedding and head; xavier inside)
    init_scale: float = 1.0  # multiplies every initial weight matrix
    dtype: str = 'float32'  # of the computation: float32, bfloat16
    attention: str = 'auto'  # ATTENTIONS: auto, einsum, blocked, cudnn, ... (how, never what is computed)
    scan_layers: bool = False
    remat: str = 'none'  # REMATS: none, full, dots


@dataclasses.dataclass
class RecurrentConfig:
    kind: str = 'recurrent'
    cell: str = 'lstm'  # CELLS: rnn, lstm, gru
    embedding: int = 256  # width of the embedding; 0: one-hot input
    token_types: int = 0  # vectors added to the embedding, one for each kind of token (a language); 0: none
    hidden: int = 512
    depth: int = 2
    dropout: float = 0.0  # after the embedding, between layers and before the head
    initial_state: str = 'zero'  # zero, learned
    tied: bool = False  # needs embedding = hidden
    head_bias: bool = True
    init: str = 'uniform'  # RECURRENT_INITS: uniform (PyTorch's 1/sqrt(hidden)), orthogonal
    forget_bias: float = 0.0  # added to the initial forget gate's bias (lstm)
    init_scale: float = 1.0
    dtype: str = 'float32'
    remat: str = 'none'


@dataclasses.dataclass
class GraphConfig:
    """Vectors of entities, and relations that lead from one to another."""

    kind: str = 'graph'
    scoring: str = 'complex'  # SCORINGS: transe, distmult, complex, rotate
    width: int = 256  # numbers of an entity; a complex one is two
    dropout: float = 0.0  # of entities and relations that are read
    n3: float = 0.0  # weight of the cubes of their numbers in the loss (Lacroix et al. 2018)
    init_scale: float = 1.0


@dataclasses.dataclass
class NgramConfig:
    kind: str = 'ngram'
    order: int = 5
    smoothing: str = 'kneser_ney'  # interpolated, one discount an order


ModelConfig = TransformerConfig | RecurrentConfig | GraphConfig | NgramConfig
