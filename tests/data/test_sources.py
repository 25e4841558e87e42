"""Every door into the data: what comes through, and how bad input is refused."""

import json
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from lmjax.config import UsageError
from lmjax.data.cleaning import clean
from lmjax.data.config import DataConfig
from lmjax.data.sources import SOURCES, library_files, open_source, reference_topics


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stdlib_is_the_library_in_a_fixed_order():
    first, second = open_source('stdlib'), open_source('stdlib')
    documents = list(first.documents())
    assert documents == list(second.documents())
    assert first.digest == second.digest
    assert first.interleaved
    paths = library_files(sysconfig.get_path('stdlib'))
    assert paths == sorted(paths)
    parts = {part for path in paths for part in Path(path).parts}
    assert not parts & {'test', 'tests', 'idlelib', 'site-packages', '__pycache__'}
    assert {'os.py', 'json/decoder.py'} <= set(paths)
    topics = reference_topics()
    assert documents[len(paths) - 1 :] == topics  # one file less: the topics replace the one that holds them
    assert Path(sysconfig.get_path('stdlib'), paths[0]).read_text() == documents[0]


def test_stdlib_takes_no_argument():
    with pytest.raises(UsageError, match='stdlib takes no argument'):
        open_source('stdlib:x')


def test_text_files_are_documents_in_path_order(folder):
    (folder / 'sub').mkdir()
    for name, text in {'b.txt': 'bé\r\n', 'a.txt': 'a', 'sub/c.txt': 'c', 'no.md': '-'}.items():
        (folder / name).write_bytes(text.encode())
    assert list(open_source('text:**/*.txt').documents()) == ['a', 'bé\r\n', 'c']
    assert list(open_source(f'text:{folder}/a.txt').documents()) == ['a']


def test_braces_name_several_files(folder):
    for name in ('a.txt', 'b.txt', 'c.txt', 'd.md', '{a,b}.md'):
        (folder / name).write_text(name)
    for pattern, names in (
        ('{c,a}.txt', ['a.txt', 'c.txt']),
        ('{b.t,d.m}{xt,d}', None),
        ('{[ab].txt,d.md}', ['a.txt', 'b.txt', 'd.md']),
        ('{a,b}.md', ['{a,b}.md']),
    ):
        if names is None:  # b.td is no file, and each choice must be one
            with pytest.raises(UsageError, match='no file matches'):
                open_source(f'text:{pattern}')
        else:
            assert list(open_source(f'text:{pattern}').documents()) == names


def test_digest_follows_content_not_names(folder):
    (folder / 'a.txt').write_text('one')
    before = open_source('text:*.txt').digest
    (folder / 'a.txt').rename(folder / 'z.txt')
    assert open_source('text:*.txt').digest == before
    (folder / 'z.txt').write_text('two')
    assert open_source('text:*.txt').digest != before


def test_byte_order_mark_is_not_text(folder):
    (folder / 'a.txt').write_bytes(b'\xef\xbb\xbfhello')
    assert list(open_source('text:a.txt').documents()) == ['hello']


BAD_TEXT = {
    b'caf\xe9 au lait': 'not UTF-8 (byte 0xe9 at 3)',
    'hi'.encode('utf-16'): 'UTF-16',
    b'\x7fELF\x00\x01': 'binary (a zero byte at 4)',
    b'\x1f\x8b\x08\x01cut': 'not UTF-8',
}


@pytest.mark.parametrize('content', BAD_TEXT, ids=['latin1', 'utf16', 'binary', 'gzip'])
def test_bad_text_is_refused_in_one_line(folder, content):
    (folder / 'bad.txt').write_bytes(content)
    with pytest.raises(UsageError) as error:
        list(open_source('text:bad.txt').documents())
    message = str(error.value)
    assert BAD_TEXT[content] in message
    assert message.startswith("data.source='text:bad.txt': bad.txt")
    assert '; ' in message
    assert '\n' not in message


@pytest.mark.parametrize(
    ('source', 'what'),
    [
        ('text:none-*.txt', 'no file matches'),
        ('text:', 'no files named'),
        ('text:.', r'folder; name its files'),
        ('text:empty.txt', 'every file is empty'),
        ('jsonl:empty.txt#text', 'no row is a JSON object'),
        ('txt:a', r'no such choice; choose one of: stdlib, text, jsonl, tfds, copy'),
    ],
)
def test_missing_and_empty_are_refused(folder, source, what):
    (folder / 'empty.txt').write_text('')
    with pytest.raises(UsageError, match=what):
        open_source(source)


def test_jsonl_counts_rows_that_it_cannot_read(folder):
    rows = ['{"body": "one"}', 'not json', '[1]', '{"body": 3}', '{"other": "x"}', '', '{"body": "\\ud800 half"}']
    (folder / 'a.jsonl').write_bytes(b'\n'.join(row.encode() for row in rows) + b'\n{"body": "\xff"}\n{"body": "last"}')
    source = open_source('jsonl:*.jsonl#body')
    counts = Counter()
    assert list(clean(source.documents(), DataConfig(), counts)) == ['one', '\ufffd half', 'last']
    assert counts['read'] == 8
    assert counts['dropped_unreadable'] == 5
    assert counts['changed_surrogates'] == 1


