"""A checkpoint in Hugging Face's format, in and out: `hf:DIR` or `hf:NAME` of the Hub."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lmjax.config import UsageError, first_line, require
from lmjax.data.special_tokens import find_start
from lmjax.interop.checkpoints import write_params
from lmjax.interop.folders import fresh_folder
from lmjax.interop.formats import FORMATS, identify
from lmjax.interop.imported import Imported, read_checkpoint
from lmjax.interop.tensors import TensorFolder, read_json
from lmjax.interop.tokenizer_files import described_chat, read_chat, read_named, read_optional, read_text, text_of
from lmjax.interop.vocabulary_files import build_older, find_older, spelled_files
from lmjax.models.classifiers import has_additions
from lmjax.models.config import TransformerConfig
from lmjax.models.validate import longest
from lmjax.ops.positions import POSITIONS
from lmjax.training.config import Config
from lmjax.training.workdir import write_json

if TYPE_CHECKING:
    from lmjax.data.library_tokenizer import LibraryTokenizer
    from lmjax.data.tokenizers import Tokenizer
    from lmjax.types import Tree

# our roles -> the fields of tokenizer_config.json
SPECIAL_FIELDS = {'mask': 'mask_token', 'class': 'cls_token', 'separator': 'sep_token', 'padding': 'pad_token'}
DTYPES = ('float32', 'bfloat16', 'float16')
FILES = (
    '*.safetensors',
    '*.safetensors.index.json',
    'config.json',
    'generation_config.json',
    'tokenizer*.json',
    'special_tokens_map.json',
    'added_tokens.json',
    'vocab.json',
    'merges.txt',
    'vocab.txt',
    'chat_template.jinja',
    'additional_chat_templates/*.jinja',
)


def import_folder(name: str, *, scan_layers: bool = False) -> Imported:
    """The network of `hf:DIR` or `hf:NAME`; `name` is what follows the colon.

    Raises:
      UsageError: no such checkpoint, a family that is not known, or tensors or a tokenizer that do not fit its config.json.
    """
    folder = find(name)
    described = read_json(os.path.join(folder, 'config.json'))
    ends = _ends(folder, described)
    return read_checkpoint(
        os.path.basename(os.path.normpath(name)),
        described,
        lambda: TensorFolder(folder),
        lambda vocab_size: read_tokenizer(folder, vocab_size, ends, start=described.get('decoder_start_token_id')),
        label=f'{folder}/config.json',
        scan_layers=scan_layers,
    )


def find(name: str) -> str:
    """The folder of a checkpoint: itself, or the copy of a Hub repository, from its cache where it is there."""
    if os.path.isdir(name):
        return name
    if not re.fullmatch(r'[\w-][\w.-]*(/[\w-][\w.-]*)?', name):
        raise UsageError(
            f'hf:{name}: no such folder; name a folder with config.json and *.safetensors, or a Hub id such as gpt2'
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return huggingface_hub.snapshot_download(name, allow_patterns=list(FILES), local_files_only=True)
    except LocalEntryNotFoundError:
        pass
    try:
        return huggingface_hub.snapshot_download(name, allow_patterns=list(FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        why = first_line(error)
        remedy = 'name a folder, or download it where there is a network'
        raise UsageError(
            f'hf:{name}: neither a folder, nor in the cache, nor to be had from the Hub ({why}); {remedy}'
        ) from error


def _ends(folder: str, described: dict[str, Any]) -> tuple[int, ...]:
    """The tokens that end a text, those of generation_config.json first, as transformers does."""
    path = os.path.join(folder, 'generation_config.json')
    found = read_json(path).get('eos_token_id') if os.path.isfile(path) else None
    found = described.get('eos_token_id') if found is None else found
    return tuple(found) if isinstance(found, list) else () if found is None else (int(found),)


def import_tokenizer(name: str) -> LibraryTokenizer:
    """The tokenizer of `hf:DIR` or `hf:NAME`, whose folder needs to hold nothing else; `name` is what follows the colon.

    Where there is a config.json, it says how many tokens there are and which of them end a text.

    Raises:
      UsageError: there is none, or one that does not fit the config.json beside it.
    """
    folder = find(name)
    described = read_optional(folder, 'config.json')
    if described:
        size, ends = described.get('vocab_size'), _ends(folder, described)
        require(
            isinstance(size, int) and size > 0, f'{folder}/config.json: vocab_size', size, 'must be a number; fetch it again'
        )
        found = read_tokenizer(folder, described['vocab_size'], ends, start=described.get('decoder_start_token_id'))
    else:
        found = read_tokenizer(folder, 0, ())
    if found is None:
        raise UsageError(
            f"hf:{name}: holds no tokenizer.json, nor an older tokenizer's {spelled_files()}; name a folder that does"
        )
    return found


def read_tokenizer(folder: str, vocab_size: int, ends: tuple[int, ...], *, start: int | None = None) -> LibraryTokenizer | None:
    """The tokenizer in a folder, None where there is none.

    Args:
      vocab_size: tokens of the network; 0: there is no network, and the tokenizer itself says what ends a text.
      start: the token that a decoder's text begins with, where config.json names one.

    Raises:
      UsageError: it is damaged or does not fit the network.
    """
    from lmjax.data.library_tokenizer import LibraryTokenizer

    path = os.path.join(folder, 'tokenizer.json')
    defaults: Mapping[str, str] = {}
    if os.path.isfile(path):
        text = read_text(path)
    elif older := find_older(folder):
        text, defaults = build_older(folder, older), older.tokens
    else:
        return None
    specials, chat = read_specials(folder, defaults), read_chat(folder, defaults)
    end = text_of(read_named(folder, defaults).get('eos_token'))
    said = ends if vocab_size else [end] if end else []
    return LibraryTokenizer(text, size=vocab_size, ends=said, start=start, specials=specials, chat=chat)


def read_specials(folder: str, defaults: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Role -> the special token that has it, as special_tokens_map.json or tokenizer_config.json says."""
    named = read_named(folder, defaults)
    return {role: text_of(named[field]) for role, field in SPECIAL_FIELDS.items() if field in named}


