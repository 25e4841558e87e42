"""The token store: built once, checked always, rebuilt when damaged."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data import store as store_module
from lmjax.data.store import (
    DamagedError,
    build_once,
    digest_file,
    memory_store,
    read_meta,
    read_stream,
    token_dtype,
    write_stream,
)

DOCUMENTS = [np.array([1, 2, 3]), np.array([4]), np.array([5, 6])]
ROOT = Path(__file__).parents[2]


def build(folder):
    stream = write_stream(folder, 'train', DOCUMENTS, vocab_size=10, separator_id=9)
    return {'streams': {'train': stream | {'text_bytes': 6}}}


def test_documents_are_framed_by_separators(tmp_path):
    meta = build_once(tmp_path / 'store', build)
    store = read_stream(tmp_path / 'store', 'train', meta)
    assert store.tokens.tolist() == [9, 1, 2, 3, 9, 4, 9, 5, 6, 9]
    assert store.doc_offsets.tolist() == [0, 4, 6, 9]
    assert isinstance(store.tokens, np.memmap)
    assert (store.text_bytes, store.vocab_size, store.separator_id, len(store)) == (6, 10, 9, 10)
    held = memory_store(DOCUMENTS, text_bytes=6, vocab_size=10, separator_id=9)
    np.testing.assert_array_equal(held.tokens, store.tokens)
    np.testing.assert_array_equal(held.doc_offsets, store.doc_offsets)


def test_without_separator_documents_touch():
    store = memory_store(DOCUMENTS, text_bytes=6, vocab_size=10)
    assert store.tokens.tolist() == [1, 2, 3, 4, 5, 6]
    assert store.doc_offsets.tolist() == [0, 3, 4, 6]


def test_type_follows_the_vocabulary():
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32
    assert memory_store([np.array([65_536])], text_bytes=1, vocab_size=65_537).tokens.tolist() == [65_536]


@pytest.mark.parametrize('bad', [10, -1])
def test_ids_outside_the_vocabulary_are_refused_with_their_document(bad):
    with pytest.raises(UsageError, match='document 1 has an id outside the vocabulary of 10'):
        memory_store([np.array([1]), np.array([2, bad])], text_bytes=1, vocab_size=10)


def test_a_second_start_builds_nothing(tmp_path):
    first = build_once(tmp_path / 'store', build)
    assert build_once(tmp_path / 'store', lambda folder: pytest.fail('built again')) == first


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize('damage', [cut, flip, Path.unlink])
@pytest.mark.parametrize('name', ['train.tokens', 'train.offsets', 'meta.json'])
def test_damage_is_seen_and_repaired(tmp_path, damage, name):
    folder = tmp_path / 'store'
    expected = build_once(folder, build)
    damage(folder / name)
    with pytest.raises(DamagedError):
        read_meta(folder)
    with pytest.warns(UserWarning, match='token store store is damaged'):
        assert build_once(folder, build) == expected
    assert read_stream(folder, 'train', expected).tokens.tolist()[:4] == [9, 1, 2, 3]


def test_a_plausible_meta_file_is_not_trusted(tmp_path):
    folder = tmp_path / 'store'
    build_once(folder, build)
    meta = json.loads((folder / 'meta.json').read_text())
    meta['streams']['train']['vocab_size'] = 3
    (folder / 'meta.json').write_text(json.dumps(meta))
    with pytest.raises(DamagedError, match='seal'):
        read_meta(folder)


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / 'half').write_text('x')
        raise UsageError('no')

    with pytest.raises(UsageError, match=r'^no$'):
        build_once(tmp_path / 'store', fail)
    assert [path.name for path in tmp_path.iterdir()] == ['store.lock']
    build_once(tmp_path / 'store', build)


def test_what_a_killed_builder_left_is_replaced(tmp_path):
    """A process is killed while it builds: its lock goes with it, its half-made folder does not count."""
    code = f"""
import os, sys, time
from pathlib import Path
from lmjax.data.store import build_once
def build(folder):
    (folder / 'half').write_text('x')
    print('building', flush=True)
    time.sleep(60)
build_once(Path({str(tmp_path)!r}) / 'store', build)
"""
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == 'building\n'
        process.kill()
    build_once(tmp_path / 'store', build)
    assert sorted(path.name for path in (tmp_path / 'store').iterdir()) == ['meta.json', 'train.offsets', 'train.tokens']


def test_two_processes_build_once(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from lmjax.data.store import build_once
def build(folder):
    print('built', flush=True)
    time.sleep(0.5)
    return {{'streams': {{}}}}
build_once(Path({str(tmp_path)!r}) / 'store', build)
"""
    begin = time.monotonic()
    processes = [subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(outputs) == ['', 'built\n']
    assert time.monotonic() - begin < 60


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match=r'data.cache_dir=.*file.*cannot write token stores there .*; name a folder'):
        build_once(tmp_path / 'file' / 'store', build)


def test_long_files_are_digested_by_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, 'WHOLE', 1000)
    monkeypatch.setattr(store_module, 'BLOCK', 10)
    monkeypatch.setattr(store_module, 'BLOCKS', 5)
    path = tmp_path / 'file'
    path.write_bytes(bytes(2000))
    before = digest_file(path)
    for position, seen in {0: True, 5: True, 1999: True, 100: False}.items():
        content = bytearray(2000)
        content[position] = 1
        path.write_bytes(content)
        assert (digest_file(path) != before) == seen
    path.write_bytes(bytes(2001))
    assert digest_file(path) != before
