"""Rows of like length in batches of their own, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lmjax.data.shuffle import hashed, permuted

FINEST = 1024  # different lengths that are told apart
WORTH = 4  # batches of an epoch for which a width is compiled


class Grouped(NamedTuple):
    """The batches of an epoch."""

    rows: np.ndarray  # batches x B int64, numbers of rows; -1 where the last one has none left
    widths: np.ndarray  # int64, to which each batch is padded


def best_widths(lengths: np.ndarray, count: int) -> np.ndarray:
    """At most `count` widths, ascending, the last one the longest length, with the least padding for rows of these lengths.

    By dynamic programming over the lengths that occur: a width serves all from the width below it on. Where the longest is
    above FINEST, lengths are rounded up to what FINEST steps give.
    """
    longest = lengths.max()
    grain = -(-longest // FINEST)
    lengths = np.minimum(-(-lengths // grain) * grain, longest)
    values, many = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(many)])
    # least[j]: tokens, padding included, of the j shortest lengths in as many widths as there were rounds
    least, cuts = np.where(np.arange(len(values) + 1) > 0, np.inf, 0.0), []
    for _ in range(min(count, len(values))):
        tokens = least[:-1, None] + values[None] * (below[1:][None] - below[:-1, None])
        tokens[np.tril_indices(len(values), -1)] = np.inf  # from i to j lengths there must be one
        cuts.append(tokens.argmin(axis=0))
        least = np.concatenate([[np.inf], tokens.min(axis=0)])
    found, end = [], len(values)
    for cut in cuts[::-1]:
        found.append(values[end - 1])
        end = cut[end - 1]
    return np.array(found[::-1])


def grouped(lengths: np.ndarray, widths: np.ndarray, batch_size: int, keys: np.ndarray) -> Grouped:
    """Each row once, drawn into batches with others of its width, and the batches in an order of their own; two keys."""
    order = permuted(np.arange(len(lengths)), len(lengths), keys[0])
    order = order[np.argsort(np.searchsorted(widths, lengths[order]), kind='stable')]
    batches = -(-len(order) // batch_size)
    order = np.pad(order, (0, batches * batch_size - len(order)), constant_values=-1).reshape(batches, batch_size)
    longest = np.where(order >= 0, lengths[order], 0).max(axis=1)
    shuffled = permuted(np.arange(batches), batches, keys[1])
    return Grouped(order[shuffled], widths[np.searchsorted(widths, longest[shuffled])])


class GroupReader(NamedTuple):
    """Which rows a step reads; each row once an epoch."""

    widths: np.ndarray  # ascending, all that there are
    at: Callable[[int], tuple[np.ndarray, int]]  # step -> the numbers of the rows of its batch, and its width


def group_reader(lengths: np.ndarray, *, buckets: int, batch_size: int, seed: int) -> GroupReader:
    """Batches of rows of these lengths, padded to one of at most `buckets` widths.

    There are fewer where they would not serve WORTH batches of an epoch each: a program is compiled for every width.
    """
    batches = steps_of(len(lengths), batch_size)
    widths = best_widths(lengths, min(buckets, max(1, batches // WORTH)))

    @lru_cache(maxsize=2)
    def epoch_of(epoch: int) -> Grouped:
        keys = np.concatenate([hashed(seed, stream, epoch) for stream in ('order', 'batches')])
        return grouped(lengths, widths, batch_size, keys)

    def at(step: int) -> tuple[np.ndarray, int]:
        epoch, index = divmod(step, batches)
        found = epoch_of(epoch)
        return found.rows[index], int(found.widths[index])

    return GroupReader(widths, at)


def steps_of(rows: int, batch_size: int) -> int:
    """Batches of so many rows, the last of which need not be full."""
    return -(-rows // batch_size)
