"""Where in a teacher's matrix the student-sized block with the largest summed sensitivity lies: exact, in one scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STRIP = 128  # border rows scanned at once: bounds the float64 copies, and few enough calls to keep overhead small


@dataclass(frozen=True)
class Window:
    """A contiguous block of a matrix: its top-left corner, its sum, and the mean sum over all blocks of its shape."""

    row: int
    column: int
    total: float
    mean: float

    @property
    def contrast(self) -> float:
        """How much the best block stands out: its sum over the mean sum (1: any block is as good)."""
        return self.total / self.mean if self.mean > 0 else 1.0


def best_window(scores: torch.Tensor, rows: int, columns: int) -> Window:
    """The contiguous `rows x columns` block of `scores` with the largest sum; of equal ones the first, row by row.

    The published code builds a summed-area table and visits every corner in a Python loop. Here, with W[i, j] the sum
    of the block whose corner is (i, j), and R[i, j] that of `columns` entries of row i from j on,

        W[0, j] = W[0, j-1] + v[columns + j - 1] - v[j - 1]         v[c] = sum_{r < rows} S[r, c]
        W[i, j] = W[i-1, j] + R[rows + i - 1, j] - R[i - 1, j]
        R[i, j] = R[i, j-1] + S[i, columns + j - 1] - S[i, j - 1]

    so one read of the matrix and a second one of its border are enough. Sums are float64; no table is built, and
    working memory is a few times `STRIP` rows.

    Args:
        scores: `(X, Y)`, finite.
        rows: height of the block, 1 to X.
        columns: width of the block, 1 to Y.

    Raises:
        ValueError: the block does not fit, or a score is NaN or infinite.
    """
    height, width = scores.shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise ValueError(f"a block of {rows} x {columns} does not fit a matrix of {height} x {width}")
    corners, per_row = height - rows + 1, width - columns + 1
    blocks = _window_sums(_column_sums(scores[:rows])[None], None, columns)
    found = _Best(per_row)
    found.look(0, blocks)
    for start in range(1, corners, STRIP):
        stop = min(start + STRIP, corners)
        steps = _window_sums(scores[rows + start - 1 : rows + stop - 1], scores[start - 1 : stop - 1], columns)
        steps[0] += blocks[-1]
        blocks = steps.cumsum(0)
        found.look(start, blocks)
    return Window(found.row, found.column, found.total, found.sum / (corners * per_row))


class _Best:
    """The running maximum of the scan: strictly larger wins, so the first of equals stays."""

    def __init__(self, per_row: int) -> None:
        self.per_row = per_row
        self.total, self.sum, self.row, self.column = -math.inf, 0.0, 0, 0

    def look(self, start: int, blocks: torch.Tensor) -> None:
        """Takes in `blocks` `(k, per_row)`, the sums of the blocks whose corners lie in rows `start` to `start + k`."""
        self.sum += float(blocks.sum())
        if not math.isfinite(self.sum):
            raise ValueError(f"the scores hold NaN or infinity (met at corner row {start} or soon after)")
        largest = float(blocks.max())
        if largest > self.total:
            # max and search apart: torch's argmax does not promise which one of equal maxima it names
            where = int((blocks.flatten() == largest).nonzero()[0])
            self.total, self.row, self.column = largest, start + where // self.per_row, where % self.per_row


def _window_sums(entering: torch.Tensor, leaving: torch.Tensor | None, length: int) -> torch.Tensor:
    """Sums over `length` neighbouring columns of `entering - leaving`: `(k, Y)` to float64 `(k, Y - length + 1)`."""
    import torch

    count = entering.shape[1] - length + 1
    sums = torch.empty(entering.shape[0], count, dtype=torch.float64, device=entering.device)
    sums[:, 0] = entering[:, :length].sum(1, dtype=torch.float64)
    sums[:, 1:] = entering[:, length:]
    sums[:, 1:] -= entering[:, : count - 1]
    if leaving is not None:
        sums[:, 0] -= leaving[:, :length].sum(1, dtype=torch.float64)
        sums[:, 1:] -= leaving[:, length:]
        sums[:, 1:] += leaving[:, : count - 1]
    return sums.cumsum(1)


def _column_sums(scores: torch.Tensor) -> torch.Tensor:
    """Column sums `(Y,)` of `(X, Y)` in float64, with a bounded float64 copy."""
    import torch

    sums = torch.zeros(scores.shape[1], dtype=torch.float64, device=scores.device)
    for part in scores.split(64):
        sums += part.sum(0, dtype=torch.float64)
    return sums
