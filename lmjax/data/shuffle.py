"""Random numbers and permutations by index: the i-th value costs the same wherever i is, and needs no state."""

from __future__ import annotations

import zlib

import numpy as np

ROUNDS = 6


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

    A Feistel network on the next even number of bits, walked until it lands inside the range (Black and Rogaway 2002).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    value = np.atleast_1d(index).astype(np.uint64)
    key = np.broadcast_to(key, value.shape)
    value = feistel(value, half, key)
    while (outside := value >= np.uint64(size)).any():
        value[outside] = feistel(value[outside], half, key[outside])
    return value.astype(np.int64)


def feistel(value: np.ndarray, half: int, key: np.ndarray) -> np.ndarray:
    """A bijection of 2 * half bits."""
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = value >> bits, value & mask
    for turn in range(ROUNDS):
        left, right = right, left ^ (mixed(key ^ mixed(right ^ np.uint64(turn << 56))) & mask)
    return (left << bits) | right
