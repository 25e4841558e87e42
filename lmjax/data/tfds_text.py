"""TensorFlow Datasets without TensorFlow: a builder for local text, and the door by which any prepared set is read.

Everything is kept as array_record: other formats need TensorFlow or lose rows without it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from lmjax.config import UsageError

NAME = 'local_text'  # under which `build_local_text` prepares, so `tfds:local_text/CONFIG`


@functools.cache
def local_text_class() -> type:
    """The builder; made once a process, because the library registers each builder class by its name."""
    import tensorflow_datasets as tfds

    class LocalText(tfds.core.GeneratorBasedBuilder):
        """Text files of this machine, each an example with its path and text."""

        VERSION = tfds.core.Version('1.0.0')

        def __init__(self, *, config: str = 'default', paths: tuple[str, ...] = (), **kwargs: Any) -> None:
            self._paths = paths
            described = tfds.core.BuilderConfig(name=config, version=self.VERSION, description='text files')
            super().__init__(config=described, **kwargs)

        def _info(self) -> tfds.core.DatasetInfo:
            features = tfds.features.FeaturesDict({'path': tfds.features.Text(), 'text': tfds.features.Text()})
            return tfds.core.DatasetInfo(builder=self, description='Text files of this machine.', features=features)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {'train': self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[str, dict[str, str]]]:
            from lmjax.data.sources import read_text

            for path in self._paths:
                yield path, {'path': path, 'text': read_text(f'text:{path}', path)}

    return LocalText


def build_local_text(pattern: str, *, config: str, data_dir: str | None = None) -> str:
    """Prepares text files as the data set `local_text/CONFIG-DIGEST`; returns the `data.source` that reads it.

    The digest of the contents is in the name because the library never looks at the files of a prepared set again.
    Raises UsageError where no file matches or one is not text.
    """
    from lmjax.data.sources import digest_files, matching_files

    source = f'text:{pattern}'
    paths = matching_files(source, pattern)
    config = f'{config}-{digest_files(source, paths)[:8]}'
    builder = local_text_class()(config=config, paths=tuple(paths), data_dir=data_dir, file_format='array_record')
    builder.download_and_prepare()
    return f'tfds:{NAME}/{config}'


def open_dataset(name: str, argument: str) -> tuple[Callable[[], Iterator[str | None]], str, str]:
    """(documents, digest, provenance) of `NAME[#field]`: split train of a set prepared under $TFDS_DATA_DIR as array_record."""
    import tensorflow_datasets as tfds

    from lmjax.data.sources import digest_files

    dataset, _, field = argument.partition('#')
    field = field or 'text'
    folder = os.environ.get('TFDS_DATA_DIR') or os.path.join('~', 'tensorflow_datasets')
    if not dataset:
        raise UsageError(f"data.source={name!r}: no data set named; use data.source='tfds:NAME#field'")
    try:
        builder = tfds.builder(dataset, data_dir=os.path.expanduser(folder))
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        why = str(error).strip().splitlines()[0].rstrip('.')
        remedy = f'prepare it as array_record under {folder}, or set TFDS_DATA_DIR to where it is'
        raise UsageError(f'data.source={name!r}: {why}; {remedy}') from None
    check_builder(name, builder, field)
    source = builder.as_data_source(split='train', decoders=None)

    def documents() -> Iterator[str | None]:
        for i in range(len(source)):
            value = source[i][field]
            yield value.decode('utf-8', 'replace') if isinstance(value, bytes) else value

    files = [os.fspath(path) for path in builder.info.splits['train'].filepaths]
    return documents, digest_files(name, sorted(files)) + f'#{field}', f'{builder.info.full_name}, field {field!r}'


def check_builder(name: str, builder: Any, field: str) -> None:
    """Raises UsageError unless the set is prepared as array_record and has the field as text in its train split."""
    from tensorflow_datasets.core import file_adapters

    if 'train' not in builder.info.splits:
        remedy = "run Builder(file_format='array_record').download_and_prepare() first"
        raise UsageError(f'data.source={name!r}: not prepared in {builder.data_dir} (no train split); {remedy}')
    if builder.info.file_format != file_adapters.FileFormat.ARRAY_RECORD:
        remedy = "prepare it with file_format='array_record'"
        raise UsageError(f'data.source={name!r}: stored as {builder.info.file_format.value}, not array_record; {remedy}')
    texts = sorted(key for key, feature in builder.info.features.items() if type(feature).__name__ == 'Text')
    if field not in texts:
        remedy = f'put one of {", ".join(texts)} after #' if texts else 'choose a set with a text feature'
        raise UsageError(f'data.source={name!r}: no text in the field {field!r}; {remedy}')
