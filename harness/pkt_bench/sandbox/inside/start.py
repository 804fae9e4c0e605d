"""The child's first file: loads its siblings by folder, without `pkt_bench`, and hands over to `nursery.py`."""

import os
import sys

_package = type(sys)("inside")
_package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120 pathlib costs 5 ms
sys.modules["inside"] = _package
__import__("inside.nursery", fromlist=["main"]).main()