def export_folder(config: Config, params: Tree, tokenizer: Tokenizer | None, folder: str, *, dtype: str = 'float32') -> str:
    """Writes a folder that transformers loads; returns its model_type.

    Raises:
      UsageError: the folder is not empty, the dtype is not one of DTYPES, the network has a classifier on top, or no family of
        transformers says it.
    """
    require(dtype in DTYPES, '--dtype', dtype, f'choose one of: {", ".join(DTYPES)}')
    model = config.model
    remedy = 'transformers gets no classifier and no encoder of frames from here yet; convert the run that it started from'
    require(not has_additions(params), 'objective.kind', config.objective.kind, remedy)
    if not isinstance(model, TransformerConfig):
        raise UsageError(f'model.kind={model.kind!r}: transformers has no such network; only transformers can be exported')
    context = model.context or config.data.seq_len
    if POSITIONS[model.position].learned:
        context = model.max_length or longest(model, config.data.seq_len)  # they know the table's length alone
    model = dataclasses.replace(model, context=context, max_length=context)
    model_type = identify(model)
    form = FORMATS[model_type]
    vocab_size = params['embedding']['tokens'].shape[0]
    ends = list(tokenizer.end_ids) if tokenizer else []
    ids = {'eos_token_id': ends[0] if len(ends) == 1 else ends or None, 'bos_token_id': ends[0] if ends else None}
    if tokenizer and (model.encoder_depth or {'start', 'end'} & set(tokenizer.specials)):
        ids['decoder_start_token_id'] = find_start(tokenizer)
    described = {
        'architectures': [form.architecture],
        'model_type': model_type,
        'vocab_size': vocab_size,
        'torch_dtype': dtype,
        **ids,
        **form.write(model),
    }
    with fresh_folder(folder) as temporary:
        write_json(os.path.join(temporary, 'config.json'), described)
        write_params(temporary, form, model, params, dtype)
        if tokenizer and 'tokenizer.json' in tokenizer.contents():
            text, described = library_files(tokenizer)
            with open(os.path.join(temporary, 'tokenizer.json'), 'w', encoding='utf-8') as file:
                file.write(text)
            write_json(os.path.join(temporary, 'tokenizer_config.json'), {**described, 'model_max_length': context})
    return model_type


def library_files(tokenizer: Tokenizer) -> tuple[str, dict[str, Any]]:
    """A tokenizer as tokenizer.json, its special tokens added to it, and what tokenizer_config.json says of them."""
    import tokenizers

    content, texts = tokenizer.contents()['tokenizer.json'], tokenizer.special_texts()
    library = tokenizers.Tokenizer.from_str(content)
    if missing := [text for text in texts.values() if library.token_to_id(text) is None]:
        library.add_special_tokens(missing)
        content = library.to_str()
    for role, text in texts.items():
        if library.token_to_id(text) != tokenizer.specials[role]:
            raise UsageError(f'data.specials={tuple(texts)!r}: the text has a token {text!r} of its own; train without it')
    described: dict[str, Any] = {'tokenizer_class': 'PreTrainedTokenizerFast'}
    described |= {SPECIAL_FIELDS[role]: text for role, text in texts.items() if role in SPECIAL_FIELDS}
    if tokenizer.end_ids:
        described['eos_token'] = library.id_to_token(tokenizer.end_ids[0])
    if tokenizer.chat:
        described |= described_chat(tokenizer.chat)
    return content, described
