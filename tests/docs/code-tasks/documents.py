import json
import pathlib

import datasets


def test(**_):
    rows = json.loads((pathlib.Path(__file__).parent / "documents.json").read_text())
    return {"test": datasets.Dataset.from_list(rows)}
