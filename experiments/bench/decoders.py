"""The two sides of a decoding benchmark, lmjax's stream and transformers' generate, with the same weights; and the bound."""

from __future__ import annotations

import math
import os
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np

from lmjax.config import choose, require

# Of the spread of the logits: how far below the greatest one a token drawn greedily may lie on the other side.
TOLERANCES = {'float32': 1e-3, 'bfloat16': 0.3}


class Network(NamedTuple):
    """One network as lmjax holds it."""

    config: Any  # the whole Config
    model: Any
    params: Any
    dtype: str


class Timing(NamedTuple):
    """One generation of B rows."""

    tokens: np.ndarray  # B x N
    first_seconds: float  # until each row has its first token: the prompt's reading
    rest_seconds: float  # for the others


def network(name: str, dtype: str) -> Network:
    """A row of FAMILIES with random weights, or an imported checkpoint ('hf:..', 'gguf:..'), computing in `dtype`.

    Raises UsageError for a name that is neither.
    """
    import dataclasses

    import jax

    from lmjax.interop.sources import import_checkpoint, is_imported
    from lmjax.models import build
    from lmjax.models.families import FAMILIES
    from lmjax.training.config import Config, DataConfig

    config: Any
    params: Any
    if is_imported(name):
        found = import_checkpoint(name)
        config, params, vocab_size = found.config, found.params, found.params['embedding']['tokens'].shape[0]
    else:
        family = choose(FAMILIES, name, 'networks')
        config = Config(model=family.model, data=DataConfig(seq_len=family.context))
        params, vocab_size = None, family.vocab_size
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dtype=dtype))
    model = build(config.model, vocab_size=vocab_size, seq_len=config.data.seq_len)
    if params is None:
        params = jax.jit(model.init)(jax.random.key(0), {})
    return Network(config, model, jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, dtype), params), dtype)


class JaxSide:
    """What `experiments.generate` runs: prompts read at once, then chunks of tokens, greedily."""

    def __init__(self, network: Network, new_tokens: int):
        from lmjax.generate.config import SamplingConfig

        self._network = network
        self._sampling = SamplingConfig(max_new_tokens=new_tokens, greedy=True)

    def run(self, ids_BxP: np.ndarray) -> Timing:
        from lmjax.generate.decode import stream

        n = self._network
        context = n.config.model.context or n.config.data.seq_len
        began = time.perf_counter()
        chunks = stream(n.model, n.params, list(ids_BxP), self._sampling, context=context)
        columns = [next(chunks)]
        first = time.perf_counter()
        columns += chunks
        return Timing(np.concatenate(columns, axis=1), first - began, time.perf_counter() - first)


class TorchSide:
    """transformers' `generate` with its cache, greedily, as it comes; never before `new_tokens` are drawn."""

    def __init__(self, network: Network, new_tokens: int):
        import torch
        from transformers import AutoModelForCausalLM

        from lmjax.interop.huggingface import export_folder

        self._torch, self._new_tokens = torch, new_tokens
        self._device = 'cuda' if torch.cuda.is_available() and network.dtype == 'bfloat16' else 'cpu'
        with tempfile.TemporaryDirectory() as temporary:
            folder = os.path.join(temporary, 'exported')
            export_folder(network.config, network.params, None, folder, dtype=network.dtype)
            module = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, network.dtype))
        self._module = module.eval().to(self._device)
        self._module.generation_config.eos_token_id = None
        self._module.generation_config.pad_token_id = 0

    def run(self, ids_BxP: np.ndarray) -> Timing:
        ids = self._ids(ids_BxP)
        clock = Clock()
        with self._torch.inference_mode():
            began = time.perf_counter()
            tokens = self._module.generate(
                ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=self._new_tokens,
                do_sample=False,
                use_cache=True,
                streamer=clock,
            )
            ended = time.perf_counter()
        return Timing(tokens[:, ids.shape[1] :].cpu().numpy(), clock.first - began, ended - clock.first)

    def shortfall(self, ids_BxP: np.ndarray, tokens_BxN: np.ndarray) -> float:
        """How far, at worst, a token's logit lies below the greatest, over the logits' standard deviation; 0: all greedy."""
        ids = self._ids(np.concatenate([ids_BxP, tokens_BxN], axis=1))
        with self._torch.inference_mode():
            logits_BxNxV = self._module(ids[:, :-1]).logits[:, ids_BxP.shape[1] - 1 :].float()
        chosen_BxN = logits_BxNxV.gather(-1, ids[:, ids_BxP.shape[1] :, None])[..., 0]
        return float((logits_BxNxV.amax(-1) - chosen_BxN).amax() / logits_BxNxV.std())

    def _ids(self, ids: np.ndarray) -> Any:
        return self._torch.from_numpy(ids.astype(np.int64)).to(self._device)


class Clock:
    """A streamer of transformers that notes when the first drawn token came; `put` is given the prompt before it."""

    def __init__(self) -> None:
        self.calls, self.first = 0, math.nan

    def put(self, _: Any) -> None:
        self.calls += 1
        if self.calls == 2:
            self.first = time.perf_counter()

    def end(self) -> None:
        """Nothing is held back."""


def check_same(network: Network, theirs: TorchSide, ids_BxP: np.ndarray, tokens_BxN: np.ndarray) -> float:
    """The shortfall of lmjax's tokens under transformers' logits. Raises UsageError where they are not its greedy tokens."""
    gap = theirs.shortfall(ids_BxP, tokens_BxN)
    remedy = "standard deviations below transformers' greatest logit: not the same network"
    require(gap <= TOLERANCES[network.dtype], 'tokens', gap, remedy)
    return gap


def bytes_per_step(network: Network, batch: int, tokens: int) -> int:
    """What a step has to read: weights that multiply (tables only looked up do not) and the cache of `tokens` a row."""
    import jax

    embedding = network.params['embedding']
    tied = getattr(network.config.model, 'tied', False)
    looked_up = sum(leaf.nbytes for name, leaf in embedding.items() if not (tied and name == 'tokens'))
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(network.params)) - looked_up
    cache = jax.eval_shape(lambda: network.model.init_cache(network.params, batch, tokens))
    return weights + sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cache))


class Memory:
    """Reads an array as large as the weights: a vector times a matrix, and a sum; whichever is faster is the bound."""

    def __init__(self, size_bytes: int, dtype: str):
        import jax
        import jax.numpy as jnp

        rows = max(1, size_bytes // (jnp.dtype(dtype).itemsize * 1024))
        self._bytes = rows * 1024 * jnp.dtype(dtype).itemsize
        self._matrix, self._wide = jnp.ones((rows, 1024), dtype), jnp.ones((1024, rows), dtype)
        self._probes = {
            'matrix-vector': (jax.jit(lambda a: a @ jnp.ones(1024, dtype)), self._matrix),
            'vector-matrix': (jax.jit(lambda a: jnp.ones(1024, dtype) @ a), self._wide),
            'sum': (jax.jit(lambda a: a.sum(dtype=jnp.float32)), self._matrix),
        }

    def run(self, times: int = 4) -> dict[str, float]:
        """The best bytes a second of each probe."""
        best = dict.fromkeys(self._probes, 0.0)
        for name, (probe, array) in self._probes.items():
            probe(array).block_until_ready()
            for _ in range(times):
                began = time.perf_counter()
                probe(array).block_until_ready()
                best[name] = max(best[name], self._bytes / (time.perf_counter() - began))
        return best
