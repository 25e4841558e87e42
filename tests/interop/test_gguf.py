"""GGUF files: made here from a network of ours, in each type of tensor, read back; and what is refused."""

import jax
import numpy as np
import pytest

import lmjax
from lmjax.config import UsageError
from lmjax.interop.gguf_file import CUTS, GgufFile, halves, library_json
from lmjax.interop.sources import import_tokenizer
from lmjax.models import build
from lmjax.models.config import TransformerConfig

gguf = pytest.importorskip('gguf')

CONFIG = TransformerConfig(
    width=32, depth=2, heads=4, kv_heads=2, ff_width=64, feed_forward='swiglu', tied=False, context=64, rotary_base=300.0
)
WORDS = [*map(chr, range(ord('a'), ord('z') + 1)), 'Ġ', 'th', 'the', 'Ġthe', '<|end|>', *'0123456789']
NAMES = {
    'q': 'attn_q',
    'k': 'attn_k',
    'v': 'attn_v',
    'o': 'attn_output',
    'gate': 'ffn_gate',
    'up': 'ffn_up',
    'down': 'ffn_down',
}


def network():
    model = build(CONFIG, vocab_size=len(WORDS), seq_len=64)
    return model, jax.jit(model.init)(jax.random.key(0), {'init_scale': 8.0})


def neighbours(matrix, heads):
    """The order of rows that llama.cpp's converter gives to queries and keys: pairs that rotate together stand together."""
    return matrix.reshape(heads, 2, -1, matrix.shape[-1]).swapaxes(1, 2).reshape(matrix.shape)


def tensors(params):
    """Name in the file -> float32 array, by hand."""
    yield 'token_embd.weight', params['embedding']['tokens']
    yield 'output_norm.weight', params['final_norm']['scale']
    yield 'output.weight', params['head']['w'].T
    for i, layer in params['layers'].items():
        yield f'blk.{i}.attn_norm.weight', layer['attention_norm']['scale']
        yield f'blk.{i}.ffn_norm.weight', layer['feed_forward_norm']['scale']
        for name in 'qkv':
            matrix = np.asarray(layer['attention'][f'w_{name}']).reshape(32, -1).T
            heads = {'q': 4, 'k': 2}.get(name)
            yield f'blk.{i}.{NAMES[name]}.weight', neighbours(matrix, heads) if heads else matrix
        yield f'blk.{i}.attn_output.weight', np.asarray(layer['attention']['w_o']).reshape(-1, 32).T
        for name in ('gate', 'up', 'down'):
            yield f'blk.{i}.{NAMES[name]}.weight', layer['feed_forward'][f'w_{name}'].T


