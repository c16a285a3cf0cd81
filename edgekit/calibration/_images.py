"""A folder of pictures as samples of one input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.ir.preprocessing import Preprocessing
from edgekit.vocabulary import Layout

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File names that are taken for pictures."""


@dataclass(frozen=True)
class ImageFolder:
    """Pictures in the order of their paths.

    Attributes:
        files: the pictures, sorted.
        labels: index of each picture's class sub-folder (sorted by name); None unless every
            picture lies in one.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64] | None

    @classmethod
    def open(cls, folder: Path) -> ImageFolder:
        """List a folder and its sub-folders; hidden files are skipped.

        Raises:
            DataError: if it holds no picture.
        """
        found = sorted(
            (path.relative_to(folder) for path in folder.rglob("*") if _is_picture(path, folder)),
            key=lambda path: path.as_posix(),
        )
        if not found:
            raise DataError(
                f"the folder '{folder}' holds no pictures.",
                hint=f"pictures end in {', '.join(sorted(SUFFIXES))}",
            )
        labels = None
        if all(len(path.parts) > 1 for path in found):
            classes = {name: i for i, name in enumerate(sorted({p.parts[0] for p in found}))}
            labels = np.array([classes[path.parts[0]] for path in found], np.int64)
        return cls(tuple(folder / path for path in found), labels)


def load_image(path: Path, steps: Preprocessing) -> NDArray[Any]:
    """Decode one picture and preprocess it.

    Args:
        path: the file.
        steps: what is done to it.

    Returns:
        [H, W, C] or [C, H, W]; uint8 where the steps leave pixel values alone, else float32.

    Raises:
        DataError: if the file is not a whole picture, or smaller than the crop.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            decoded = picture.convert("L" if steps.color == "gray" else "RGB")
            if steps.resize is not None:
                height, width = steps.resize
                decoded = decoded.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(decoded)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
        raise DataError(f"the picture '{path}' cannot be read: {e}.") from e
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return _finish(_cropped(pixels, steps, path), steps)


def _is_picture(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def _cropped(pixels: NDArray[Any], steps: Preprocessing, path: Path) -> NDArray[Any]:
    if steps.crop is None:
        return pixels
    height, width = steps.crop
    if pixels.shape[0] < height or pixels.shape[1] < width:
        raise DataError(
            f"the picture '{path}' is {pixels.shape[0]}×{pixels.shape[1]}, "
            f"smaller than the crop of {height}×{width}.",
            hint="resize before cropping",
        )
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _finish(pixels: NDArray[Any], steps: Preprocessing) -> NDArray[Any]:
    if steps.color == "bgr":
        pixels = pixels[..., ::-1]
    mean, std = np.array(steps.mean, np.float32), np.array(steps.std, np.float32)
    if steps.scale != 1.0 or mean.any() or (std != 1).any():
        pixels = (pixels.astype(np.float32) * np.float32(steps.scale) - mean) / std
    if steps.layout == Layout.NCHW:
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels)
