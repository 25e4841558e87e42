"""Rows of files that are kept by column: Parquet, Arrow as Hugging Face's `datasets` saves it, array_record as TFDS does.

Classes that a file keeps as numbers become their names where the file says them.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lmjax.config import first_line
from lmjax.data.sources import bad_source

AT_ONCE = 1000  # records
Record = dict[str, object]


def parquet_records(name: str, path: str) -> Iterator[Record]:
    """The rows of a Parquet file. Raises UsageError where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from named_records(file.schema_arrow, file.iter_batches(AT_ONCE))
    except (pyarrow.ArrowException, OSError) as error:
        raise bad_source(name, f'{path} cannot be read as Parquet ({first_line(error)})', 'mend or remove it') from None


def arrow_records(name: str, path: str) -> Iterator[Record]:
    """The rows of an Arrow file, a stream or not. Raises UsageError where it is none."""
    import pyarrow

    try:
        with pyarrow.memory_map(path) as content:
            try:
                reader = pyarrow.ipc.open_stream(content)
                yield from named_records(reader.schema, reader)
            except pyarrow.ArrowInvalid:
                file = pyarrow.ipc.open_file(content)
                yield from named_records(file.schema, (file.get_batch(i) for i in range(file.num_record_batches)))
    except (pyarrow.ArrowException, OSError) as error:
        raise bad_source(name, f'{path} cannot be read as Arrow ({first_line(error)})', 'mend or remove it') from None


def named_records(schema: Any, batches: Iterable[Any]) -> Iterator[Record]:
    """The rows of Arrow's batches, classes by name."""
    kept = (schema.metadata or {}).get(b'huggingface')
    features = json.loads(kept).get('info', {}).get('features', {}) if kept else {}
    convert = {column: namer(feature) for column, feature in features.items()}
    for batch in batches:
        for record in batch.to_pylist():
            yield {column: convert[column](value) if column in convert else value for column, value in record.items()}


def namer(feature: Any) -> Callable[[Any], Any]:
    """What makes names of a column's numbers, as its `datasets` feature says: those of a class, or of a list of classes."""
    if isinstance(feature, list):
        feature = {'feature': feature[0]} if feature else {}
    if not isinstance(feature, dict):
        return lambda value: value
    if 'feature' in feature:
        each = namer(feature['feature'])
        return lambda values: [each(value) for value in values] if isinstance(values, list) else values
    names = feature.get('names') if feature.get('_type') == 'ClassLabel' else None
    if not names:
        return lambda value: value
    return lambda value: names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def array_records(name: str, path: str) -> Iterator[Record]:
    """The rows of a shard, in the folder that TFDS prepared. Raises UsageError where that does not say its features."""
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module

    try:
        features = tfds.builder_from_directory(os.path.dirname(path)).info.features
        reader = array_record_module.ArrayRecordReader(path)
        count = reader.num_records()
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        remedy = 'name shards in the folder that TFDS prepared, beside features.json'
        raise bad_source(name, f'{path} cannot be read ({first_line(error)})', remedy) from None
    for begin in range(0, count, AT_ONCE):
        for example in reader.read(begin, min(begin + AT_ONCE, count)):
            values: Mapping[str, Any] = features.deserialize_example_np(example)
            yield {column: plain(value, features[column]) for column, value in values.items()}


def plain(value: Any, feature: Any) -> object:
    """A value as JSON would have it: classes by name, bytes as text, arrays as lists."""
    inner = getattr(feature, 'feature', feature)

    def each(one: Any) -> object:
        if hasattr(inner, 'int2str'):
            return inner.int2str(one) if one >= 0 else None
        return one.decode('utf-8', 'replace') if isinstance(one, bytes) else one

    values = value.tolist() if hasattr(value, 'tolist') else value
    return [each(one) for one in values] if isinstance(values, list) else each(values)


def files_of_folder(name: str, folder: str) -> list[str]:
    """The files of a folder that `datasets` saved, if it is one.

    Raises UsageError, with what to name instead, for a folder of several splits, or of TFDS.
    """
    at = lambda *parts: os.path.join(folder, *parts)  # noqa: E731
    if os.path.isfile(at('state.json')):
        with open(at('state.json'), encoding='utf-8') as file:
            return [at(one['filename']) for one in json.load(file).get('_data_files', [])]
    if os.path.isfile(at('dataset_dict.json')):
        with open(at('dataset_dict.json'), encoding='utf-8') as file:
            splits = json.load(file).get('splits', [])
        raise bad_source(name, 'this folder has several splits', f'name one of {", ".join(map(at, splits))}')
    if os.path.isfile(at('features.json')):
        raise bad_source(name, 'this is a folder of TFDS', f'name the shards of a split: {at("*-train.array_record*")}')
    return []


def described_by(paths: Iterable[str]) -> list[str]:
    """Files beside these that say what is in them, sorted: their features, and the names of classes."""
    folders = sorted({os.path.dirname(path) for path in paths if '.array_record' in os.path.basename(path)})
    return [path for folder in folders for path in sorted(glob.glob(os.path.join(glob.escape(folder), '*.labels.txt')))]
