"""What objectives do to batches: pure in seed and row, as often as their papers say, never where there is no text."""

import numpy as np
import pytest

from lmjax.config import UsageError
from lmjax.data.config import DataConfig
from lmjax.data.corruptions import CORRUPTIONS, corruption_of
from lmjax.data.loader import batch_at, eval_batches, example_batch, train_batches
from lmjax.data.marks import Marks, marks_of, plain_marks
from lmjax.data.masking import word_numbers
from lmjax.data.shuffle import hashed
from lmjax.data.special_tokens import with_specials
from lmjax.data.store import memory_store
from lmjax.data.tokenizers import ByteTokenizer
from lmjax.objectives.config import ObjectiveConfig
from lmjax.objectives.table import OBJECTIVES
from lmjax.types import Batch, Inputs

VOCAB, MASK, SEPARATOR = 50, 50, 49
ORDINARY = np.arange(VOCAB + 1) < SEPARATOR
INSIDE = np.arange(VOCAB + 1) % 3 != 0  # so that words have several lengths
MARKS = Marks(ORDINARY, {'mask': MASK})
WORDS = Marks(ORDINARY, {'mask': MASK}, INSIDE, ORDINARY)
MASKED = ObjectiveConfig(kind='masked')


def store_of(total=5000, documents=20):
    rng = np.random.default_rng(0)
    sizes = np.diff(np.sort(rng.choice(np.arange(1, total), documents - 1, replace=False)), prepend=0, append=total)
    texts = [rng.integers(0, SEPARATOR, size) for size in sizes]
    return memory_store(texts, text_bytes=total, vocab_size=VOCAB + 1, separator_id=SEPARATOR)


STORE = store_of()


def plain(rows, length, seed=0):
    """A batch of whole windows of random tokens of which one in fifty is a separator."""
    ids = np.random.default_rng(seed).integers(0, VOCAB, (rows, length)).astype(np.int32)
    return Batch(Inputs(ids), np.roll(ids, -1, axis=1), np.ones(ids.shape, np.float32))


def corrupted(objective, batch, marks=MARKS, seed=0):
    return corruption_of(objective, marks)(batch, hashed(seed, 'corruption', np.arange(len(batch.weights))), STORE)


def hidden(batch):
    """B x T bool."""
    found = np.zeros(np.asarray(batch.inputs.ids).shape, bool)
    np.put_along_axis(found, batch.at, batch.weights > 0, axis=1)
    return found


def within(count, total, share, sigmas=5.0):
    return abs(count - share * total) <= sigmas * np.sqrt(total * share * (1 - share))


def test_every_objective_has_a_corruption():
    assert set(OBJECTIVES) == set(CORRUPTIONS)


@pytest.mark.parametrize('whole_words', [False, True])
def test_masking_of_a_million_tokens(whole_words):
    """Devlin et al. 2019: 15% are hidden, of these 80% as the mask, 10% as any token, 10% as themselves."""
    before = plain(2000, 512)
    after = corrupted(ObjectiveConfig(kind='masked', whole_words=whole_words), before, WORDS)
    ids, chosen = before.inputs.ids, hidden(after)
    ordinary = ORDINARY[ids]
    assert not (chosen & ~ordinary).any()
    meant = np.rint(0.15 * ordinary.sum(axis=1))
    counts = chosen.sum(axis=1)
    if whole_words:
        assert (counts <= meant).all()
        assert counts.sum() > 0.99 * meant.sum()
    else:
        np.testing.assert_array_equal(counts, meant)
    np.testing.assert_array_equal(after.inputs.ids[~chosen], ids[~chosen])
    shown, truth = after.inputs.ids[chosen], ids[chosen]
    total = len(truth)
    assert within((shown == MASK).sum(), total, 0.8)
    other = (shown != MASK) & (shown != truth)
    assert within(other.sum(), total, 0.1 * (1 - 1 / SEPARATOR))
    drawn = np.bincount(shown[other], minlength=VOCAB)
    assert drawn[SEPARATOR:].sum() == 0
    assert drawn[:SEPARATOR].min() > 0.8 * other.sum() / SEPARATOR
    by_place = chosen.mean(axis=0)
    assert by_place.std() < 2 * np.sqrt(0.15 * 0.85 / 2000)  # no place is favoured
    np.testing.assert_array_equal(np.take_along_axis(ids, after.at, axis=1), after.targets)


