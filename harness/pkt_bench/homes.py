"""Where pkt-bench keeps what it makes for itself: the cache of converted checkpoints and of digests."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Under PKT_BENCH_HOME, else where this system keeps a user's caches. All in it can be made again."""
    home = os.environ.get("PKT_BENCH_HOME")
    if home:
        return Path(home).expanduser().absolute() / "cache"
    import platformdirs

    return platformdirs.user_cache_path("pkt-bench")
