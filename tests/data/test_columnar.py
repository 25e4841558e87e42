"""Rows of Parquet, of folders as Hugging Face's `datasets` saves them, and of TFDS: the same as those of JSON lines."""

import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmjax import UsageError
from lmjax.data import columnar
from lmjax.data.columnar import namer
from lmjax.data.config import DataConfig
from lmjax.data.corpus import prepare
from lmjax.data.sources import open_source

TEXTS = ['good film', 'bad film', 'so so', 'fine'] * 5
LABELS = ['pos', 'neg', 'neg', 'pos'] * 5
CLASS = {'names': ['neg', 'pos'], '_type': 'ClassLabel'}


def table(columns, features=None):
    found = pa.table(columns)
    kept = {b'huggingface': json.dumps({'info': {'features': features}}).encode()} if features else None
    return found.replace_schema_metadata(kept)


def as_numbers():
    """As `datasets` keeps a class: by number, with the names in the schema."""
    numbers = [CLASS['names'].index(label) for label in LABELS]
    return table({'text': TEXTS, 'label': numbers}, {'text': {'dtype': 'string', '_type': 'Value'}, 'label': CLASS})


def save(folder, parts, *, stream=True):
    """A folder as `Dataset.save_to_disk` writes it, in so many shards, with a file of its cache beside them."""
    folder.mkdir(parents=True)
    rows = as_numbers()
    files = [f'data-{i:05}-of-{parts:05}.arrow' for i in range(parts)]
    cuts = np.linspace(0, rows.num_rows, parts + 1).astype(int)
    for name, begin, end in zip(files, cuts[:-1], cuts[1:], strict=True):
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        with pa.OSFile(str(folder / name), 'wb') as file, make(file, rows.schema) as writer:
            writer.write_table(rows.slice(begin, end - begin))
    (folder / 'cache-1.arrow').write_bytes(b'')
    (folder / 'dataset_info.json').write_text('{}')
    (folder / 'state.json').write_text(json.dumps({'_data_files': [{'filename': name} for name in files]}))
    return folder


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    monkeypatch.setattr(columnar, 'AT_ONCE', 8)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('columns')
    rows = [json.dumps({'text': text, 'label': label}) for text, label in zip(TEXTS, LABELS, strict=True)]
    (folder / 'a.jsonl').write_text('\n'.join(rows))
    pq.write_table(table({'text': TEXTS, 'label': LABELS}), folder / 'plain.parquet')
    pq.write_table(as_numbers(), folder / 'classes.parquet', row_group_size=7)
    save(folder / 'set', 3)
    save(folder / 'splits' / 'train', 1, stream=False)
    (folder / 'splits' / 'dataset_dict.json').write_text('{"splits": ["train", "test"]}')
    return folder


KINDS = ['plain.parquet', 'classes.parquet', 'set', 'splits/train', 'set/data-*.arrow']


@pytest.mark.parametrize('kind', KINDS)
def test_rows_are_those_of_json_lines(folder, kind):
    for share in ('', '@2-9/10', '@!0/3'):
        wanted = list(open_source(f'labelled:{folder}/a.jsonl#text,label{share}').documents())
        assert list(open_source(f'labelled:{folder}/{kind}#text,label{share}').documents()) == wanted
    texts = open_source(f'jsonl:{folder}/{kind}#text@0/2')
    assert list(texts.documents()) == TEXTS[::2]
    pairs = open_source(f'jsonl:{folder}/{kind}#text,label')
    assert next(iter(pairs.documents())) == 'good film\tpos'
    assert pairs.paired


def test_batches_are_those_of_json_lines(folder, tmp_path):
    stores = [
        prepare(DataConfig(
            source=f'labelled:{folder}/{kind}', tokenizer='char', seq_len=12, layout='documents', cache_dir=str(tmp_path / kind)
        )).train for kind in ('a.jsonl', 'classes.parquet')
    ]  # fmt: skip
    for one, other in zip(*((store.tokens, store.labels, store.doc_offsets) for store in stores), strict=True):
        np.testing.assert_array_equal(one, other)
    assert stores[0].classes == stores[1].classes == ('neg', 'pos')


