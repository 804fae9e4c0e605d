"""Boards over Arrow tables of runs: the schema, the fold that ranks, its statistics, and how numbers are written.

Needs pyarrow and numpy only, imported where they are used, so this package costs nothing to import. It knows nothing
of torch or of the harness: whoever has a table of runs in this schema has a board.
"""

from __future__ import annotations