def test_whole_words_are_hidden_whole():
    before = plain(50, 64)
    after = corrupted(ObjectiveConfig(kind='masked', whole_words=True), before, WORDS)
    ids, chosen = before.inputs.ids, hidden(after)
    for b in range(50):
        word = -1
        for t in range(64):
            starts = t == 0 or not (INSIDE[ids[b, t]] and ORDINARY[ids[b, t]] and ORDINARY[ids[b, t - 1]])
            word = t if starts else word
            assert chosen[b, t] == chosen[b, word]
    assert chosen.any()


def test_words_of_bytes_are_runs_of_letters():
    text = 'to_be, or  not\n2b'
    tokenizer = with_specials(ByteTokenizer(), ('mask',))
    marks = marks_of(tokenizer, ObjectiveConfig(kind='masked', whole_words=True))
    ids = tokenizer.encode(text)[None]
    numbers = word_numbers(ids, np.ones(ids.shape, bool), marks)[0]
    words = [''.join(c for c, n in zip(text, numbers, strict=True) if n == number) for number in np.unique(numbers)]
    assert words == ['to_be', ',', ' ', 'or', ' ', ' ', 'not', '\n', '2b']
    assert marks_of(tokenizer, MASKED).inside is None


def test_what_is_hidden_depends_on_seed_and_row_alone():
    before = plain(8, 64)
    keys = hashed(3, 'corruption', np.arange(8))
    corrupt = corruption_of(MASKED, MARKS)
    whole = corrupt(before, keys, STORE)
    few = corrupt(Batch(Inputs(before.inputs.ids[5:7]), before.targets[5:7], before.weights[5:7]), keys[5:7], STORE)
    np.testing.assert_array_equal(few.inputs.ids, whole.inputs.ids[5:7])
    np.testing.assert_array_equal(few.at, whole.at[5:7])
    other = corrupt(before, hashed(4, 'corruption', np.arange(8)), STORE)
    assert not np.array_equal(other.at, whole.at)
    same = corrupt(before._replace(inputs=Inputs(np.repeat(before.inputs.ids[:1], 8, axis=0))), keys, STORE)
    assert len({row.tobytes() for row in hidden(same)}) == 8  # each time that a row is read others are hidden


def test_prefixes_of_a_million_tokens():
    """Each length from 1 to n - 1 is as likely; the last open token is the first to be scored."""
    before = plain(8000, 128)
    after = corrupted(ObjectiveConfig(kind='prefix'), before)
    np.testing.assert_array_equal(after.inputs.ids, before.inputs.ids)
    sizes = after.inputs.open.sum(axis=1)
    np.testing.assert_array_equal(after.inputs.open, np.arange(128)[None] < sizes[:, None])
    np.testing.assert_array_equal(after.weights, np.arange(128)[None] >= sizes[:, None] - 1)
    counts = np.bincount(sizes, minlength=129)
    assert counts[[0, 128]].tolist() == [0, 0]
    expected = 8000 / 127
    assert ((counts[1:128] - expected) ** 2 / expected).sum() < 127 + 5 * np.sqrt(2 * 127)


def test_every_document_of_a_row_has_a_prefix_of_its_own():
    segments = np.array([[1, 1, 1, 1, 2, 2, 2, 3, 0, 0]] * 200, np.int32)
    ids, weights = np.ones((200, 10), np.int32), (segments > 0).astype(np.float32)
    after = corrupted(ObjectiveConfig(kind='prefix'), Batch(Inputs(ids, segments=segments), ids, weights))
    seen = {tuple(row.astype(int)) for row in after.inputs.open}
    assert seen == {(1, a, b, 0, 1, c, 0, 1, 0, 0) for a, b in ((0, 0), (1, 0), (1, 1)) for c in (0, 1)}
    for open_T, weights_T in zip(after.inputs.open, after.weights, strict=True):
        assert weights_T.tolist() == [
            float(t < 8 and not (open_T[t] and t + 1 < 8 and open_T[t + 1] and segments[0, t + 1] == segments[0, t]))
            for t in range(10)
        ]


