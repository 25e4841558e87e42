"""Live in a terminal, sparse plain lines elsewhere."""

import io
import math

import pytest

from lmjax.training.progress import Progress, count, describe, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_plain_lines_are_sparse_and_plain():
    out, clock = io.StringIO(), Clock()
    with Progress(1000, stream=out, clock=clock) as progress:
        for step in range(1, 1001):
            clock.now += 0.1
            progress.update({'step': step, 'loss_nats': 2.5, 'tokens_per_second': 12345.0, 'learning_rate': 1e-3})
        progress.evaluated({'step': 1000, 'loss_nats': 2.1, 'bits_per_byte': 1.25})
        progress.evaluated({'step': 1000, 'loss_nats': 2.1, 'bits_per_byte': None})
    lines = out.getvalue().splitlines()
    assert lines[0] == 'step 1/1000  loss 2.5000  12.3k tokens/s  lr 1.00e-03  ? left'
    assert lines[1] == 'step 51/1000  loss 2.5000  12.3k tokens/s  lr 1.00e-03  1m35s left'
    assert lines[-3] == 'step 1000/1000  loss 2.5000  12.3k tokens/s  lr 1.00e-03'
    assert lines[-2] == 'step 1000: validation loss 2.1000, 1.250 bits per byte'
    assert lines[-1] == 'step 1000: validation loss 2.1000'
    assert len(lines) == 23
    assert all(character.isprintable() for line in lines for character in line)


def test_plain_lines_come_at_least_every_half_minute():
    out, clock = io.StringIO(), Clock()
    progress = Progress(100_000, start=500, stream=out, clock=clock)
    for step in range(501, 511):
        progress.update({'step': step, 'loss_nats': 1.0})
        clock.now += 10
    assert [line.split('/')[0] for line in out.getvalue().splitlines()] == ['step 501', 'step 504', 'step 507', 'step 510']


def test_a_terminal_sees_one_line_that_changes(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm-256color')
    monkeypatch.setenv('COLUMNS', '150')
    monkeypatch.delenv('NO_COLOR', raising=False)
    out, clock = Terminal(), Clock()
    with Progress(20, stream=out, clock=clock) as progress:
        for step in (1, 11, 20):
            progress.update({'step': step, 'loss_nats': 2.5, 'tokens_per_second': 999.0, 'learning_rate': 1e-3})
            clock.now += 5
        progress.note('a note [bold]x[/bold]')
    text = out.getvalue()
    assert '\x1b[' in text
    assert '20/20' in text
    assert 'loss 2.5000  999 tokens/s  lr 1.00e-03' in text
    assert '0s left' in text
    assert 'a note [bold]x[/bold]' in text
    assert text.rstrip('\x1b[?25h\n').count('\n') <= 4
    assert '\x1b[?25h' in text, 'the cursor is shown again'


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    out = Terminal()
    Progress(2, stream=out).update({'step': 2})
    assert out.getvalue() == 'step 2/2\n'


@pytest.mark.parametrize(
    ('number', 'text'),
    [(7, '7'), (987.4, '987'), (999.7, '1k'), (12345, '12.3k'), (999_700, '1M'), (1.5e9, '1.5G'), (math.inf, 'inf')],
)
def test_count(number, text):
    assert count(number) == text


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0.2, '0s'),
        (59.4, '59s'),
        (59.6, '1m00s'),
        (187, '3m07s'),
        (18720, '5h12m'),
        (183600, '2d03h'),
        (math.nan, '?'),
        (-1, '0s'),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_only_what_is_known_is_shown():
    assert describe({}) == ''
    assert describe({'loss_nats': float('nan'), 'learning_rate': 0.0}) == 'loss nan  lr 0.00e+00'
