"""The workloads as a PyTorch user writes them, and how lmjax's parameters are laid into them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lmjax import RecurrentConfig, TransformerConfig


class LSTMLanguageModel(nn.Module):
    def __init__(self, config: RecurrentConfig, vocab_size: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.embedding)
        self.lstm = nn.LSTM(config.embedding, config.hidden, config.depth, batch_first=True)
        self.head = nn.Linear(config.hidden, vocab_size)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.embedding(ids))
        return self.head(hidden)

    def twins(self) -> int:
        """Parameters that lmjax does not have: the second bias of each gate."""
        return sum(p.numel() for name, p in self.lstm.named_parameters() if name.startswith('bias_hh'))

    def load(self, params: Any) -> None:
        _set(self.embedding.weight, params['embedding']['tokens'])
        for i, layer in params['layers'].items():
            _set(getattr(self.lstm, f'weight_ih_l{i}'), layer['w_x'].T)
            _set(getattr(self.lstm, f'weight_hh_l{i}'), layer['w_h'].T)
            _set(getattr(self.lstm, f'bias_ih_l{i}'), layer['b'])
            _set(getattr(self.lstm, f'bias_hh_l{i}'), np.zeros_like(layer['b']))
        _set(self.head.weight, params['head']['w'].T)
        _set(self.head.bias, params['head']['b'])


class TransformerLanguageModel(nn.Module):
    """nn.TransformerEncoder with a causal mask (Vaswani et al. 2017: post-norm, ReLU, sinusoids)."""

    def __init__(self, config: TransformerConfig, vocab_size: int, seq_len: int):
        super().__init__()
        self.width = config.width
        self.embedding = nn.Embedding(vocab_size, config.width)
        layer = nn.TransformerEncoderLayer(config.width, config.heads, config.ff_width, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.head = nn.Linear(config.width, vocab_size)
        angle = torch.arange(seq_len)[:, None] * torch.exp(torch.arange(0, config.width, 2) * (-math.log(1e4) / config.width))
        waves = torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1).reshape(seq_len, config.width)
        self.register_buffer('waves', waves)
        self.register_buffer('mask', nn.Transformer.generate_square_subsequent_mask(seq_len))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) * math.sqrt(self.width) + self.waves
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))

    def twins(self) -> int:
        return 0

    def load(self, params: Any) -> None:
        _set(self.embedding.weight, params['embedding']['tokens'])
        for i, layer in params['layers'].items():
            block, attention, mlp = self.blocks.layers[int(i)], layer['attention'], layer['feed_forward']
            _set(block.self_attn.in_proj_weight, np.concatenate([_out_in(attention[f'w_{n}'], 1) for n in 'qkv']))
            _set(block.self_attn.in_proj_bias, np.concatenate([attention[f'b_{n}'].reshape(-1) for n in 'qkv']))
            _set(block.self_attn.out_proj.weight, _out_in(attention['w_o'], 2))
            _set(block.self_attn.out_proj.bias, attention['b_o'])
            _load_feed_forward(block.linear1, block.linear2, mlp)
            _load_norm(block.norm1, layer['attention_norm'])
            _load_norm(block.norm2, layer['feed_forward_norm'])
        _set(self.head.weight, params['head']['w'].T)
        _set(self.head.bias, params['head']['b'])


class GPTBlock(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        D, bias = config.width, config.bias
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(D, bias=bias), nn.LayerNorm(D, bias=bias)
        self.qkv, self.out = nn.Linear(D, 3 * D, bias=bias), nn.Linear(D, D, bias=bias)
        self.up, self.down = nn.Linear(D, 4 * D, bias=bias), nn.Linear(4 * D, D, bias=bias)
        self.gelu = nn.GELU(approximate='tanh' if config.feed_forward == 'gelu_tanh' else 'none')

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, D = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(D, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """nanoGPT's network: learned positions, pre-norm blocks, head tied to the embedding."""

    def __init__(self, config: TransformerConfig, vocab_size: int, seq_len: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.positions = nn.Embedding(seq_len, config.width)
        self.blocks = nn.ModuleList(GPTBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, bias=config.bias)
        self.head = nn.Linear(config.width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def twins(self) -> int:
        return 0

    def load(self, params: Any) -> None:
        _set(self.embedding.weight, params['embedding']['tokens'])
        _set(self.positions.weight, params['embedding']['positions'])
        _load_norm(self.norm, params['final_norm'])
        for i, layer in params['layers'].items():
            block: Any = self.blocks[int(i)]
            attention, mlp = layer['attention'], layer['feed_forward']
            _set(block.qkv.weight, np.concatenate([_out_in(attention[f'w_{n}'], 1) for n in 'qkv']))
            _set(block.out.weight, _out_in(attention['w_o'], 2))
            if block.qkv.bias is not None:
                _set(block.qkv.bias, np.concatenate([attention[f'b_{n}'].reshape(-1) for n in 'qkv']))
                _set(block.out.bias, attention['b_o'])
            _load_feed_forward(block.up, block.down, mlp)
            _load_norm(block.norm1, layer['attention_norm'])
            _load_norm(block.norm2, layer['feed_forward_norm'])


def build(config: Any, *, vocab_size: int, seq_len: int) -> Any:
    """The PyTorch twin of one of lmjax's model configs among the workloads."""
    if isinstance(config, RecurrentConfig):
        return LSTMLanguageModel(config, vocab_size)
    network = TransformerLanguageModel if config.norm_place == 'post' else GPT
    return network(config, vocab_size, seq_len)


def _set(parameter: Any, value: Any) -> None:
    """Copies an array into a parameter of exactly its shape."""
    value = torch.from_numpy(np.array(value, np.float32))
    if parameter.shape != value.shape:
        raise ValueError(f'a parameter of shape {tuple(parameter.shape)} cannot take {tuple(value.shape)}')
    with torch.no_grad():
        parameter.copy_(value)


def _out_in(weight: np.ndarray, dims_in: int) -> np.ndarray:
    """A weight whose first `dims_in` dimensions are its input, as PyTorch keeps it: outputs x inputs."""
    return weight.reshape(math.prod(weight.shape[:dims_in]), -1).T


def _load_norm(norm: Any, params: Any) -> None:
    _set(norm.weight, params['scale'])
    if norm.bias is not None:
        _set(norm.bias, params['bias'])


def _load_feed_forward(up: Any, down: Any, params: Any) -> None:
    _set(up.weight, params['w_up'].T)
    _set(down.weight, params['w_down'].T)
    if up.bias is not None:
        _set(up.bias, params['b_up'])
        _set(down.bias, params['b_down'])