def test_padding_is_never_hidden_and_few_tokens_lose_at_least_one():
    ids = np.random.default_rng(0).integers(0, SEPARATOR, (4, 40)).astype(np.int32)
    lengths = np.array([40, 7, 1, 0])
    segments = (np.arange(40)[None] < lengths[:, None]).astype(np.int32)
    after = corrupted(MASKED, Batch(Inputs(ids, segments=segments), ids, segments.astype(np.float32)))
    assert not (hidden(after) & (segments == 0)).any()
    np.testing.assert_array_equal(after.weights.sum(axis=1), [6, 1, 1, 0])
    np.testing.assert_array_equal(after.inputs.ids[segments == 0], ids[segments == 0])
    assert after.at.shape == (4, 6)


@pytest.mark.parametrize('layout', ['windows', 'packed', 'documents'])
def test_batches_are_corrupted_alike_on_any_host_and_after_a_resume(layout):
    data = DataConfig(seq_len=20, layout=layout)
    corrupt = corruption_of(MASKED, MARKS)
    whole = batch_at(STORE, data, 7, seed=1, batch_size=8, corrupt=corrupt)
    parts = [batch_at(STORE, data, 7, seed=1, batch_size=8, corrupt=corrupt, host=host, hosts=2) for host in range(2)]
    for get in (lambda b: b.inputs.ids, lambda b: b.targets, lambda b: b.weights, lambda b: b.at):
        np.testing.assert_array_equal(np.concatenate([get(part) for part in parts]), get(whole))
    resumed = next(train_batches(STORE, data, seed=1, batch_size=8, corrupt=corrupt, start=7))
    np.testing.assert_array_equal(resumed.inputs.ids, whole.inputs.ids)
    other = batch_at(STORE, data, 8, seed=1, batch_size=8, corrupt=corrupt)
    assert (hidden(whole) & hidden(other)).mean() < 0.06  # by chance 0.15 ** 2
    example = example_batch(data, batch_size=8, corrupt=corruption_of(MASKED, plain_marks(VOCAB + 1)))
    for one, other in zip((*example.inputs, *example[1:]), (*whole.inputs, *whole[1:]), strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.shape, one.dtype) == (other.shape, other.dtype)


