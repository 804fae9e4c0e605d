"""What the YAML files beside this one call: documents from the generators, and the judge of code answers."""

from typing import TYPE_CHECKING, Any

from pkt_bench_tiny import arithmetic, code, knowledge
from pkt_bench_tiny.splits import SPLITS

if TYPE_CHECKING:
    from datasets import DatasetDict


def _dataset(rows: dict[str, list[dict[str, Any]]]) -> "DatasetDict":
    from datasets import Dataset, DatasetDict

    return DatasetDict({split: Dataset.from_list(members) for split, members in rows.items()})


def knowledge_documents(**_metadata: object) -> "DatasetDict":
    """Questions about facts, each with four choices."""
    return _dataset(
        {
            split: [
                {"prompt": item.prompt, "choices": list(item.choices), "gold": item.gold}
                for item in knowledge.items(split)
            ]
            for split in SPLITS
        }
    )


def arithmetic_documents(**_metadata: object) -> "DatasetDict":
    """Word problems, with the chain and the number it ends in."""
    return _dataset(
        {
            split: [
                {"prompt": item.prompt, "answer": item.answer, "number": str(item.number)}
                for item in arithmetic.items(split)
            ]
            for split in SPLITS
        }
    )


def code_documents(**_metadata: object) -> "DatasetDict":
    """Functions to complete. `cases` is JSON, since results may be lists or numbers."""
    import json

    return _dataset(
        {
            split: [
                {"prompt": item.prompt, "answer": item.answer, "cases": json.dumps(item.cases)}
                for item in code.items(split)
            ]
            for split in SPLITS
        }
    )


def judge(document: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Run prompt plus generated body on the probes, in the sandbox of the harness; all must agree.

    Raises:
        pkt_bench.UnavailableError: the sandbox itself failed. That is no wrong answer, and must not become a 0.
    """
    import json

    from pkt_bench import UnavailableError, judge_code

    cases = [(tuple(arguments), expected) for arguments, expected in json.loads(document["cases"])]
    verdict = judge_code(document["prompt"] + results[0], code.ENTRY_POINT, cases)
    if not verdict.scored:
        raise UnavailableError(
            f"the sandbox ({verdict.backend}) failed while it judged an answer, which says nothing about the answer:"
            f" {verdict.detail}\n  Run the cell again; if it stays, say what this machine is."
        )
    return {"pass_at_1": float(verdict.passed)}
