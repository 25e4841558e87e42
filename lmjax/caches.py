"""Where things that can be made again are kept: token stores and compiled programs, in the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def user_cache(name: str) -> Path:
    """The folder lmjax/NAME in $XDG_CACHE_HOME or ~/.cache; it need not exist yet."""
    home = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    return Path(home) / 'lmjax' / name


def keep_compiled_programs() -> None:
    """Turns JAX's persistent compilation cache on, unless the user has pointed it elsewhere or switched it off."""
    import jax

    settings: Any = jax.config
    if settings.jax_compilation_cache_dir is None and settings.jax_enable_compilation_cache:
        settings.update('jax_compilation_cache_dir', str(user_cache('programs')))
        settings.update('jax_persistent_cache_min_compile_time_secs', 0.3)
