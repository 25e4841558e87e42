"""Tokenizers of before tokenizer.json: vocab.json with merges.txt (byte-level pairs), or vocab.txt (word pieces).

How text is cut is not in these files: it is known for the kinds of tokenizers in a table, and another kind is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lmjax.config import UsageError, first_line
from lmjax.data.library_tokenizer import MAX_TOKENS
from lmjax.interop.tokenizer_files import CONFIG_FILE, read_named, read_optional, read_text, text_of

if TYPE_CHECKING:
    import tokenizers

VOCAB_JSON, MERGES, VOCAB_TXT = 'vocab.json', 'merges.txt', 'vocab.txt'
MAX_BYTES = 1 << 26  # of such a file; the largest published ones have a tenth
# in the order in which those that the vocabulary lacks are added to it
NAMED = ('bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token')
FLAGS = ('lstrip', 'rstrip', 'single_word', 'normalized')
GENERIC = ('PreTrainedTokenizer', 'PreTrainedTokenizerFast', 'TokenizersBackend')  # classes that do not tell the kind


class Kind(NamedTuple):
    """A kind of tokenizer, made of its files."""

    files: tuple[str, ...]
    make: Callable[
        [str, Mapping[str, Any], Mapping[str, str]], tokenizers.Tokenizer
    ]  # (folder, options, tokens) -> without them
    finish: Callable[[tokenizers.Tokenizer, Mapping[str, Any], Mapping[str, str]], None]  # what is put around an encoded text
    tokens: Mapping[str, str]  # field -> special token, where no file says another


def byte_level(folder: str, options: Mapping[str, Any], tokens: Mapping[str, str]) -> tokenizers.Tokenizer:
    """Pairs of bytes (Radford et al. 2019, section 2.2)."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    made = tokenizers.Tokenizer(models.BPE(read_vocabulary(folder), read_merges(folder)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(options.get('add_prefix_space', False)))
    made.decoder = decoders.ByteLevel()
    return made


