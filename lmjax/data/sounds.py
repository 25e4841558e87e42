"""Sounds as a log-mel spectrogram: how loud each band of frequencies is, every hundredth of a second."""

from __future__ import annotations

import wave

import numpy as np

from lmjax.config import UsageError, first_line, require
from lmjax.data.config import DataConfig

RATE = 16_000  # samples a second, to which a sound is brought
WINDOW, HOP = 400, 160  # samples: 25 ms, every 10 ms
BANDS = 40
FLOOR = 8.0  # powers of ten below the loudest, which count as silence


def sound_shape(data: DataConfig) -> tuple[int, int]:
    """How many frames a sound has, and the numbers of each."""
    seconds, stack = data.sound_seconds, data.sound_stack
    require(stack >= 1, 'data.sound_stack', stack, 'use 1 or more windows of 10 ms a frame, as 8')
    require(seconds * RATE >= HOP, 'data.sound_seconds', seconds, 'use more than 0, as 4')
    return -(-windows_of(seconds) // stack), stack * BANDS


def windows_of(seconds: float) -> int:
    return max(1, round(seconds * RATE / HOP))


def read_sound(path: str, data: DataConfig) -> np.ndarray:
    """The frames of a WAV file, P x F float32: so many windows of its log-mel spectrogram beside each other.

    What goes beyond `data.sound_seconds` is cut, and what is shorter is followed by silence. Raises UsageError for a file that
    is no WAV of whole numbers.
    """
    samples, rate = read_wave(path)
    frames, width = sound_shape(data)
    length = round(data.sound_seconds * RATE)
    heard = resampled(samples, rate)[:length]
    heard = np.pad(heard, (0, length - len(heard)))
    mel_TxM = log_mel(heard)[: windows_of(data.sound_seconds)]
    return np.pad(mel_TxM, ((0, frames * data.sound_stack - len(mel_TxM)), (0, 0)), mode='edge').reshape(frames, width)


def read_wave(path: str) -> tuple[np.ndarray, int]:
    """The mean of a WAV file's channels, float32 in [-1, 1], and how many samples a second has."""
    try:
        with wave.open(path, 'rb') as file:
            channels, width, rate, count, *_ = file.getparams()
            content = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise UsageError(f'cannot be read as WAV of whole numbers ({first_line(error)})') from None
    whole = len(content) // (width * channels) * width * channels
    require(whole > 0, 'samples', 0, 'it is empty')
    octets = np.frombuffer(content[:whole], np.uint8).reshape(-1, width).astype(np.int64)
    if width == 1:  # 8 bits have no sign
        values = octets[:, 0] - 128
    else:
        values = (octets << (8 * np.arange(width))).sum(axis=1)
        values -= (values >> (8 * width - 1)) << (8 * width)
    return (values.reshape(-1, channels).mean(axis=1) / 2 ** (8 * width - 1)).astype(np.float32), rate


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """The sound at RATE samples a second."""
    from scipy.signal import resample_poly

    return samples if rate == RATE else resample_poly(samples, RATE, rate).astype(np.float32)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Powers of ten of what each band has in each window, scaled to about [-1, 1], T x BANDS float32.

    Hann windows whose middles are HOP samples apart. What is more than FLOOR below the loudest is raised to that, and 4 is
    added and all divided by 4 (Radford et al. 2023, section 2.2, as their code does it).
    """
    padded = np.pad(samples, WINDOW // 2)
    starts = np.arange(0, len(samples), HOP)
    pieces_TxW = padded[starts[:, None] + np.arange(WINDOW)[None]] * np.hanning(WINDOW + 1)[:-1]
    power_TxF = np.abs(np.fft.rfft(pieces_TxW, axis=1)) ** 2
    found = np.log10(np.maximum(power_TxF @ mel_filters().T, 1e-10))
    return ((np.maximum(found, found.max() - FLOOR) + 4.0) / 4.0).astype(np.float32)


def mel_filters() -> np.ndarray:
    """Triangles over the frequencies of a window, BANDS x (WINDOW / 2 + 1), equally far apart in mels, each of height 1.

    A frequency f in Hz is 2595 log10(1 + f / 700) mels (O'Shaughnessy 1987, p. 150).
    """
    top = 2595.0 * np.log10(1.0 + RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, BANDS + 2) / 2595.0) - 1.0)
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)[None]
    low, middle, high = (edges[k : BANDS + k, None] for k in range(3))
    return np.maximum(0.0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