def write(path, params, kind='F32', *, architecture='llama', model='gpt2', cut='gpt-2', chat='', leave_out=()):
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(300.0)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(WORDS)
    writer.add_token_types([3 if word == '<|end|>' else 1 for word in WORDS])
    writer.add_token_merges(['t h', 'th e', 'Ġ the'])
    writer.add_eos_token_id(WORDS.index('<|end|>'))
    if chat:
        writer.add_chat_template(chat)
    for name, value in tensors(params):
        if name in leave_out:
            continue
        value = np.ascontiguousarray(value, np.float32)
        wanted = gguf.GGMLQuantizationType[kind if value.ndim > 1 else 'F32']
        packed = value.astype(np.float16) if kind == 'F16' and value.ndim > 1 else gguf.quants.quantize(value, wanted)
        writer.add_tensor(name, packed, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def test_a_plain_file_is_the_network_bit_for_bit(tmp_path):
    model, params = network()
    run = lmjax.load('gguf:' + write(tmp_path / 'a.gguf', params))
    jax.tree.map(np.testing.assert_array_equal, run.params, params)
    ids = [3, 1, 4, 1, 5]
    np.testing.assert_array_equal(run.logits(ids), lmjax.Run('w', run.config, model, params, None).logits(ids))
    assert run.config.name == 'a'
    assert run.config.model.norm_eps == 1e-5
    assert run.context == 64


def test_the_tokenizer_comes_with_its_chat_template(tmp_path):
    _, params = network()
    found = import_tokenizer('gguf:' + write(tmp_path / 'a.gguf', params, chat='{{ eos_token }}'))
    assert (found.chat.templates, found.chat.tokens) == ({'default': '{{ eos_token }}'}, {'eos_token': '<|end|>'})
    assert (found.vocab_size, found.end_ids) == (len(WORDS), (WORDS.index('<|end|>'),))
    assert import_tokenizer('gguf:' + write(tmp_path / 'b.gguf', params)).chat is None


# The largest error in units of a block's largest magnitude: half a step of 127; a whole one of 8 at the end that is cut off;
# half of one of 15 that cover twice the magnitude; each with its scale rounded to a float16.
STEPS = {
    'F16': 2**-11,
    'BF16': 2**-8,
    'Q8_0': 0.5 / 127 + 2**-11,
    'Q4_0': 1 / 8 + 2**-11,
    'Q4_1': 0.5 * 2 / 15 + 2**-10,
}


@pytest.mark.parametrize('kind', STEPS)
def test_a_quantised_file_is_the_network_to_its_steps(tmp_path, kind):
    _, params = network()
    file = GgufFile(write(tmp_path / 'a.gguf', params, kind))
    for name, theirs in (
        ('model.embed_tokens.weight', params['embedding']['tokens']),
        ('lm_head.weight', params['head']['w'].T),
    ):
        value, exact = file.read(name), np.asarray(theirs)
        largest = np.abs(exact.reshape(-1, 32)).max(axis=1, keepdims=True)
        error = np.abs(value - exact).reshape(-1, 32) / largest
        assert 0 < error.max() <= STEPS[kind]
    assert file.index['model.layers.1.mlp.down_proj.weight'].shape == (32, 64)


def test_its_tokenizer(tmp_path):
    run = lmjax.load('gguf:' + write(tmp_path / 'a.gguf', network()[1]))
    ids = run.tokenizer.encode('the cat<|end|>')
    assert [WORDS[i] for i in ids] == ['the', 'Ġ', 'c', 'a', 't', '<|end|>']
    assert run.tokenizer.decode(ids) == 'the cat'
    assert run.tokenizer.end_ids == (WORDS.index('<|end|>'),)
    assert run.tokenizer.byte_lengths[WORDS.index('Ġthe')] == 4


def test_digits_are_cut_apart_where_the_file_says_so():
    words = [*WORDS, '12']
    merged = library_json(words, ['1 2'], special=[], cut=CUTS['gpt-2'])
    apart = library_json(words, ['1 2'], special=[], cut=CUTS['smollm'])
    import tokenizers

    assert tokenizers.Tokenizer.from_str(merged).encode('12').tokens == ['12']
    assert tokenizers.Tokenizer.from_str(apart).encode('12').tokens == ['1', '2']


def test_channels_of_a_head_are_put_in_halves():
    rows = np.arange(12).reshape(12, 1)
    assert halves(neighbours(rows, 2), 2).ravel().tolist() == list(range(12))
    assert halves(rows, 2).ravel().tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'architecture': 'mamba'}, "general.architecture='mamba': only llama is known|has no llama"),
        ({'model': 'llama'}, r"tokenizer\.ggml\.model='llama': only gpt2, byte-pair encoding, is read"),
        ({'cut': 'tekken'}, r"tokenizer\.ggml\.pre='tekken': only gpt-2, default, smollm are known"),
        ({'leave_out': ('blk.1.attn_q.weight',)}, r'model\.layers\.1\.self_attn\.q_proj\.weight is missing'),
        ({'leave_out': ('token_embd.weight',)}, r"tensor='token_embd\.weight': missing; fetch the file again"),
    ],
)
def test_a_file_that_is_not_known_is_one_clear_line(tmp_path, changes, message):
    path = write(tmp_path / 'a.gguf', network()[1], **changes)
    with pytest.raises(UsageError, match=message) as error:
        lmjax.load('gguf:' + path)
    assert '\n' not in str(error.value)


def test_a_file_that_is_damaged_is_one_clear_line(tmp_path):
    write(tmp_path / 'a.gguf', network()[1])
    data = (tmp_path / 'a.gguf').read_bytes()
    for name, damaged in {
        'short': data[: len(data) // 2],
        'empty': b'',
        'other': b'PK\x03\x04' + data[4:],
        'count': data[:8] + b'\xff' * 8 + data[16:],
        'length': data[:24] + b'\xff' * 8 + data[32:],
    }.items():
        path = tmp_path / f'{name}.gguf'
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r'\.gguf: not a readable GGUF file \(.*\); fetch it again'):
            lmjax.load(f'gguf:{path}')
    with pytest.raises(UsageError, match=r'no such file; name a \.gguf file'):
        lmjax.load('gguf:/no/where.gguf')
