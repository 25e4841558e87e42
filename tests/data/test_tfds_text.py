"""Local text through TensorFlow Datasets and back, in processes that have no TensorFlow."""

import subprocess
import sys
from pathlib import Path

import pytest

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare
from lmjax.data.sources import open_source
from lmjax.data.tfds_text import build_local_text

TEXTS = {'a.txt': 'one two\n', 'b.txt': 'naïve\r\n' * 30, 'c.txt': '東京 😀'}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tfds')
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text.encode())
    return folder, build_local_text(f'{folder}/*.txt', config='mine', data_dir=str(folder / 'sets'))


@pytest.fixture(autouse=True)
def data_dir(prepared, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(prepared[0] / 'sets'))


def test_text_comes_back_whole(prepared):
    source = open_source(prepared[1])
    assert sorted(source.documents()) == sorted(TEXTS.values())
    assert list(source.documents()) == list(source.documents())
    paths = list(open_source(f'{prepared[1]}#path').documents())
    assert sorted(Path(path).name for path in paths) == sorted(TEXTS)


def test_another_process_reads_it_without_the_builder(prepared):
    code = f"""
import sys
from lmjax.data.sources import open_source
source = open_source({prepared[1]!r})
assert sorted(source.documents()) == {sorted(TEXTS.values())!r}
assert 'tensorflow' not in sys.modules
print(source.digest)
"""
    output = subprocess.check_output([sys.executable, '-c', code], text=True, cwd=ROOT)
    assert output.strip() == open_source(prepared[1]).digest


def test_it_becomes_a_corpus(prepared, tmp_path):
    corpus = prepare(DataConfig(source=prepared[1], tokenizer='byte', cache_dir=str(tmp_path)))
    total = corpus.train.text_bytes + corpus.valid.text_bytes
    assert total == sum(len(text.encode()) for text in TEXTS.values())


def test_changed_files_are_another_set(prepared, tmp_path):
    (tmp_path / 'a.txt').write_text('before')
    before = build_local_text(f'{tmp_path}/*.txt', config='changing', data_dir=str(prepared[0] / 'sets'))
    (tmp_path / 'a.txt').write_text('after')
    after = build_local_text(f'{tmp_path}/*.txt', config='changing', data_dir=str(prepared[0] / 'sets'))
    assert list(open_source(before).documents()) == ['before']
    assert list(open_source(after).documents()) == ['after']


@pytest.mark.parametrize(
    ('name', 'what'),
    [
        ('', "no data set named; use data.source='tfds:NAME#field'"),
        ('no_such_set', 'no_such_set not found.*; prepare it as array_record under'),
        ('local_text/other', '(not found|not prepared).*; (prepare it|run Builder)'),
        ('lm1b', r'not prepared in .* \(no train split\); run Builder'),
    ],
)
def test_what_is_not_there_is_refused(name, what):
    with pytest.raises(UsageError, match=what):
        open_source(f'tfds:{name}')


def test_a_field_that_is_not_text_is_refused(prepared):
    with pytest.raises(UsageError, match="no text in the field 'label'; put one of path, text after #"):
        open_source(f'{prepared[1]}#label')


def test_files_that_are_not_text_are_refused(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'\x00')
    with pytest.raises(UsageError, match='is binary'):
        build_local_text(f'{tmp_path}/a.txt', config='bad', data_dir=str(tmp_path))
