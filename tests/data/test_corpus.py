"""From a config to two token streams: splits, cache, counts, and what a compressor makes of the held-out text."""

import dataclasses
import gzip
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data import corpus as corpus_module
from lmjax.data.config import DataConfig
from lmjax.data.corpus import (
    compressor_lines,
    encode_text,
    prepare,
    prepare_eval,
    split_documents,
    start_preparing,
)
from lmjax.data.tokenizers import tokenizer_class

ROOT = Path(__file__).parents[2]
TEXT = ''.join(f'line {i} of the text: {"é" * (i % 3)}\n' for i in range(300))


@pytest.fixture
def data(tmp_path):
    (tmp_path / 'one.txt').write_text(TEXT)
    return DataConfig(source=f'text:{tmp_path}/one.txt', cache_dir=str(tmp_path / 'cache'))


def decoded(store, tokenizer):
    return tokenizer.decode(store.tokens.tolist())


@pytest.mark.parametrize('kind', ['byte', 'char', 'word', 'bpe'])
def test_one_text_is_cut_at_nine_tenths_of_its_characters(data, kind):
    data.tokenizer, data.vocab_size = kind, 300 if kind == 'bpe' else 0
    corpus = prepare(data)
    cut = len(TEXT) - int(len(TEXT) * 0.1)
    if corpus.tokenizer.lossless:
        assert decoded(corpus.train, corpus.tokenizer) == TEXT[:cut]
        assert decoded(corpus.valid, corpus.tokenizer) == TEXT[cut:]
        lengths = corpus.tokenizer.byte_lengths
        assert corpus.valid.text_bytes == len(TEXT[cut:].encode()) == lengths[corpus.valid.tokens].sum()
    else:
        # Two cut words and an end of document: the word that the cut divides is in neither vocabulary nor lost.
        assert len(corpus.valid) >= len(TEXT[cut:].split())
    assert corpus.counts['kept'] == 1
    assert corpus.counts['train_chars'] + corpus.counts['valid_chars'] == len(TEXT)
    assert corpus.counts['train_tokens'] == len(corpus.train)
    assert corpus.train.vocab_size == corpus.tokenizer.vocab_size


SPLITS = {
    'ten equal documents': (['0123456789'] * 10, [10] * 9, [10]),
    'the straddling one goes to validation whole': (['x' * 7] * 13, [7] * 11, [7, 7]),
    'one long document is cut': (['x' * 1000], [900], [100]),
    'a long last one is cut': (['y' * 10, 'x' * 990], [10, 890], [100]),
    'a long one before a short last one is cut': (['x' * 990, 'y' * 10], [900], [90, 10]),
    'two characters': (['xy'], [1], [1]),
}


@pytest.mark.parametrize('case', SPLITS)
def test_the_last_tenth_in_source_order(case):
    texts, train, valid = SPLITS[case]
    got = split_documents(texts, 0.1, interleaved=False)
    assert [[len(text) for text in part] for part in got] == [train, valid]
    assert ''.join(got[0] + got[1]) == ''.join(texts)


def test_every_tenth_document():
    texts = [str(i) for i in range(25)]
    train, valid = split_documents(texts, 0.1, interleaved=True)
    assert valid == ['9', '19']
    assert sorted(train + valid, key=int) == texts
    assert split_documents(texts, 0.5, interleaved=True)[1] == texts[1::2]


def test_stdlib_holds_out_every_tenth_document(tmp_path):
    data = DataConfig(max_documents=20, cache_dir=str(tmp_path))
    corpus = prepare(data)
    documents = list(corpus_module.open_source('stdlib').documents())[:20]
    kept = [text for text in documents if text]
    assert decoded(corpus.valid, corpus.tokenizer) == ''.join(kept[9::10])
    assert 'standard library of Python' in corpus.provenance


def test_a_second_start_reads_the_store(data, monkeypatch):
    first = prepare(data)
    monkeypatch.setattr(corpus_module, 'build_corpus', lambda *args: pytest.fail('built again'))
    second = prepare(data)
    assert (second.digest, second.counts, second.tokenizer.digest) == (first.digest, first.counts, first.tokenizer.digest)
    np.testing.assert_array_equal(second.train.tokens, first.train.tokens)


