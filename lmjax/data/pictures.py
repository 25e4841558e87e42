"""Pictures as patches: squares of pixels from left to right and from top to bottom (Dosovitskiy et al. 2021, section 3.1)."""

from __future__ import annotations

import numpy as np

from lmjax.config import UsageError, first_line, require
from lmjax.data.config import DataConfig

COLOURS = 3


def picture_shape(data: DataConfig) -> tuple[int, int]:
    """How many patches a picture has, and the numbers of each. Raises UsageError where patches do not fill it."""
    size, patch = data.picture_size, data.patch_size
    require(patch >= 1, 'data.patch_size', patch, 'use 1 pixel or more, as 8')
    require(size >= patch and size % patch == 0, 'data.picture_size', size, f'must be a multiple of data.patch_size={patch}')
    return (size // patch) ** 2, COLOURS * patch**2


def read_picture(path: str, data: DataConfig) -> np.ndarray:
    """A picture's patches, P x F float32 in [-1, 1]: scaled to a square, on white where it is transparent.

    Raises UsageError for a file that is no picture, or cut.
    """
    from PIL import Image

    side = (data.picture_size, data.picture_size)
    try:
        with Image.open(path) as file:
            whole = file.convert('RGBA')
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f'cannot be read as a picture ({first_line(error)})') from None
    scaled = whole.resize(side, Image.Resampling.BOX if min(whole.size) >= side[0] else Image.Resampling.BILINEAR)
    white = Image.new('RGBA', side, (255, 255, 255, 255))
    pixels_SxSx3 = np.asarray(Image.alpha_composite(white, scaled).convert('RGB'), np.float32)
    return patches(pixels_SxSx3 / 127.5 - 1.0, data.patch_size)


def patches(pixels_SxSxC: np.ndarray, patch: int) -> np.ndarray:
    """S x S x C -> (S / patch)^2 x (patch^2 C)."""
    S, _, C = pixels_SxSxC.shape
    rows = pixels_SxSxC.reshape(S // patch, patch, S // patch, patch, C)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, patch * patch * C)
