"""Score a checkpoint on the suites through the stock lm-eval library, on the validation or the test split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

TASK_PATH: Final = Path(__file__).parent / "tasks"

METRICS: Final = {
    "knowledge": "acc,none",
    "arithmetic": "exact_match,final-number",
    "code": "pass_at_1,none",
}
"""The headline figure of each suite, as lm-eval names it."""


@dataclass(frozen=True)
class Figure:
    """A mean over `n` items with its standard error."""

    value: float
    stderr: float
    n: int


def score(
    checkpoint: Path, split: Literal["validation", "test"], suites: tuple[str, ...] = tuple(METRICS)
) -> dict[str, Figure]:
    """One figure per suite. Code answers run in the harness's sandbox.

    Raises:
        pkt_bench.UnavailableError: if no sandbox can be had for the code suite.
    """
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    scorer = HFLM(
        pretrained=model,
        tokenizer=AutoTokenizer.from_pretrained(checkpoint),
        batch_size=50,
        device="cpu",
        add_bos_token=True,
    )
    names = [f"tiny_{suite}" for suite in suites]
    tasks = list(TaskManager(include_defaults=False, include_path=str(TASK_PATH)).load(names)["tasks"].values())
    for task in tasks:
        task.config.test_split = split
    found = simple_evaluate(
        model=scorer,
        tasks=tasks,
        num_fewshot=0,
        bootstrap_iters=0,
        log_samples=False,
    )
    figures = {}
    for suite in suites:
        row, name = found["results"][f"tiny_{suite}"], METRICS[suite]
        value, n = float(row[name]), int(found["n-samples"][f"tiny_{suite}"]["effective"])
        figures[suite] = Figure(value, (value * (1 - value) / (n - 1)) ** 0.5, n)
    return figures
