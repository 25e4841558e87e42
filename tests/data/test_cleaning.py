"""Each cleaning option alone, with its counts."""

from collections import Counter

import pytest

from lmjax.config import UsageError
from lmjax.data.cleaning import clean, validate_cleaning
from lmjax.data.config import DataConfig

CASES = {
    'nothing': ({}, ['A\x07', 'A\x07', 'b'], {}),
    'normal form': ({'normal_form': 'NFC'}, ['A\x07', 'A\x07', 'b'], {}),
    'control': ({'strip_control': True}, ['A', 'A', 'b'], {'changed_control': 2}),
    'repeats': ({'deduplicate': True}, ['A\x07', 'b'], {'dropped_repeat': 1}),
    'lowercase': ({'lowercase': True}, ['a\x07', 'a\x07', 'b'], {'changed_lowercase': 2}),
    'short': ({'min_chars': 2}, ['A\x07', 'A\x07'], {'dropped_short': 1}),
    'long': ({'max_chars': 1}, ['b'], {'dropped_long': 2}),
    'first': ({'max_documents': 1}, ['A\x07'], {}),
    'order': ({'strip_control': True, 'max_chars': 1, 'deduplicate': True}, ['A', 'b'], {'dropped_repeat': 1}),
}


@pytest.mark.parametrize('case', CASES)
def test_each_option_with_its_counts(case):
    options, expected, expected_counts = CASES[case]
    data, counts = DataConfig(**options), Counter()
    validate_cleaning(data)
    assert list(clean(['A\x07', 'A\x07', '', None, 'b'], data, counts)) == expected
    assert counts['kept'] == len(expected)
    assert counts['read'] == counts['kept'] + sum(n for name, n in counts.items() if name.startswith('dropped_'))
    for name, n in expected_counts.items():
        assert counts[name] == n
    if case != 'first':
        assert (counts['dropped_empty'], counts['dropped_unreadable']) == (1, 1)


def test_normal_forms():
    text = 'e\u0301 \ufb01'
    for form, expected in {'NFC': 'é ﬁ', 'NFD': 'e\u0301 ﬁ', 'NFKC': 'é fi', 'NFKD': 'e\u0301 fi'}.items():
        assert list(clean([text], DataConfig(normal_form=form), Counter())) == [expected]


def test_tabs_and_line_breaks_are_no_control_characters():
    text = 'a\tb\r\nc'
    assert list(clean([text], DataConfig(strip_control=True), Counter())) == [text]


@pytest.mark.parametrize(
    ('options', 'what'),
    [
        ({'normal_form': 'nfc'}, "data.normal_form='nfc': no such form; choose one of: NFC"),
        ({'min_chars': -1}, 'data.min_chars=-1: use 0'),
        ({'min_chars': 5, 'max_chars': 4}, 'data.min_chars=5: must not exceed max_chars=4'),
    ],
)
def test_bad_options_are_refused(options, what):
    with pytest.raises(UsageError, match=what):
        validate_cleaning(DataConfig(**options))
