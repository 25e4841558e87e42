"""Small networks of transformers with random weights, of odd shapes, for every family that we read."""

SIZES = {'vocab_size': 37, 'hidden_size': 20, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'intermediate_size': 28}
LLAMA = {**SIZES, 'num_key_value_heads': 2, 'head_dim': 6, 'max_position_embeddings': 128}
ENDS = {'bos_token_id': 0, 'eos_token_id': 1, 'pad_token_id': None}
STRETCHED = {
    'rope_type': 'llama3',
    'factor': 4.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 3.0,
    'original_max_position_embeddings': 16,
    'rope_theta': 300.0,
}
GPT2 = {'vocab_size': 37, 'n_embd': 20, 'n_layer': 2, 'n_head': 4, 'n_positions': 128}
NEOX = {**SIZES, 'max_position_embeddings': 128}
GEMMA = {**LLAMA, 'query_pre_attn_scalar': 10, 'sliding_window': 5}

# name -> (model_type, fields): the first of each family in CI, all with -m full
ODD = {
    'gpt2': ('gpt2', GPT2),
    'gpt2-wide-ff': ('gpt2', {**GPT2, 'n_inner': 22, 'n_head': 2, 'activation_function': 'gelu'}),
    'gpt2-untied': ('gpt2', {**GPT2, 'tie_word_embeddings': False, 'n_layer': 1, 'layer_norm_epsilon': 1e-3}),
    'gpt_neox': (
        'gpt_neox',
        {**NEOX, 'hidden_size': 32, 'rope_parameters': {'rope_theta': 500.0, 'partial_rotary_factor': 0.25}},
    ),
    'gpt_neox-sequential': (
        'gpt_neox',
        {**NEOX, 'use_parallel_residual': False, 'rope_parameters': {'rope_theta': 1e4, 'partial_rotary_factor': 0.4}},
    ),
    'gpt_neox-whole': (
        'gpt_neox',
        {**NEOX, 'hidden_size': 24, 'hidden_act': 'relu', 'rope_parameters': {'rope_theta': 1e4, 'partial_rotary_factor': 1.0}},
    ),
    'llama': ('llama', {**LLAMA, 'rope_parameters': STRETCHED}),
    'llama-biased': ('llama', {**LLAMA, 'attention_bias': True, 'mlp_bias': True, 'num_key_value_heads': 1}),
    'llama-linear': (
        'llama',
        {
            **LLAMA,
            'tie_word_embeddings': True,
            'num_key_value_heads': 4,
            'hidden_act': 'gelu',
            'rope_parameters': {'rope_type': 'linear', 'factor': 3.0, 'rope_theta': 1e4},
        },
    ),
    'mistral': ('mistral', {**LLAMA, 'sliding_window': 5}),
    'mistral-multi-query': ('mistral', {**LLAMA, 'sliding_window': 9, 'num_key_value_heads': 1, 'rms_norm_eps': 1e-3}),
    'mistral-whole': ('mistral', {**LLAMA, 'sliding_window': None, 'tie_word_embeddings': True}),
    'qwen2': ('qwen2', {**LLAMA, 'hidden_size': 24}),
    'qwen2-tied': ('qwen2', {**LLAMA, 'tie_word_embeddings': True, 'num_key_value_heads': 1}),
    'qwen2-far': ('qwen2', {**LLAMA, 'rope_parameters': {'rope_theta': 1e6, 'rope_type': 'default'}, 'num_hidden_layers': 1}),
    'qwen3': ('qwen3', LLAMA),
    'qwen3-tied': ('qwen3', {**LLAMA, 'tie_word_embeddings': True, 'num_attention_heads': 6, 'num_key_value_heads': 3}),
    'qwen3-wide': ('qwen3', {**LLAMA, 'head_dim': 14, 'num_key_value_heads': 4, 'hidden_act': 'relu'}),
    'gemma2': ('gemma2', GEMMA),
    'gemma2-uncapped': ('gemma2', {**GEMMA, 'attn_logit_softcapping': None, 'final_logit_softcapping': None}),
    'gemma2-odd-depth': ('gemma2', {**GEMMA, 'num_hidden_layers': 3, 'head_dim': 10, 'attn_logit_softcapping': 2.0}),
}
BERT = {**SIZES, 'max_position_embeddings': 40}
DISTILBERT = {'vocab_size': 37, 'dim': 20, 'n_layers': 2, 'n_heads': 4, 'hidden_dim': 28, 'max_position_embeddings': 40}
ENCODERS = {
    'bert': ('bert', {**BERT, 'class': 'BertForPreTraining'}),
    'bert-headless': ('bert', {**BERT, 'class': 'BertModel', 'num_attention_heads': 2, 'hidden_act': 'relu'}),
    'bert-wide-eps': ('bert', {**BERT, 'layer_norm_eps': 1e-3, 'type_vocab_size': 3, 'hidden_act': 'gelu_new'}),
    'roberta': ('roberta', {**BERT, 'pad_token_id': 1, 'type_vocab_size': 1, 'hidden_act': 'relu'}),
    'roberta-far': ('roberta', {**BERT, 'pad_token_id': 4, 'num_attention_heads': 5, 'intermediate_size': 6}),
    'roberta-headless': ('roberta', {**BERT, 'pad_token_id': 1, 'class': 'RobertaModel', 'layer_norm_eps': 1e-5}),
    'distilbert': ('distilbert', DISTILBERT),
    'distilbert-headless': ('distilbert', {**DISTILBERT, 'class': 'DistilBertModel', 'n_heads': 2}),
    'distilbert-sinusoidal': ('distilbert', {**DISTILBERT, 'sinusoidal_pos_embds': True, 'activation': 'relu', 'n_layers': 1}),
}
T5 = {
    'vocab_size': 37,
    'd_model': 20,
    'd_kv': 6,
    'd_ff': 28,
    'num_layers': 2,
    'num_heads': 4,
    'relative_attention_num_buckets': 8,
    'relative_attention_max_distance': 12,
    'decoder_start_token_id': 0,
}
BART = {
    'vocab_size': 37,
    'd_model': 20,
    'max_position_embeddings': 40,
    'encoder_layers': 2,
    'decoder_layers': 2,
    **dict.fromkeys(('encoder_attention_heads', 'decoder_attention_heads'), 4),
    **dict.fromkeys(('encoder_ffn_dim', 'decoder_ffn_dim'), 28),
    'decoder_start_token_id': 1,
    'forced_eos_token_id': None,
}
ENCODER_DECODERS = {
    't5': ('t5', T5),
    't5-gated-untied': ('t5', {**T5, 'feed_forward_proj': 'gated-gelu', 'tie_word_embeddings': False, 'num_decoder_layers': 1}),
    't5-published-buckets': ('t5', {**T5, 'relative_attention_num_buckets': 32, 'relative_attention_max_distance': 128}),
    't5-deep-encoder': ('t5', {**T5, 'num_layers': 3, 'num_decoder_layers': 2, 'feed_forward_proj': 'gated-silu'}),
    'bart': ('bart', BART),
    'bart-scaled': ('bart', {**BART, 'scale_embedding': True, 'encoder_layers': 1, 'activation_function': 'relu'}),
    'bart-deep-encoder': ('bart', {**BART, 'encoder_layers': 3, 'encoder_attention_heads': 2, 'decoder_attention_heads': 2}),
}
ALL = ODD | ENCODERS | ENCODER_DECODERS
FIRST = list({model_type: name for name, (model_type, _) in reversed(ALL.items())}.values())[::-1]
CLASSES = {**dict.fromkeys(ENCODERS, 'AutoModelForMaskedLM'), **dict.fromkeys(ENCODER_DECODERS, 'AutoModelForSeq2SeqLM')}


def make(name):
    """The network of a row, float32, with weights large enough that every part matters."""
    import torch
    import transformers

    model_type, fields = ALL[name]
    torch.manual_seed(0)
    fields = {**ENDS, **fields, 'attn_implementation': 'eager'}
    kind = fields.pop('class', CLASSES.get(name, 'AutoModelForCausalLM'))
    config = transformers.AutoConfig.for_model(model_type, **fields)
    kind = getattr(transformers, kind)
    model = (kind.from_config(config) if hasattr(kind, 'from_config') else kind(config)).eval()
    if name == 't5-gated-untied':  # transformers ties a T5 until it has read a head of its own
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.4 if parameter.ndim > 1 else 0.3))
    return model
