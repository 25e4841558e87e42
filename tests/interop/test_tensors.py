"""Folders of tensors: shards, and what is refused of a file that someone else made."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.interop import tensors
from lmjax.interop.tensors import TensorFolder, write_tensors

RNG = np.random.default_rng(0)
ARRAYS = {f't{i}': RNG.standard_normal((3, i + 1)).astype(ml_dtypes.bfloat16 if i % 2 else np.float32) for i in range(5)}


def write(folder, arrays=ARRAYS):
    write_tensors(str(folder), {name: value.nbytes for name, value in arrays.items()}, iter(arrays.items()))


def test_what_is_written_is_read_bit_for_bit_in_one_file_or_in_shards(tmp_path, monkeypatch):
    for size, files in ((1 << 20, 1), (40, 4)):
        monkeypatch.setattr(tensors, 'SHARD_BYTES', size)
        folder = tmp_path / str(size)
        folder.mkdir()
        write(folder)
        assert len(list(folder.glob('*.safetensors'))) == files
        (folder / 'plain').touch()
        assert {path.stat().st_mode for path in folder.iterdir()} == {(folder / 'plain').stat().st_mode}
        found = TensorFolder(str(folder))
        assert set(found.index) == set(ARRAYS)
        for name, value in ARRAYS.items():
            assert found.index[name].shape == value.shape
            read = found.read(name)
            assert read.dtype == value.dtype
            np.testing.assert_array_equal(read.view(np.uint8), value.view(np.uint8))


def test_a_shard_that_is_missing_or_lies_elsewhere_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, 'SHARD_BYTES', 40)
    write(tmp_path)
    index = tmp_path / tensors.INDEX
    described = json.loads(index.read_text())
    for name in ('../model-00001-of-00004.safetensors', '/etc/passwd', 'model.bin', 'sub/x.safetensors'):
        index.write_text(json.dumps({'weight_map': described['weight_map'] | {'t0': name}}))
        with pytest.raises(UsageError, match='which is no safetensors file of this folder; do not trust it'):
            TensorFolder(str(tmp_path))
    index.write_text(json.dumps({'weight_map': {}}))
    with pytest.raises(UsageError, match='has no weight_map'):
        TensorFolder(str(tmp_path))
    index.write_text(json.dumps(described))
    (tmp_path / described['weight_map']['t0']).unlink()
    with pytest.raises(UsageError, match=r'model-00001-of-00004\.safetensors: missing, though'):
        TensorFolder(str(tmp_path))


def header(described):
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return struct.pack('<Q', len(text)) + text


GOOD = {'t': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}
MALICIOUS = {
    'empty': b'',
    'no header': struct.pack('<Q', 1 << 62) + b'{}',
    'not JSON': header(b'{"t": ') + bytes(8),
    'past the end': header({'t': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 1 << 40]}}) + bytes(8),
    'backwards': header({'t': {'dtype': 'F32', 'shape': [2], 'data_offsets': [8, 0]}}) + bytes(8),
    'overlapping': header(GOOD | {'u': {'dtype': 'F32', 'shape': [2], 'data_offsets': [4, 12]}}) + bytes(12),
    'size and shape disagree': header({'t': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 8]}}) + bytes(8),
    'a huge shape': header({'t': {'dtype': 'F32', 'shape': [1 << 62, 1 << 62], 'data_offsets': [0, 8]}}) + bytes(8),
    'a hole': header({'t': {'dtype': 'F32', 'shape': [2], 'data_offsets': [8, 16]}}) + bytes(16),
    'cut short': header(GOOD) + bytes(4),
    'a pickle in disguise': b'\x80\x04\x95' + bytes(40),
}


@pytest.mark.parametrize('name', MALICIOUS)
def test_a_malicious_header_is_one_clear_line(tmp_path, name):
    (tmp_path / 'model.safetensors').write_bytes(MALICIOUS[name])
    with pytest.raises(
        UsageError, match=r'model\.safetensors: not a readable safetensors file \(.*\); fetch it again'
    ) as error:
        TensorFolder(str(tmp_path))
    assert '\n' not in str(error.value)


def test_a_header_of_the_same_kind_that_is_sound_is_read(tmp_path):
    """So that the cases above fail for what they say."""
    (tmp_path / 'model.safetensors').write_bytes(header(GOOD) + np.array([1.5, 2.5], np.float32).tobytes())
    assert TensorFolder(str(tmp_path)).read('t').tolist() == [1.5, 2.5]


def test_no_pickle_is_ever_opened(tmp_path):
    (tmp_path / 'pytorch_model.bin').write_bytes(b'\x80\x04.')
    with pytest.raises(UsageError, match=r'pytorch_model\.bin: a pickle, which may run code and is never opened; convert it'):
        TensorFolder(str(tmp_path))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r'holds no model\.safetensors'):
        TensorFolder(str(tmp_path))
