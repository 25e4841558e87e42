"""The kinds of checkpoints that can be read, by the prefix of their name: `hf:DIR`, `hf:NAME`, `gguf:FILE`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmjax.interop.imported import Imported

# prefix -> 'module:function' with signature (what follows the colon, *, scan_layers) -> Imported
SOURCES = {
    'hf': 'lmjax.interop.huggingface:import_folder',
    'gguf': 'lmjax.interop.gguf_file:import_gguf',
}


def is_imported(name: str) -> bool:
    """Whether a name means a checkpoint of someone else's, and not a workdir."""
    kind, colon, _ = name.partition(':')
    return bool(colon) and kind in SOURCES


def import_checkpoint(name: str, *, scan_layers: bool = False) -> Imported:
    """The network of 'hf:DIR', 'hf:NAME' or 'gguf:FILE'.

    Raises:
      UsageError: no such checkpoint, or one that is not known, damaged or contradicts itself.
    """
    kind, _, rest = name.partition(':')
    module, _, function = SOURCES[kind].partition(':')
    return getattr(importlib.import_module(module), function)(rest, scan_layers=scan_layers)