def word_pieces(folder: str, options: Mapping[str, Any], tokens: Mapping[str, str]) -> tokenizers.Tokenizer:
    """Words in pieces, the longest first (Wu et al. 2016; Devlin et al. 2019)."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    made = tokenizers.Tokenizer(models.WordPiece(read_words(folder), unk_token=tokens.get('unk_token', '[UNK]')))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(options.get('tokenize_chinese_chars', True)),
        strip_accents=options.get('strip_accents'),
        lowercase=bool(options.get('do_lower_case', True)),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix='##')
    return made


def around(made: tokenizers.Tokenizer, first: str, last: str) -> None:
    """A special token before every text and one after it; '' for none."""
    from tokenizers import processors

    if first or last:
        parts = [part for part in (first, '$A', last) if part]
        ids = [(text, made.token_to_id(text)) for text in {first, last} - {''}]
        made.post_processor = processors.TemplateProcessing(single=parts, special_tokens=ids)


def as_asked(made: tokenizers.Tokenizer, options: Mapping[str, Any], tokens: Mapping[str, str]) -> None:
    around(made, *(tokens.get(f'{name}_token', '') if options.get(f'add_{name}_token') else '' for name in ('bos', 'eos')))


def classified(made: tokenizers.Tokenizer, options: Mapping[str, Any], tokens: Mapping[str, str]) -> None:
    around(made, tokens['cls_token'], tokens['sep_token'])


END = '<|endoftext|>'
GPT2 = Kind((VOCAB_JSON, MERGES), byte_level, as_asked, dict.fromkeys(('bos_token', 'eos_token', 'unk_token'), END))
ROBERTA = Kind(
    (VOCAB_JSON, MERGES),
    byte_level,
    classified,
    dict(zip(NAMED, ('<s>', '</s>', '<unk>', '</s>', '<pad>', '<s>', '<mask>'), strict=True)),
)
BERT = Kind(
    (VOCAB_TXT,),
    word_pieces,
    classified,
    {f'{name}_token': f'[{name.upper()}]' for name in ('unk', 'sep', 'pad', 'cls', 'mask')},
)
# tokenizer_class without its ending, or model_type -> row
KINDS = {'gpt2': GPT2, 'roberta': ROBERTA, 'bart': ROBERTA, 'bert': BERT, 'distilbert': BERT}


def spelled_files() -> str:
    """The files that such a tokenizer has, for error messages."""
    return ' or '.join(dict.fromkeys(' and '.join(kind.files) for kind in KINDS.values()))


def find_older(folder: str) -> Kind | None:
    """The kind of the tokenizer in a folder, None where its files are not there.

    Raises:
      UsageError: the files of one are there, but of a kind that is not known.
    """
    files = {name for kind in KINDS.values() for name in kind.files if os.path.isfile(os.path.join(folder, name))}
    if not files:
        return None
    said = read_optional(folder, CONFIG_FILE).get('tokenizer_class') or ''
    if said in ('', *GENERIC):
        said = read_optional(folder, 'config.json').get('model_type') or ''
    kind = KINDS.get(str(said).removesuffix('Fast').removesuffix('Tokenizer').lower())
    if kind is None:
        what = f'{" and ".join(sorted(files))} do not say how it cuts text, which is known for {", ".join(KINDS)}'
        raise UsageError(f'{folder}: tokenizer_class={said!r}: {what}; save it once as tokenizer.json')
    if missing := [name for name in kind.files if name not in files]:
        raise UsageError(f'{os.path.join(folder, missing[0])}: missing, though {min(files)} is there; fetch it')
    return kind


def build_older(folder: str, kind: Kind) -> str:
    """A tokenizer.json of the files of a kind, with the special tokens that the folder names.

    Raises:
      UsageError: a file is damaged, too long or contradicts another.
    """
    options, named = read_optional(folder, CONFIG_FILE), read_named(folder, kind.tokens)
    tokens = {field: text_of(token) for field, token in named.items()}
    try:
        made = kind.make(folder, options, tokens)
        add_tokens(made, folder, options, named)
        kind.finish(made, options, tokens)
        return made.to_str()
    except UsageError:
        raise
    except Exception as error:  # the library raises Exception itself
        what = ' and '.join(kind.files)
        raise UsageError(f'{folder}: its {what} make no tokenizer ({first_line(error)}); fetch them again') from error


def add_tokens(made: tokenizers.Tokenizer, folder: str, options: Mapping[str, Any], named: Mapping[str, Any]) -> None:
    """Adds the tokens that files list with an id, then the special ones that have a name, then the nameless special ones.

    Raises UsageError where one would not get the id that its file says.
    """
    listed = options.get('added_tokens_decoder')
    extra = options.get('extra_special_tokens') or options.get('additional_special_tokens') or []
    order = sorted(named, key=lambda field: NAMED.index(field) if field in NAMED else len(NAMED))
    special = [named[field] for field in order] + (extra if isinstance(extra, list) else [])
    texts = {text_of(token) for token in special}
    if listed is None:
        listed = {
            i: {'content': text, 'special': text in texts, 'normalized': text not in texts} for text, i in older_tokens(folder)
        }
    for i, token in sorted(listed.items(), key=lambda pair: int(pair[0])):
        made.add_tokens([added(token, special=bool(token.get('special')) or text_of(token) in texts)])
        if made.token_to_id(token['content']) != int(i):
            raise UsageError(
                f'{folder}: the token {token["content"]!r} has id {i} there, which the vocabulary does not leave for it'
            )
    known = {token['content'] for token in listed.values()}
    for token in special:
        if text_of(token) not in known:
            known.add(text_of(token))
            made.add_tokens([added(token, special=True)])


def older_tokens(folder: str) -> list[tuple[str, int]]:
    """Token and id, as added_tokens.json lists them."""
    return list(read_optional(folder, 'added_tokens.json').items())


def added(token: Any, *, special: bool) -> tokenizers.AddedToken:
    """A token by its text, or by the object that says how it takes the space around it."""
    import tokenizers

    said = token if isinstance(token, dict) else {}
    flags = {flag: bool(said[flag]) for flag in FLAGS if flag in said}
    return tokenizers.AddedToken(text_of(token), special=special, **flags)


def read_vocabulary(folder: str) -> dict[str, int]:
    """Token -> id, of vocab.json."""
    path = os.path.join(folder, VOCAB_JSON)
    try:
        found = json.loads(read_text(path, limit=MAX_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f'{path}: not readable as JSON ({first_line(error)}); fetch it again') from error
    sound = isinstance(found, dict) and found and all(type(i) is int and 0 <= i < MAX_TOKENS for i in found.values())
    if not sound or len(set(found.values())) < len(found):
        raise UsageError(f'{path}: is no object of tokens, each with an id of its own; fetch it again')
    return found


def read_merges(folder: str) -> list[tuple[str, str]]:
    """Pairs in the order in which they are merged, of merges.txt, whose first line may tell its version."""
    path = os.path.join(folder, MERGES)
    merges = []
    for number, line in enumerate(read_text(path, limit=MAX_BYTES).split('\n'), start=1):
        line = line.removesuffix('\r')
        if not line or (number == 1 and line.startswith('#version')):
            continue
        one, _, other = line.partition(' ')
        if not one or not other or ' ' in other:
            raise UsageError(
                f'{path}: line {number} is {line[:40]!r}, where two tokens and a space between are due; fetch it again'
            )
        merges.append((one, other))
    return merges


def read_words(folder: str) -> dict[str, int]:
    """Token -> id, of vocab.txt: a token a line, whose number is its id."""
    path = os.path.join(folder, VOCAB_TXT)
    lines = read_text(path, limit=MAX_BYTES).split('\n')
    if not lines[-1]:
        lines.pop()
    if not lines or '\0' in lines[0]:
        raise UsageError(f'{path}: holds no tokens; fetch it again')
    return {line.removesuffix('\r'): i for i, line in enumerate(lines)}
