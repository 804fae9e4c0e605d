"""Where in a matrix the student-sized block with the largest summed sensitivity lies, exactly; other choices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

GROUP = 16  # float32 terms added before float64 or a prefix takes over: keeps the rounding bound, and the box, small
ROUNDINGS = 40  # of the float32 scan, each at most 2^-24 of the border's mass; derived in `_rough_scan`
STRIP = 128  # rows turned to float64 at once


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


@dataclass(frozen=True)
class _Scan:
    """The best corner of a scan, and sums in excess of the first corner's: the best one's and the mean over all."""

    row: int
    column: int
    above: float
    mean_above: float


def best_window(scores: torch.Tensor, rows: int, columns: int) -> Window:
    """The contiguous `rows x columns` block of `scores` with the largest sum; of equal ones the first, row by row.

    The published code builds a summed-area table and visits every corner in a Python loop. Here, with W[i, j] the sum
    of the block whose corner is (i, j), v[c] that of the first `rows` entries of column c and q[r] that of the first
    `columns` entries of row r, W - W[0, 0] is the running sum over rows and columns of

        M[0, j] = v[columns + j - 1] - v[j - 1]         M[i, 0] = q[rows + i - 1] - q[i - 1]
        M[i, j] = S[rows + i - 1, columns + j - 1] - S[i - 1, columns + j - 1]
                  - S[rows + i - 1, j - 1] + S[i - 1, j - 1]

    so one read of the matrix and a second one of its border are enough. A float32 scan with a proven rounding bound
    leaves the corners that can be best, mostly one; a float64 scan of the box around them decides. Sums that overflow
    float32, other dtypes and other devices are scanned in float64 at once.

    Args:
        scores: `(X, Y)`, finite and not negative, as sums of absolute values are. (Of scores with negative entries the
            block is the best one up to float32 rounding.)
        rows: height of the block, 1 to X.
        columns: width of the block, 1 to Y.

    Returns:
        The corner as float64 sums give it; `total` and `mean` to a relative 1e-6, exact for small integers.

    Raises:
        ValueError: the block does not fit, or a score is NaN or infinite.
    """
    import torch

    height, width = scores.shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise ValueError(f"a block of {rows} x {columns} does not fit a matrix of {height} x {width}")
    scores = scores.detach()
    if scores.dtype == torch.float32 and scores.device.type == "cpu":
        found = _rough_scan(scores, rows, columns)
        if found is not None:
            return found
    first = sum(float(part.sum(dtype=torch.float64)) for part in scores[:rows, :columns].split(STRIP))
    scan = _exact_scan(scores, rows, columns)
    if not math.isfinite(first + scan.mean_above):
        raise ValueError("the scores hold NaN or infinity")
    return Window(scan.row, scan.column, first + scan.above, first + scan.mean_above)


def best_rows_columns(scores: torch.Tensor, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `rows` rows and, independently, the `columns` columns with the largest mean score; of equal ones the lower.

    The published ablation `row_column`: rows and columns need not be neighbours, and keep their order.

    Args:
        scores: `(X, Y)`, finite.
        rows: number of rows, 1 to X.
        columns: number of columns, 1 to Y.

    Returns:
        Rising row indices `(rows,)` and column indices `(columns,)`, int64.

    Raises:
        ValueError: more rows or columns are asked than there are, or a score is NaN or infinite.
    """
    import torch

    height, width = scores.shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise ValueError(f"{rows} rows and {columns} columns cannot be picked from a matrix of {height} x {width}")
    by_row = torch.cat([part.sum(1, dtype=torch.float64) for part in scores.split(STRIP)])
    by_column = torch.stack([part.sum(0, dtype=torch.float64) for part in scores.split(STRIP)]).sum(0)
    if not (by_row.isfinite().all() and by_column.isfinite().all()):
        raise ValueError("the scores hold NaN or infinity")

    def largest(sums: torch.Tensor, count: int) -> torch.Tensor:
        return sums.argsort(descending=True, stable=True)[:count].sort().values

    return largest(by_row, rows), largest(by_column, columns)


