"""The kinds of checkpoints that can be read, by the prefix of their name: `hf:DIR`, `hf:NAME`, `gguf:FILE`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lmjax.config import choose

if TYPE_CHECKING:
    from lmjax.data.library_tokenizer import LibraryTokenizer
    from lmjax.interop.imported import Imported

# prefix -> 'module:function' with signature (what follows the colon, *, scan_layers) -> Imported
SOURCES = {
    'hf': 'lmjax.interop.huggingface:import_folder',
    'gguf': 'lmjax.interop.gguf_file:import_gguf',
}
# prefix -> 'module:function' with signature (what follows the colon) -> LibraryTokenizer
TOKENIZER_SOURCES = {
    'hf': 'lmjax.interop.huggingface:import_tokenizer',
    'gguf': 'lmjax.interop.gguf_file:import_tokenizer',
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
    return _found(SOURCES[kind])(rest, scan_layers=scan_layers)


def import_tokenizer(name: str) -> LibraryTokenizer:
    """The tokenizer of 'hf:DIR', 'hf:NAME' or 'gguf:FILE', which needs to hold no network.

    Raises:
      UsageError: there is none, or one that is damaged.
    """
    kind, _, rest = name.partition(':')
    return _found(choose(TOKENIZER_SOURCES, kind, 'data.tokenizer'))(rest)


def _found(place: str) -> Any:
    module, _, function = place.partition(':')
    return getattr(importlib.import_module(module), function)