def test_the_store_is_keyed_by_all_that_decides_its_content(data, tmp_path):
    digests = {prepare(data).digest}
    for change in (
        {'tokenizer': 'char'},
        {'tokenizer': 'char', 'vocab_size': 10},
        {'valid_fraction': 0.2},
        {'lowercase': True},
        {'normal_form': 'NFD'},
        {'specials': ('mask',)},
        {'specials': ('mask',), 'sentinels': 2},
    ):
        digests.add(prepare(dataclasses.replace(data, **change)).digest)
    digests.add(prepare(data, tokenizer=tokenizer_class('char').train([], [TEXT], 0)).digest)
    assert len(digests) == 9
    for same in ({'seq_len': 7}, {'layout': 'packed'}):
        assert prepare(dataclasses.replace(data, **same)).digest in digests
    (tmp_path / 'one.txt').write_text(TEXT + 'more')
    assert prepare(data).digest not in digests


def test_another_runs_tokenizer_is_kept(data, tmp_path):
    tokenizer = prepare(dataclasses.replace(data, tokenizer='char')).tokenizer
    (tmp_path / 'two.txt').write_text('text of the line ' * 20)
    other = dataclasses.replace(data, source=f'text:{tmp_path}/two.txt')
    assert prepare(other, tokenizer=tokenizer).tokenizer is tokenizer
    whole = prepare_eval(other.source, tokenizer, data)
    assert tokenizer.decode(whole.tokens.tolist()) == 'text of the line ' * 20
    assert whole.text_bytes == 17 * 20
    (tmp_path / 'two.txt').write_text('Ω')
    with pytest.raises(UsageError, match='not in the vocabulary'):
        prepare_eval(other.source, tokenizer, data)


def test_text_is_encoded_as_one_document(data):
    tokenizer = prepare(data).tokenizer
    store = encode_text('hé', tokenizer)
    assert store.tokens.tolist() == [256, 104, 0xC3, 0xA9, 256]
    assert store.text_bytes == 3


def test_compressors_see_the_held_out_text(data):
    corpus = prepare(data)
    text = TEXT[len(TEXT) - int(len(TEXT) * 0.1) :].encode()
    expected = {
        'gzip -9': 8 * len(gzip.compress(text, 9, mtime=0)) / len(text),
        'xz': 8 * len(lzma.compress(text)) / len(text),
    }
    assert compressor_lines(corpus) == expected
    assert (corpus.folder / '.compressors.json').exists()
    assert compressor_lines(corpus) == expected
    assert prepare(data).digest == corpus.digest  # the note beside the store is no damage


def test_preparing_in_a_process_of_its_own(data, monkeypatch):
    with start_preparing(data) as process:
        assert process.wait(timeout=60) == 0
    monkeypatch.setattr(corpus_module, 'build_corpus', lambda *args: pytest.fail('built again'))
    prepare(data)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert corpus_module.cache_folder(DataConfig()) == tmp_path / 'lmjax' / 'tokens'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert corpus_module.cache_folder(DataConfig()) == tmp_path / 'home' / '.cache' / 'lmjax' / 'tokens'


@pytest.mark.parametrize(
    ('change', 'what'),
    [
        ({'tokenizer': 'bite'}, "data.tokenizer='bite': no such choice"),
        ({'valid_fraction': 0.0}, 'data.valid_fraction=0.0: use a share between 0 and 1'),
        ({'max_chars': 3}, r'no text is left \(dropped_long=1\); relax'),
        ({'source': 'copy:documents=1'}, None),
        ({'source': 'nowhere'}, "data.source='nowhere': no such choice"),
        ({'normal_form': 'x'}, 'data.normal_form'),
    ],
)
def test_bad_configs(data, change, what):
    changed = dataclasses.replace(data, **change)
    if what is None:
        assert len(prepare(changed).valid) > 1  # one document is cut
        return
    with pytest.raises(UsageError, match=what):
        prepare(changed)


def test_text_that_cannot_be_split(data, tmp_path):
    (tmp_path / 'one.txt').write_text('x')
    with pytest.raises(UsageError, match='too little text to split'):
        prepare(data)
    with pytest.raises(UsageError, match='too little text to split'):
        prepare(DataConfig(max_documents=3, cache_dir=str(tmp_path)))


def test_a_million_empty_lines(data, tmp_path):
    (tmp_path / 'one.txt').write_text('\n' * 1_000_000)
    for kind in ('byte', 'bpe', 'word'):
        assert len(prepare(dataclasses.replace(data, tokenizer=kind)).valid) > 1


def test_the_data_layer_does_not_load_jax():
    code = """
import sys
from lmjax.data import corpus, loader, tfds_text
assert not {'jax', 'grain', 'tokenizers', 'tensorflow_datasets'} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)})