def _rough_scan(scores: torch.Tensor, rows: int, columns: int) -> Window | None:
    """The best window by a float32 scan, settled in float64 where rounding leaves a choice; None where float32 fails.

    An entry of the border goes through at most `GROUP - 1` additions in its group, 3 on the way into M and `GROUP + 2`
    in the running sums: fewer than `ROUNDINGS`, each off by at most 2^-24 of the sum of all entries used.
    """
    import numpy as np
    import torch

    height, width = scores.shape
    down, across = height - rows, width - columns
    left, right = scores[:, :across], scores[:, columns:]
    v = _down(scores[:rows]).double().sum(0).numpy()
    entering, leaving = _along(scores[rows:, :columns]), _along(scores[:down, :columns])
    used = float(v[:across].sum() + v[columns:].sum())
    used += float(entering.sum() + leaving.sum() + right[rows:].sum() + right[:down].sum())
    first = float(v[:columns].sum())
    groups = -(-(down + 1) // GROUP)
    steps = torch.empty(groups * GROUP, across + 1)
    inner = torch.sub(right[rows:], left[rows:], out=steps[1 : down + 1, 1:])
    inner.sub_(right[:down]).add_(left[:down])
    with np.errstate(all="ignore"):  # scores that are not finite are the float64 scan's to refuse
        grid = steps.numpy()
        grid[0, 0], grid[down + 1 :] = 0, 0
        grid[0, 1:] = v[columns:] - v[:across]
        grid[1 : down + 1, 0] = (entering - leaving).double().sum(1)
        torch.cumsum(steps, 1, out=steps)
        # running sums down the rows as products with a small triangle: a strided cumsum is several times slower
        within = np.matmul(_triangle(GROUP), grid.reshape(groups, GROUP, across + 1))
        if groups > 1:
            within[1:] += (_triangle(groups - 1) @ within[:-1, -1])[:, None]
    above = within.reshape(-1, across + 1)[: down + 1]
    mean = first + float(torch.from_numpy(above).sum()) / above.size
    margin = 2 * (ROUNDINGS + groups) * 2.0**-24 * used
    if not math.isfinite(mean + margin):
        return None
    row, column = divmod(int(above.argmax()), across + 1)
    close = np.flatnonzero(above >= above[row, column] - margin)
    if len(close) > 1:
        close_rows, close_columns = np.divmod(close, across + 1)
        row, column = int(close_rows[0]), int(close_columns.min())
        box = scores[row : int(close_rows[-1]) + rows, column : int(close_columns.max()) + columns]
        settled = _exact_scan(box, rows, columns)
        row, column = row + settled.row, column + settled.column
    return Window(row, column, first + float(above[row, column]), mean)


@cache
def _triangle(side: int) -> np.ndarray:
    """Ones on and below the diagonal, float32: what sums `side` rows up."""
    import numpy as np

    return np.tri(side, dtype=np.float32)


def _down(scores: torch.Tensor) -> torch.Tensor:
    """Sums `(ceil(X / GROUP), Y)` of every `GROUP` neighbouring rows of a float32 `(X, Y)` on the CPU."""
    import numpy as np
    import torch

    height, width = scores.shape
    full = height // GROUP
    sums = torch.empty(-(-height // GROUP), width)
    grouped = scores[: full * GROUP].numpy().reshape(full, GROUP, width)
    with np.errstate(all="ignore"):
        np.matmul(np.ones(GROUP, np.float32), grouped, out=sums[:full].numpy())  # half the time of a strided sum
    if full < len(sums):
        sums[full] = scores[full * GROUP :].sum(0)
    return sums


def _along(scores: torch.Tensor) -> torch.Tensor:
    """Sums of at most `GROUP` columns at a time of a float32 `(X, Y)`, each entry in one: `(X, ceil(Y / GROUP))`."""
    import torch

    width = scores.shape[1]
    full = width // GROUP
    sums = scores[:, : full * GROUP].unflatten(1, (GROUP, full)).sum(1)
    if full * GROUP < width:
        sums = torch.cat([sums, scores[:, full * GROUP :].sum(1, keepdim=True)], 1)
    return sums


def _exact_scan(scores: torch.Tensor, rows: int, columns: int) -> _Scan:
    """The same search in float64, `STRIP` rows at a time, on any device; what all blocks share is not even read."""
    import torch

    height, width = scores.shape
    down, across = height - rows, width - columns
    line = torch.zeros(across + 1, dtype=torch.float64, device=scores.device)
    for part in scores[:rows].split(max(STRIP, 2**18 // (across + 1))):
        line[1:] += part[:, columns:].sum(0, dtype=torch.float64) - part[:, :across].sum(0, dtype=torch.float64)
    line = line.cumsum(0)
    found = _Best()
    found.look(0, line[None])
    for start in range(0, down, STRIP):
        stop = min(start + STRIP, down)
        entering, leaving = scores[rows + start : rows + stop].double(), scores[start:stop].double()
        change = entering - leaving
        steps = torch.empty(stop - start, across + 1, dtype=torch.float64, device=scores.device)
        steps[:, 0] = change[:, :columns].sum(1)
        steps[:, 1:] = change[:, columns:] - change[:, :across]
        block = steps.cumsum(1)
        block[0] += line
        block = block.cumsum(0)
        found.look(start + 1, block)
        line = block[-1]
    return _Scan(found.row, found.column, found.above, found.sum / ((down + 1) * (across + 1)))


class _Best:
    """The running maximum of the scan: strictly larger wins, so the first of equals stays."""

    def __init__(self) -> None:
        self.above, self.sum, self.row, self.column = -math.inf, 0.0, 0, 0

    def look(self, start: int, blocks: torch.Tensor) -> None:
        """Takes in `blocks` `(k, corners of a row)`, whose first row holds the corners of row `start`."""
        self.sum += float(blocks.sum())
        largest = float(blocks.max())
        if largest > self.above:
            # max and search apart: torch's argmax does not promise which one of equal maxima it names
            where = int((blocks.flatten() == largest).nonzero()[0])
            self.above, self.row, self.column = largest, start + where // blocks.shape[1], where % blocks.shape[1]
