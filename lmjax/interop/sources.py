"""The kinds of checkpoints that can be read, by the prefix of their name: `hf:DIR`, `hf:NAME`, `gguf:FILE`."""

from __future__ import annotations

from lmjax.interop.gguf_file import import_gguf
from lmjax.interop.huggingface import import_folder
from lmjax.interop.imported import Imported

# prefix -> (what follows the colon, *, scan_layers) -> Imported
SOURCES = {'hf': import_folder, 'gguf': import_gguf}


def is_imported(name: str) -> bool:
    """Whether a name means a checkpoint of someone else's, and not a workdir."""
    return name.partition(':')[0] in SOURCES and ':' in name


def import_checkpoint(name: str, *, scan_layers: bool = False) -> Imported:
    """The network of 'hf:DIR', 'hf:NAME' or 'gguf:FILE'.

    Raises:
      UsageError: no such checkpoint, or one that is not known, damaged or contradicts itself.
    """
    kind, _, rest = name.partition(':')
    return SOURCES[kind](rest, scan_layers=scan_layers)