def test_what_is_not_there_is_named(folder):
    for name, message in (
        ('labelled:{}/plain.parquet#review,label', r"plain\.parquet has no column 'review'; it has text, label"),
        ('labelled:{}/splits#text,label', r'several splits; name one of .*splits/train, .*splits/test'),
        ('labelled:{}/set/cache-1.arrow#text,label', r'cache-1\.arrow cannot be read as Arrow \('),
        ('labelled:{}/none.parquet#text,label', 'no file matches'),
    ):
        with pytest.raises(UsageError, match=message):
            open_source(name.format(folder))
    (folder / 'broken.parquet').write_bytes(b'PAR1 and no more')
    with pytest.raises(UsageError, match=r'broken\.parquet cannot be read as Parquet \('):
        open_source(f'labelled:{folder}/broken.parquet')


def test_other_rows_give_another_digest_and_places_are_numbers(folder):
    names = ('plain.parquet', 'classes.parquet', 'set', 'splits/train')
    digests = {open_source(f'labelled:{folder}/{name}').digest for name in names}
    assert len(digests) == len(names)
    place = open_source(f'labelled:{folder}/set').find(lambda document: document.startswith('so so'))
    assert place.endswith('data-00000-of-00003.arrow:3')


def test_classes_of_words_have_names_and_what_is_unknown_has_none(tmp_path):
    tags = {'feature': {'names': ['O', 'B-PER'], '_type': 'ClassLabel'}, '_type': 'List'}
    rows = table({'words': [['Ann', 'sat'], ['no']], 'tags': [[1, 0], [0]]}, {'words': {}, 'tags': tags})
    pq.write_table(rows, tmp_path / 'a.parquet')
    assert list(open_source(f'tagged:{tmp_path}/a.parquet#words,tags').documents()) == ['Ann sat\tB-PER O', 'no\tO']
    assert [namer(CLASS)(value) for value in (0, 1, 2, -1, None)] == ['neg', 'pos', None, None, None]
    assert namer([CLASS])([1]) == ['pos']
    assert namer({'dtype': 'int64', '_type': 'Value'})(1) == 1


def test_shards_of_tfds_are_read_with_the_names_of_classes(tmp_path):
    import tensorflow_datasets as tfds

    class Reviews(tfds.core.GeneratorBasedBuilder):
        """Made here."""

        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            features = {
                'text': tfds.features.Text(),
                'label': tfds.features.ClassLabel(names=CLASS['names']),
                'tags': tfds.features.Sequence(tfds.features.ClassLabel(names=['O', 'B'])),
                'words': tfds.features.Sequence(tfds.features.Text()),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)):
                words = text.split()
                yield number, {'text': text, 'label': label, 'words': words, 'tags': ['B'] + ['O'] * (len(words) - 1)}

    builder = Reviews(data_dir=str(tmp_path), file_format='array_record')
    builder.download_and_prepare()
    shards = f'{builder.data_dir}/*-train.array_record*'
    found = list(open_source(f'labelled:{shards}#text,label').documents())
    wanted = [f'{text}\t{label}' for text, label in zip(TEXTS, LABELS, strict=True)]
    assert sorted(found) == sorted(wanted)
    assert 'so so\tB O' in list(open_source(f'tagged:{shards}#words,tags').documents())
    with pytest.raises(UsageError, match=r'this is a folder of TFDS; name the shards of a split: .*-train\.array_record'):
        open_source(f'labelled:{builder.data_dir}')
    before = open_source(f'labelled:{shards}#text,label').digest
    (names,) = pathlib.Path(builder.data_dir).glob('*label.labels.txt')
    names.write_text('worse\nbetter\n')
    again = open_source(f'labelled:{shards}#text,label')
    assert again.digest != before
    assert sorted(again.documents())[0].endswith('worse')