def test_jsonl_takes_the_rows_that_are_asked_for(folder):
    """By their number over all files, empty lines not counted; another share is another store."""
    (folder / 'a.jsonl').write_text('\n\n'.join(json.dumps({'en': f'e{i}', 'it': f'i{i}'}) for i in range(7)))
    (folder / 'b.jsonl').write_text(json.dumps({'en': 'e7', 'it': 'i7'}))
    few, rest = (open_source(f'jsonl:?.jsonl#en,it@{share}') for share in ('1/3', '0-1/2'))
    assert list(few.documents()) == ['e1\ti1', 'e4\ti4', 'e7\ti7']
    assert len(list(rest.documents())) == 8
    assert few.paired
    assert len({few.digest, rest.digest, open_source('jsonl:?.jsonl#en,it').digest}) == 3
    assert list(open_source('jsonl:?.jsonl#it@2/4').documents()) == ['i2', 'i6']
    others = open_source('jsonl:?.jsonl#en,it@!1/3')
    assert list(others.documents()) == [f'e{i}\ti{i}' for i in (0, 2, 3, 5, 6)]
    assert others.digest != few.digest
    for written in ('3/3', '!3/3', '!0-2/3', '!', '!!1/3'):
        with pytest.raises(UsageError, match=f'@{written} says no rows; write FIRST-LAST/OF'):
            open_source(f'jsonl:a.jsonl#en,it@{written}')


def test_jsonl_names_the_fields_that_exist(folder):
    (folder / 'a.jsonl').write_text(json.dumps({'body': 'x', 'n': 1}) + '\n')
    with pytest.raises(UsageError, match=r"no row has text in the field 'text'; put one of body after #"):
        open_source('jsonl:a.jsonl')


def documents_of(source):
    return list(open_source(source).documents())


def test_synthetic_documents_follow_their_rule():
    for text in documents_of('copy:documents=20,length=5'):
        left, right = text.strip().split(' | ')
        assert left == right
        assert len(left.split()) == 5
    for text in documents_of('recall:documents=20,pairs=4'):
        shown, asked = (half.split() for half in text.strip().split(' | '))
        pairs = dict(zip(shown[::2], shown[1::2], strict=True))
        assert len(pairs) == 4
        assert pairs == dict(zip(asked[::2], asked[1::2], strict=True))
    for text in documents_of('reverse:documents=20,length=5'):
        left, right = text.split('\t')
        assert left.split() == right.split()[::-1]
        assert len(left.split()) == 5
    sums = documents_of('modadd:modulus=7')
    assert len(set(sums)) == 49
    for text in sums:
        a, plus, b, equals, c = text.split()
        assert (plus, equals) == ('+', '=')
        assert (int(a) + int(b)) % 7 == int(c)
    for text in documents_of('induction:documents=20,length=40,period=6'):
        symbols = text.split()
        assert len(symbols) == 40
        assert any(symbols[k:] == symbols[:-k] for k in range(2, 7))


@pytest.mark.parametrize('kind', ['copy', 'recall', 'modadd', 'induction', 'reverse'])
def test_synthetic_documents_depend_on_the_seed_alone(kind):
    small = f'{kind}:modulus=11' if kind == 'modadd' else f'{kind}:documents=9'
    assert documents_of(small) == documents_of(f'{small},seed=0')
    assert documents_of(small) != documents_of(f'{small},seed=1')
    assert open_source(small).digest == open_source(f'{small},seed=0').digest
    assert open_source(small).digest != open_source(f'{small},seed=1').digest


@pytest.mark.parametrize(
    ('source', 'what'),
    [
        ('copy:lenght=3', "no option 'lenght' in copy; did you mean 'length'"),
        ('copy:length=x', "length='x': use a whole number"),
        ('copy:length=0', "length='0': use a whole number above 0"),
        ('recall:pairs=30', 'pairs=30: keys are distinct'),
        ('copy:symbols=1', 'symbols=1: use 2 or more'),
    ],
)
def test_synthetic_options_are_checked(source, what):
    with pytest.raises(UsageError, match=what):
        documents_of(source)


def test_every_source_is_reached_by_its_name():
    expected = {'stdlib', 'text', 'jsonl', 'tfds', 'pairs', 'copy', 'recall', 'modadd', 'induction', 'reverse'}
    assert set(SOURCES) == expected | {
        'labelled',
        'multilabelled',
        'scored',
        'tagged',
        'chats',
        'matched',
        'triples',
        'answers',
        'infill',
        'preferred',
        'languages',
        'pictures',
        'sounds',
    }
