"""Pictures and sounds as frames: by hand, from files that are made here, and what is refused."""

import csv
import json
import wave

import numpy as np
import pytest
from PIL import Image
from scipy.signal import get_window

from lmjax import DataConfig, UsageError
from lmjax.data.corpus import prepare, prepare_eval
from lmjax.data.frames import PLACE, check_frames, read_files
from lmjax.data.loader import batch_at, example_batch
from lmjax.data.pictures import patches
from lmjax.data.sounds import BANDS, FLOOR, HOP, RATE, WINDOW, log_mel, mel_filters, read_sound, read_wave, sound_shape
from lmjax.data.sources import open_source

COLOURS = {'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255)}


def data_of(source, folder, **changes):
    given = {'tokenizer': 'byte', 'seq_len': 12, 'layout': 'documents', 'picture_size': 4, 'patch_size': 2, **changes}
    return DataConfig(source=source, cache_dir=str(folder / 'cache'), **given)


def write_wave(path, samples, *, rate=RATE, width=2, channels=1):
    """Samples in [-1, 1] as whole numbers of so many bytes."""
    whole = np.round(np.asarray(samples) * (2 ** (8 * width - 1) - 1)).astype('<i8') + (128 if width == 1 else 0)
    octets = np.repeat(whole[:, None], channels, axis=1).reshape(-1, 1).view(np.uint8)[:, :width]
    with wave.open(str(path), 'wb') as file:
        file.setparams((channels, width, rate, 0, 'NONE', ''))
        file.writeframes(octets.tobytes())
    return str(path)


@pytest.fixture
def coloured(tmp_path):
    """A folder with pictures of one colour, larger than they are read, and rows that name them."""
    (tmp_path / 'pictures').mkdir()
    rows = []
    for number in range(20):
        name, colour = list(COLOURS.items())[number % 3]
        Image.new('RGB', (9, 7), colour).save(tmp_path / 'pictures' / f'{number}.png')
        rows.append({'picture': f'pictures/{number}.png', 'caption': name})
    (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    return tmp_path


def test_patches_hold_every_pixel_once_in_order():
    pixels = np.arange(6 * 6 * 3).reshape(6, 6, 3)
    found = patches(pixels, 2)
    assert found.shape == (9, 12)
    np.testing.assert_array_equal(found[5].reshape(2, 2, 3), pixels[2:4, 4:6])
    whole = found.reshape(3, 3, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(6, 6, 3)
    np.testing.assert_array_equal(whole, pixels)


def test_a_picture_is_scaled_and_stands_on_white(tmp_path):
    half = Image.new('RGBA', (8, 8), (0, 0, 0, 0))
    half.paste((255, 0, 0, 255), (0, 0, 4, 8))
    half.save(tmp_path / 'half.png')
    (found,) = read_files('pictures:x', [str(tmp_path / 'half.png')], data_of('pictures:x', tmp_path))
    assert found.dtype == np.float32
    red, white = [1, -1, -1] * 4, [1, 1, 1] * 4
    np.testing.assert_array_equal(found, [red, white, red, white])


def test_a_pure_tone_lies_in_the_band_of_its_frequency():
    """Band k's triangle is highest at edge k + 1 of 42 equal steps from 0 to 2840 mels."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    for band in (5, 18, 30):
        hertz = 700 * (10 ** (top * (band + 1) / 41 / 2595) - 1)
        mel_TxM = log_mel(np.sin(2 * np.pi * hertz * np.arange(RATE // 4) / RATE))
        assert mel_TxM.shape == (RATE // 4 // HOP, BANDS)
        assert (mel_TxM[2:-2].argmax(axis=1) == band).all()
        assert mel_TxM.max() - mel_TxM.min() <= FLOOR / 4 + 1e-6
    assert mel_filters().max(axis=1).min() > 0.3  # no band is empty
    np.testing.assert_allclose(log_mel(np.zeros(HOP)), (-10 + 4) / 4)


def test_a_tone_ten_times_as_loud_has_a_hundred_times_the_power():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE // 8) / RATE)
    quiet, loud = (log_mel(scale * tone)[5].max() for scale in (0.05, 0.5))
    assert loud - quiet == pytest.approx(2 / 4, abs=1e-4)


def test_windows_are_those_of_hann_around_every_hop():
    sound = np.random.default_rng(0).normal(size=RATE // 8)
    found = log_mel(sound)
    for at in (2, 7):
        piece = sound[at * HOP - WINDOW // 2 : at * HOP + WINDOW // 2] * get_window('hann', WINDOW)
        power = np.abs(np.fft.rfft(piece)) ** 2 @ mel_filters().T
        np.testing.assert_allclose(found[at], (np.log10(power) + 4) / 4, rtol=1e-5)


@pytest.mark.parametrize(('width', 'error'), [(1, 1e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_wave_files_are_read_as_they_were_written(tmp_path, width, error):
    samples = np.array([0.0, 0.5, -0.5, 0.999, -1.0])
    found, rate = read_wave(write_wave(tmp_path / 'x.wav', samples, rate=8000, width=width, channels=2))
    assert rate == 8000
    np.testing.assert_allclose(found, samples, atol=error)


def test_a_sound_is_stacked_cut_and_followed_by_silence(tmp_path):
    data = DataConfig(sound_seconds=0.5, sound_stack=4)
    assert sound_shape(data) == (13, 4 * BANDS)  # 50 windows
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * 8000) / 8000)
    short, long = (write_wave(tmp_path / f'{n}.wav', tone[:n], rate=8000) for n in (2000, 12000))
    first, second = read_sound(short, data), read_sound(long, data)
    assert first.shape == second.shape == (13, 160)
    np.testing.assert_allclose(first[:5], second[:5], atol=1e-3)  # the same for a fifth of a second
    assert first[8:].max() < second[8:].max() - 1
    at_16k = log_mel(np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE))
    np.testing.assert_array_equal(second[3].reshape(4, BANDS).argmax(axis=1), at_16k[12:16].argmax(axis=1))


def test_rows_begin_with_as_many_places_as_frames_and_carry_these(coloured):
    data = data_of(f'pictures:{coloured}/rows.jsonl', coloured)
    corpus = prepare(data)
    store, end = corpus.train, corpus.tokenizer.separator_id
    assert store.labelled
    assert store.frames.shape == (18, 4, 12)
    batch = batch_at(store, data, 3, seed=0, batch_size=18)
    assert batch.inputs.prefix.shape == (18, 4, 12)
    seen = set()
    for ids, targets, segments, frames in zip(
        batch.inputs.ids, batch.targets, batch.inputs.segments, batch.inputs.prefix, strict=True
    ):
        length = int(segments.sum())
        assert (ids[:4] == PLACE).all()
        name = corpus.tokenizer.decode(ids[4:length])
        assert targets[length - 1] == end
        np.testing.assert_array_equal(frames.reshape(-1, 3), [np.array(COLOURS[name]) / 127.5 - 1] * 16)
        seen.add(name)
    assert seen == set(COLOURS)
    example = example_batch(data, batch_size=3)
    assert example.inputs.prefix.shape == (3, 4, 12)


def test_a_store_follows_the_content_of_files_and_their_size_and_not_their_place(coloured):
    def digest(**changes):
        return prepare(data_of(f'pictures:{coloured}/rows.jsonl', coloured, **changes)).digest

    first = digest()
    assert first == digest()
    assert len({first, digest(picture_size=8), digest(patch_size=4)}) == 3
    moved = coloured / 'moved'
    moved.mkdir()
    (coloured / 'pictures').rename(moved / 'pictures')
    (coloured / 'rows.jsonl').rename(moved / 'rows.jsonl')
    (moved / 'cache').symlink_to(coloured / 'cache')
    assert prepare(data_of(f'pictures:{moved}/rows.jsonl', coloured)).digest == first
    Image.new('RGB', (9, 7), 'black').save(moved / 'pictures' / '0.png')
    assert prepare(data_of(f'pictures:{moved}/rows.jsonl', coloured)).digest != first


def test_a_share_of_rows_and_a_table_with_sounds(tmp_path):
    with open(tmp_path / 'rows.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['sound', 'transcript'])
        for number in range(20):
            write_wave(tmp_path / f'{number}.wav', 0.1 * np.ones(400))
            rows.writerow([f'{number}.wav', f'text {number}'])
    source = open_source(f'sounds:{tmp_path}/rows.csv@0/10')
    assert [document.partition('\t')[0] for document in source.documents()] == ['text 0', 'text 10']
    data = data_of(f'sounds:{tmp_path}/rows.csv', tmp_path, sound_seconds=0.1, sound_stack=5, seq_len=16)
    assert prepare(data).train.frames.shape == (18, 2, 5 * BANDS)
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    (tmp_path / 'p.jsonl').write_text('{"picture": "a.png", "caption": "a"}')
    tokenizer = prepare(data).tokenizer
    with pytest.raises(UsageError, match='the run reads sounds; give such rows'):
        prepare_eval(f'pictures:{tmp_path}/p.jsonl', tokenizer, data)


def test_files_that_are_missing_or_broken_are_refused_with_file_and_line(coloured):
    name = f'pictures:{coloured}/rows.jsonl'
    cut = coloured / 'pictures' / '7.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r'7\.png.*: named in .*rows\.jsonl:8, cannot be read as a picture \(.*truncated'):
        prepare(data_of(name, coloured))
    cut.write_text('no picture')
    with pytest.raises(UsageError, match=r'rows\.jsonl:8, cannot be read as a picture'):
        prepare(data_of(name, coloured))
    cut.unlink()
    with pytest.raises(UsageError, match=r'rows\.jsonl:8: .*7\.png is not there; mend or remove the row'):
        open_source(name)


def test_sounds_that_are_none_are_refused(tmp_path):
    (tmp_path / 'text.wav').write_text('RIFF of nothing')
    empty = write_wave(tmp_path / 'empty.wav', [])
    for path, problem in ((str(tmp_path / 'text.wav'), 'cannot be read as WAV'), (empty, 'it is empty')):
        with pytest.raises(UsageError, match=problem):
            read_files('sounds:x', [path], data_of('sounds:x', tmp_path))


def test_rows_without_a_file_or_a_text_are_left_out_and_counted(coloured):
    with open(coloured / 'rows.jsonl', 'a') as file:
        file.write('\n{"picture": 3, "caption": "red"}\n{"picture": "pictures/1.png", "caption": " "}\nno row\n')
    counts = prepare(data_of(f'pictures:{coloured}/rows.jsonl', coloured)).counts
    assert (counts['read'], counts['dropped_unreadable']) == (23, 3)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'patch_size': 3}, 'data.picture_size=4: must be a multiple of data.patch_size=3'),
        ({'patch_size': 0}, 'data.patch_size=0: use 1 pixel or more'),
        ({'seq_len': 4}, 'data.seq_len=4: leaves no room for a text behind 4 frames; use 8 or more'),
        ({'source': 'sounds:x', 'sound_stack': 0}, 'data.sound_stack=0'),
        ({'source': 'sounds:x', 'sound_seconds': 0.0}, 'data.sound_seconds=0.0'),
        ({'valid_source': 'sounds:x'}, "data.valid_source='sounds:x': is of another kind than pictures:x"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, changes, message):
    changes = {'source': 'pictures:x', **changes}
    with pytest.raises(UsageError, match=message):
        check_frames(data_of(changes.pop('source'), tmp_path, **changes))
