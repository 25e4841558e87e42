"""A Llama-shaped network from a GGUF file, quantised or not, with the tokenizer inside (llama.cpp's format, version 3).

Its tensors are given the names and the order of channels that transformers uses, so that the rest is as for those.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from lmjax.config import UsageError, first_line, require
from lmjax.data.chat import DEFAULT, Chat
from lmjax.interop.imported import Imported, read_checkpoint
from lmjax.interop.tensors import Stored

if TYPE_CHECKING:
    from lmjax.data.library_tokenizer import LibraryTokenizer

TYPES = ('F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1')
LAYER = {
    'attn_norm': 'input_layernorm',
    'attn_q': 'self_attn.q_proj',
    'attn_k': 'self_attn.k_proj',
    'attn_v': 'self_attn.v_proj',
    'attn_output': 'self_attn.o_proj',
    'ffn_norm': 'post_attention_layernorm',
    'ffn_gate': 'mlp.gate_proj',
    'ffn_up': 'mlp.up_proj',
    'ffn_down': 'mlp.down_proj',
}
WHOLE = {'token_embd': 'model.embed_tokens', 'output_norm': 'model.norm', 'output': 'lm_head'}
GPT2_WORDS = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': True}
DIGITS = {'type': 'Digits', 'individual_digits': True}
# tokenizer.ggml.pre -> how text is cut before the merges, in tokenizer.json's terms
CUTS: dict[str, Any] = {
    'gpt-2': GPT2_WORDS,
    'default': GPT2_WORDS,
    'smollm': {'type': 'Sequence', 'pretokenizers': [DIGITS, GPT2_WORDS]},
}
CONTROL = 3  # the token type of what no text spells


def import_gguf(path: str, *, scan_layers: bool = False) -> Imported:
    """The network and the tokenizer of a file.

    Raises:
      UsageError: no such file, not GGUF, another architecture than llama, or a kind of tensor or tokenizer that is not known.
    """
    file = GgufFile(path)
    name = os.path.splitext(os.path.basename(path))[0]
    described = file.described()
    return read_checkpoint(name, described, lambda: file, file.tokenizer, label=path, scan_layers=scan_layers)


def import_tokenizer(path: str) -> LibraryTokenizer:
    """The tokenizer of a file, of as many tokens as its network. Raises UsageError as `import_gguf` does."""
    file = GgufFile(path)
    return file.tokenizer(file.described()['vocab_size'])


class GgufFile:
    """The tensors of a file under transformers' names (`index`, `read`), its description and its tokenizer."""

    def __init__(self, path: str) -> None:
        """Raises UsageError for what is no readable GGUF file."""
        if not os.path.isfile(path):
            raise UsageError(f'gguf:{path}: no such file; name a .gguf file')
        try:
            import gguf
        except ImportError:
            raise UsageError(f"gguf:{path}: needs the gguf library; install it with pip install -e '.[gguf]'") from None
        self.folder = path
        try:
            self._reader = gguf.GGUFReader(path)
            self._tensors = {_theirs(tensor.name): tensor for tensor in self._reader.tensors}
            # Sizes are stored with the fastest one first.
            self.index = {
                name: Stored(tuple(int(size) for size in tensor.shape[::-1]), 'F32') for name, tensor in self._tensors.items()
            }
        except Exception as error:  # a file that someone made may trip the reader anywhere
            raise UsageError(f'{path}: not a readable GGUF file ({first_line(error)}); fetch it again') from error
        for tensor in self._reader.tensors:
            kind = tensor.tensor_type.name
            require(kind in TYPES, f'{path}: {tensor.name} is of type', kind, f'only {", ".join(TYPES)} are read')

    def value(self, name: str, default: Any = None) -> Any:
        """A field of the header."""
        field = self._reader.get_field(name)
        if field is None and default is None:
            raise UsageError(f'{self.folder}: has no {name}; fetch it again')
        return default if field is None else field.contents()

    def described(self) -> dict[str, Any]:
        """What transformers' config.json would say."""
        kind = self.value('general.architecture')
        require(kind == 'llama', f'{self.folder}: general.architecture', kind, 'only llama is known in this format')
        require(
            'rope_freqs' not in self.index, f'{self.folder}: tensor', 'rope_freqs', 'stretched rotation is not read from it'
        )
        width, heads = self.value('llama.embedding_length'), self.value('llama.attention.head_count')
        eps = np.float32(self.value('llama.attention.layer_norm_rms_epsilon'))
        embedding = self.index.get('model.embed_tokens.weight')
        require(embedding is not None, f'{self.folder}: tensor', 'token_embd.weight', 'missing; fetch the file again')
        return {
            'model_type': 'llama',
            'hidden_size': width,
            'num_hidden_layers': self.value('llama.block_count'),
            'num_attention_heads': heads,
            'num_key_value_heads': self.value('llama.attention.head_count_kv', heads),
            'head_dim': self.value('llama.attention.key_length', width // max(heads, 1)),
            'intermediate_size': self.value('llama.feed_forward_length'),
            'max_position_embeddings': self.value('llama.context_length'),
            'rms_norm_eps': float(str(eps)),  # 1e-05, not the float32 beside it
            'rope_theta': float(self.value('llama.rope.freq_base', 10000.0)),
            'hidden_act': 'silu',
            'tie_word_embeddings': 'lm_head.weight' not in self.index,
            'vocab_size': embedding.shape[0] if embedding else 0,
        }

    def read(self, name: str) -> np.ndarray:
        """One tensor, float32, its channels in transformers' order."""
        from gguf.quants import dequantize

        tensor = self._tensors[name]
        value = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(self.index[name].shape)
        heads = {'q_proj': 'llama.attention.head_count', 'k_proj': 'llama.attention.head_count_kv'}
        for part, field in heads.items():
            if part in name:
                return halves(value, self.value(field, self.value('llama.attention.head_count')))
        return value

    def tokenizer(self, vocab_size: int) -> LibraryTokenizer:
        """The byte-pair tokenizer in the header, with its chat template."""
        from lmjax.data.library_tokenizer import LibraryTokenizer

        model = self.value('tokenizer.ggml.model')
        remedy = 'only gpt2, byte-pair encoding, is read; import the checkpoint from hf: instead'
        require(model == 'gpt2', f'{self.folder}: tokenizer.ggml.model', model, remedy)
        cut = self.value('tokenizer.ggml.pre', 'default')
        require(cut in CUTS, f'{self.folder}: tokenizer.ggml.pre', cut, f'only {", ".join(CUTS)} are known')
        tokens, types = self.value('tokenizer.ggml.tokens'), self.value('tokenizer.ggml.token_type')
        merges = self.value('tokenizer.ggml.merges')
        end = self.value('tokenizer.ggml.eos_token_id', -1)
        text = library_json(tokens, merges, special=[i for i, kind in enumerate(types) if kind == CONTROL], cut=CUTS[cut])
        return LibraryTokenizer(text, size=vocab_size, ends=(end,) if end >= 0 else (), chat=self._chat(tokens))

    def _chat(self, tokens: list[str]) -> Chat | None:
        template = self.value('tokenizer.chat_template', '')
        ids = {name: self.value(f'tokenizer.ggml.{name}_token_id', -1) for name in ('bos', 'eos')}
        named = {f'{name}_token': tokens[i] for name, i in ids.items() if 0 <= i < len(tokens)}
        return Chat({DEFAULT: template}, named) if template else None


def _theirs(name: str) -> str:
    """A tensor's name in transformers; its own where it has none there."""
    stem, _, kind = name.rpartition('.')
    if match := re.fullmatch(r'blk\.(\d+)\.(\w+)', stem):
        return f'model.layers.{match[1]}.{LAYER.get(match[2], match[2])}.{kind}'
    return f'{WHOLE[stem]}.{kind}' if stem in WHOLE else stem


def halves(value: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from neighbours that rotate together to halves that do: 0 2 4 .. 1 3 5 .."""
    rows = value.reshape(heads, -1, 2, *value.shape[1:])
    return rows.swapaxes(1, 2).reshape(value.shape)


def library_json(tokens: list[str], merges: list[str], *, special: list[int], cut: Any) -> str:
    """A tokenizer.json of byte-level pairs."""
    flags = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
    return json.dumps(
        {
            'version': '1.0',
            'added_tokens': [{'id': i, 'content': tokens[i], 'special': True, **flags} for i in special],
            'pre_tokenizer': cut,
            'decoder': {'type': 'ByteLevel', 'add_prefix_space': True, 'trim_offsets': True, 'use_regex': True},
            'model': {
                'type': 'BPE',
                'vocab': {token: i for i, token in enumerate(tokens)},
                'merges': [merge.split(' ') for merge in merges],
            },
        }
    )
