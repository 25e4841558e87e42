"""Decay masks against masks made by hand."""

import pytest

from lmjax.config import UsageError
from lmjax.optim.masks import decay_mask, paths, widths

LAYER = {
    'attention': {'w_q': ('embed', 'heads', 'head_width'), 'b_q': ('heads', 'head_width')},
    'norm': {'scale': ('embed',)},
}
LOOPED = {'embed': {'w': ('vocab', 'embed')}, 'layers': {'0': LAYER, '1': LAYER}, 'temperature': ()}
SCANNED = {
    'embed': {'w': ('vocab', 'embed')},
    'layers': {
        'attention': {'w_q': ('layers', 'embed', 'heads', 'head_width'), 'b_q': ('layers', 'heads', 'head_width')},
        'norm': {'scale': ('layers', 'embed')},
    },
    'temperature': (),
}


def expected(*, embed=False, w_q=False, b_q=False, scale=False):
    layer = {'attention': {'w_q': w_q, 'b_q': b_q}, 'norm': {'scale': scale}}
    return (
        {'embed': {'w': embed}, 'layers': layer, 'temperature': False},
        {'embed': {'w': embed}, 'layers': {'0': layer, '1': layer}, 'temperature': False},
    )


CASES = {
    (): expected(embed=True, w_q=True),
    ('w_q$',): expected(w_q=True),
    ('!embed', 'w'): expected(w_q=True),
    ('/w', 'b_q'): expected(embed=True, w_q=True, b_q=True),
    ('!attention', '.*'): expected(embed=True, scale=True),
}


@pytest.mark.parametrize('patterns', CASES, ids=str)
def test_masks_equal_hand_made_ones_scanned_and_looped(patterns):
    scanned, looped = CASES[patterns]
    if patterns == ('!attention', '.*'):  # the scalar is matched too
        scanned['temperature'] = looped['temperature'] = True
    assert decay_mask(patterns, SCANNED) == scanned
    assert decay_mask(patterns, LOOPED) == looped


def test_the_first_match_wins():
    assert decay_mask(('!w_q', 'attention'), SCANNED)['layers']['attention'] == {'w_q': False, 'b_q': True}
    assert decay_mask(('w_q', '!attention'), SCANNED)['layers']['attention'] == {'w_q': True, 'b_q': False}


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(UsageError, match=r"decay_mask='norm/scales': matches no parameter; did you mean '"):
        decay_mask(('w_q', 'norm/scales'), SCANNED)


def test_a_pattern_that_is_never_reached_is_refused():
    with pytest.raises(UsageError, match="decay_mask='w_q': patterns before it match all"):
        decay_mask(('attention', 'w_q'), SCANNED)


def test_a_broken_pattern_is_refused():
    with pytest.raises(UsageError, match=r"decay_mask='\(w': not a regular expression"):
        decay_mask(('(w',), SCANNED)


def test_paths_and_widths():
    assert paths(LOOPED)[:2] == ['embed/w', 'layers/0/attention/b_q']
    assert widths(('layers', 'embed', 'heads', 'head_width')) == [(1,), (2, 3)]
    assert widths(('heads', 'head_width', 'embed')) == [(0, 1), (2,)]
    assert widths(('head_width',)) == [(0,)]
    assert widths(()) == []
