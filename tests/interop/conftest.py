"""Folders in Hugging Face's format, made once for all tests."""

import atexit
import functools
import shutil
import tempfile

import pytest


@functools.lru_cache
def saved(name):
    """A network of the zoo and the folder that transformers saved it to."""
    from zoo import make

    model = make(name)
    folder = tempfile.mkdtemp(prefix=f'lmjax-{name}-')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def zoo():
    pytest.importorskip('transformers').logging.set_verbosity_error()
    pytest.importorskip('transformers').logging.disable_progress_bar()
    return saved
