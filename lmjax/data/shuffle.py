"""Random numbers and permutations by index: the i-th value costs the same wherever i is, and needs no state."""

from __future__ import annotations

import zlib

import numpy as np

ROUNDS = 8  # fewer are measurably uneven on small ranges


def mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection of 64 bits in which every bit matters to all."""
    z = np.atleast_1d(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed(seed: int, stream: str, index: np.ndarray | int) -> np.ndarray:
    """64 random bits for each index of a named stream, uint64."""
    key = mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)) ^ np.uint64(zlib.crc32(stream.encode()))
    return mixed(mixed(key) ^ np.atleast_1d(index).astype(np.uint64))


def permuted(index: np.ndarray, size: int, key: np.ndarray) -> np.ndarray:
    """Where each index of range(size) goes under the permutation that its key names; int64.

    A bijection of the next power of two, walked until it lands inside the range (Black and Rogaway 2002).
    """
    bits = max(1, (size - 1).bit_length())
    value = np.atleast_1d(index).astype(np.uint64)
    keys = [np.broadcast_to(key, value.shape)]
    for _ in range(ROUNDS - 1):
        keys.append(mixed(keys[-1]))
    value = scrambled(value, bits, keys)
    while (outside := value >= np.uint64(size)).any():
        value[outside] = scrambled(value[outside], bits, [key[outside] for key in keys])
    return value.astype(np.int64)


def scrambled(value: np.ndarray, bits: int, keys: list[np.ndarray]) -> np.ndarray:
    """A bijection of `bits` bits: adding, multiplying by an odd number and xor with one's own upper half all invert."""
    mask, shift = np.uint64((1 << bits) - 1), np.uint64((bits + 1) // 2)
    for key in keys:
        value = (value + (key >> np.uint64(32))) * (key | np.uint64(1)) & mask
        value ^= value >> shift
    return value
