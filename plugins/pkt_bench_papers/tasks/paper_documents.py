"""What the YAML files beside this one call: test documents of the suites, and the judges of their answers."""

from typing import TYPE_CHECKING, Any

from pkt_bench_papers import gsm8k, humaneval, mbpp, mmlu

if TYPE_CHECKING:
    from datasets import DatasetDict


def _test(rows: list[dict[str, Any]]) -> "DatasetDict":
    from datasets import Dataset, DatasetDict

    return DatasetDict({"test": Dataset.from_list(rows)})


def gsm8k_documents(**_metadata: object) -> "DatasetDict":
    """Questions, and the number that is right."""
    return _test(gsm8k.test_rows())


def gsm8k_text_documents(**_metadata: object) -> "DatasetDict":
    """Questions, and the whole of the reference answer."""
    return _test(gsm8k.text_rows())


def mmlu_documents(**_metadata: object) -> "DatasetDict":
    """Questions with choices, all subjects in turn, and the five shots of each."""
    return _test(mmlu.test_rows())


def humaneval_documents(**_metadata: object) -> "DatasetDict":
    """Functions to complete, and their tests."""
    return _test(humaneval.test_rows())


def mbpp_documents(**_metadata: object) -> "DatasetDict":
    """Functions to write, and their asserts."""
    return _test(mbpp.test_rows())


def last_number(document: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Exact match of the last number."""
    return {"exact_match": float(gsm8k.is_right(results[0], document["number"]))}


def bits_of_the_answer(document: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """What the reference answer costs: -log2 of its probability, a byte of it."""
    from math import log

    return {"answer_bits_per_byte": -results[0][0] / log(2) / len(document["answer"].encode())}


def completed(document: dict[str, Any], results: list[Any]) -> dict[str, float]:
    """Whether the prompt with the answer behind it passes the tests: of several answers, which share of them does."""
    answers = results[0] if isinstance(results[0], list) else results
    programs = [document["prompt"] + answer for answer in answers]
    return {"pass_at_1": _share(programs, document["tests"], document["entry_point"], prelude=document["prompt"])}


def completed_in_fence(document: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The same of an answer that goes on in a code fence, to where that is closed."""
    return completed(document, [results[0].partition("```")[0]])


def written(document: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the program in the answer passes the asserts."""
    tests = "\n".join(document["tests"])
    return {"pass_at_1": _share([mbpp.program_of(results[0])], tests, document["entry_point"])}


def _share(programs: list[str], tests: str, entry_point: str, prelude: str = "") -> float:
    """The share of programs that pass, in the sandbox of the harness.

    Raises:
        pkt_bench.UnavailableError: the sandbox itself failed. That is no wrong answer, and must not become a 0.
    """
    from pkt_bench import passes_tests

    return sum(passes_tests(each, tests, entry_point, prelude) for each in programs) / len(programs)
