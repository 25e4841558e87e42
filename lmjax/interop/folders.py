"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from lmjax.config import UsageError


@contextmanager
def fresh_folder(folder: str) -> Iterator[str]:
    """A temporary folder beside `folder` that takes its name at the end, or vanishes if something fails."""
    folder = os.path.abspath(folder)
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise UsageError(f'{folder}: exists and is not an empty folder; name another, nothing is overwritten')
    temporary = f'{folder}.tmp.{uuid.uuid4().hex[:8]}'
    try:
        os.makedirs(temporary)
        yield temporary
        os.replace(temporary, folder)
    except OSError as error:
        raise UsageError(f'{folder}: cannot be written ({error}); name a folder on a disk with room') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
