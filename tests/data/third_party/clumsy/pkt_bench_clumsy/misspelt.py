"""A plugin whose hook is misspelt."""

from pkt_bench import hookimpl


@hookimpl
def pkt_bench_metods():
    """Meant to be pkt_bench_methods."""
    return []
