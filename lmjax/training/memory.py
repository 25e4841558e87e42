"""How this process gives memory back: on Linux, hardly at all while it trains."""

from __future__ import annotations

import ctypes
import platform

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


def keep_freed_memory() -> bool:
    """Lets glibc hand a step's freed memory to the next step; returns whether it took the request.

    XLA on CPU asks for a program's temporary memory at every call. By default glibc maps such large blocks afresh, and
    the system zeroes every page of them again: an eighth to a third of a small network's step. One arena, grown and
    never trimmed, does without. Has its full effect when called before the threads of other libraries start; the process
    then keeps the most that it ever used, as training needs it anyway.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: 2**30, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**26}
    taken = [mallopt(option, value) == 1 for option, value in wanted.items()]
    return all(taken)