def test_an_evaluation_hides_the_same_each_time_and_shows_no_padding():
    corrupt = corruption_of(MASKED, MARKS)
    first, again = (list(eval_batches(STORE, seq_len=64, batch_size=4, corrupt=corrupt)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.inputs.ids, other.inputs.ids)
    tokens = sum(int((batch.inputs.segments > 0).sum()) for batch in first)
    assert tokens == len(STORE) - 1
    scored = sum(batch.weights.sum() for batch in first)
    assert abs(scored - 0.15 * tokens) < 0.01 * tokens
    rows = np.concatenate([hidden(batch) for batch in first])
    assert len({row.tobytes() for row in rows}) > 0.9 * len(rows)


def test_settings_that_make_no_sense_are_refused():
    for change, message in (
        ({'mask_fraction': 0.0}, r'objective\.mask_fraction=0\.0: use a share between 0 and 1'),
        (
            {'mask_replaced': 0.9, 'mask_random': 0.2},
            r'objective\.mask_random=0\.2: with objective\.mask_replaced it makes 1\.1',
        ),
        ({'kind': 'hidden'}, r"objective\.kind='hidden': no such choice; choose one of: causal, masked, prefix"),
    ):
        with pytest.raises(UsageError, match=message):
            corruption_of(ObjectiveConfig(**{'kind': 'masked', **change}), MARKS)
    with pytest.raises(UsageError, match=r"data\.specials=\(\): the objective needs a token for 'mask'; add 'mask'"):
        corruption_of(MASKED, Marks(ORDINARY, {}))


PAIRS = Marks(np.arange(VOCAB + 3) < SEPARATOR, {'mask': MASK, 'class': 51, 'separator': 52})


@pytest.mark.parametrize('pairs', ['next', 'order'])
def test_pairs_of_a_million_tokens(pairs):
    """Half of the rows are as the text has them; the others end in a text from anywhere, or are swapped."""
    text = memory_store([np.arange(100_000) % 49], text_bytes=1, vocab_size=60)
    starts = np.random.default_rng(0).integers(0, 99_000, 8000)
    ids = ((starts[:, None] + np.arange(128)[None]) % 49).astype(np.int32)
    batch = Batch(Inputs(ids), ids, np.ones(ids.shape, np.float32))
    objective = ObjectiveConfig(kind='masked', pairs=pairs)
    after = corruption_of(objective, PAIRS)(batch, hashed(0, 'corruption', np.arange(8000)), text)
    before = np.array(after.inputs.ids)
    np.put_along_axis(before, after.at, np.where(after.weights > 0, after.targets, np.take_along_axis(before, after.at, 1)), 1)
    half = 62
    assert before.shape == (8000, 2 * half + 3)
    assert set(before[:, 0]) == {51}
    assert set(before[:, half + 1]) == set(before[:, -1]) == {52}
    np.testing.assert_array_equal(after.inputs.types, np.tile(np.repeat([0, 1], [half + 2, half + 1]), (8000, 1)))
    one, two = before[:, 1 : half + 1], before[:, half + 2 : -1]
    follows = ((two[:, 0] - one[:, -1]) % 49 == 1) & (np.diff(two, axis=1) % 49 == 1).all(axis=1)
    assert within((after.labels == 1).sum(), 8000, 0.5)
    true = after.labels == 0
    np.testing.assert_array_equal(one[true], ids[true, :half])
    np.testing.assert_array_equal(two[true], ids[true, half : 2 * half])
    if pairs == 'order':
        np.testing.assert_array_equal(one[~true], ids[~true, half : 2 * half])
        np.testing.assert_array_equal(two[~true], ids[~true, :half])
    else:
        np.testing.assert_array_equal(one[~true], ids[~true, :half])
        assert within(follows[~true].sum(), (~true).sum(), 1 / 49)  # by chance
        assert len({row.tobytes() for row in two[~true]}) == 49


def test_padded_pairs_have_no_label():
    ids = np.ones((3, 21), np.int32)
    segments = (np.arange(21)[None] < np.array([21, 5, 0])[:, None]).astype(np.int32)
    batch = Batch(Inputs(ids, segments=segments), ids, segments.astype(np.float32))
    after = corrupted(ObjectiveConfig(kind='masked', pairs='order'), batch, PAIRS)
    assert after.labels[0] in (0, 1)
    assert after.labels[1:].tolist() == [-1, -1]
    assert after.inputs.segments[0].all()
    assert after.inputs.segments[1].sum() == 5 + 3
    assert not after.inputs.segments[2].any()
    assert after.weights[2].sum() == 0


def test_a_text_counts_once_if_it_has_a_token():
    """Contrastive: rows are texts as they are read by themselves; those of padding alone, at an evaluation's end, are none."""
    objective = ObjectiveConfig(kind='contrastive')
    for layout in ('documents', 'windows'):
        corrupt = corruption_of(objective, MARKS)
        before = list(eval_batches(STORE, seq_len=64, batch_size=7, layout=layout))
        after = list(eval_batches(STORE, seq_len=64, batch_size=7, layout=layout, corrupt=corrupt))
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(other.weights[:, 0], (one.weights > 0).any(axis=1))
            assert other.targets.shape == other.weights.shape == (7, 1)
        assert 0 < after[-1].weights.sum() < 7
    row = batch_at(STORE, DataConfig(seq_len=64), 3, seed=1, batch_size=4, corrupt=corruption_of(objective, MARKS))
    np.testing.assert_array_equal(row.weights, np.ones((4, 1)))


@pytest.mark.parametrize('separator_id', [0, None])
def test_a_text_of_a_row_is_all_of_it_and_nothing_else(separator_id):
    texts = [[5, 6, 7], [8, 9, 5, 6], [7, 8], [9, 9, 9, 5, 5]]
    store = memory_store([np.array(text) for text in texts], text_bytes=1, vocab_size=10, separator_id=separator_id)
    corrupt = corruption_of(ObjectiveConfig(kind='contrastive'), MARKS)
    (batch,) = eval_batches(store, seq_len=8, batch_size=4, layout='documents', corrupt=corrupt)
    rows = [ids[segments > 0].tolist() for ids, segments in zip(batch.inputs.ids, batch.inputs.segments, strict=True)]
    assert rows == texts


def test_a_student_reads_as_its_teacher_does():
    before = plain(4, 64)
    for reads in ('masked', 'prefix'):
        one, other = (corrupted(ObjectiveConfig(kind=kind, reads=reads), before) for kind in ('distill', reads))
        np.testing.assert_array_equal(one.inputs.ids, other.inputs.ids)
        np.testing.assert_array_equal(one.weights, other.weights)
    assert corruption_of(ObjectiveConfig(kind='distill'), MARKS) is None
