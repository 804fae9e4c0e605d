"""What runs inside the sandbox; the parent imports of it only what both sides speak.

Everything here is stdlib-only and uses relative imports, because the child loads this folder by its path
(see `start.py`) without importing `pkt_bench` itself: a child costs milliseconds, not a harness.
"""
