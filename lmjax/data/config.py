"""What text a run reads and how it becomes batches."""

import dataclasses

from lmjax.config import free


@dataclasses.dataclass
class DataConfig:
    source: str = 'stdlib'  # a row of SOURCES, with its argument: stdlib, text:GLOB, jsonl:GLOB#field, labelled:GLOB, copy, ...
    # a row of TOKENIZERS: byte, char, word, bpe; hf:DIR or hf:NAME: that checkpoint's, for which text that spells one of its
    # special tokens is that token, as in transformers; library: that of what the run starts from, with --init_from;
    # teacher: that of objective.teacher
    tokenizer: str = 'byte'
    # limit on the vocabulary of char, word and bpe; 0: no limit (bpe: 4096), or all that a checkpoint's has
    vocab_size: int = 0
    specials: tuple[str, ...] = ()  # roles of tokens that stand for no text, as ('mask',); they come after the vocabulary
    sentinels: int = 0  # so many more, each of a role of its own: what stands for the spans of objective.kind=spans
    seq_len: int = 256  # tokens in a window
    layout: str = 'windows'  # windows over the stream, packed (documents with segment ids), documents (one a row, padded)
    picture_size: int = 32  # pictures: pixels of each side, to which they are scaled
    patch_size: int = 8  # pictures: pixels of each side of a patch, which takes the place of a token
    sound_seconds: float = 4.0  # sounds: so much of each is read
    sound_stack: int = 8  # sounds: so many windows of 10 ms take the place of a token
    stride: int = 0  # answers: tokens of a long text between the starts of its windows; 0: half of what fits
    balance: float = 1.0  # languages: of one of n texts n ** balance is its share in training; 0: all have the same
    buckets: int = 0  # documents: rows of like length share a batch, padded to one of so many widths; 0: all to seq_len
    order: str = 'shuffled'  # shuffled (each window once an epoch), random (any offset), contiguous (row b reads its stream)
    valid_source: str = ''  # another source to validate on, of the same kind; empty: a share of this one
    valid_fraction: float = 0.1  # the last tenth in source order; for stdlib every tenth file, for labelled every tenth text
    unseen_labels: str = free('refuse')  # held-out texts with a label that training never saw: refuse, leave_out (and count)
    normal_form: str = ''  # Unicode normal form: NFC, NFKC, NFD, NFKD, or none
    strip_control: bool = False  # remove control characters other than tab, newline and carriage return
    deduplicate: bool = False  # drop exact repeats of a document
    lowercase: bool = False
    min_chars: int = 0  # shorter documents are dropped
    max_chars: int = 0  # longer documents are dropped; 0: no limit
    max_documents: int = 0  # read only the first ones; 0: all
    cache_dir: str = free('')  # where token stores live; empty: the user's cache folder
