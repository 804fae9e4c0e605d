"""lm-eval tasks of the benchmark data beside the repository, made in memory: five fixed shots, or none."""

from __future__ import annotations

import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def read(*names):
    """The rows of a data file."""
    return [json.loads(line) for line in DATA.joinpath(*names).read_text(encoding="utf-8").split("\n") if line]


def _task(name, shots, fewshot, test, **config):
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    def data(**_):
        return {"few": Dataset.from_list(fewshot), "test": Dataset.from_list(test)}

    task = ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": data,
            "test_split": "test",
            "fewshot_split": "few",
            "fewshot_config": {"sampler": "first_n"},
            "num_fewshot": shots,
            "metadata": {"version": 1},
            **config,
        }
    )
    task.set_fewshot_seed(1234)
    return task


_ACC = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}


def arc(documents, shots=5):
    """ARC-Easy as lm-eval asks it: the choices are texts."""
    rows = read("arc_easy", "test.jsonl")
    return _task(
        "arc_easy",
        shots,
        rows[:shots] or rows[:1],
        rows[5 : 5 + documents],
        output_type="multiple_choice",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_choice="{{choices}}",
        doc_to_target="{{answer}}",
        metric_list=[_ACC, {**_ACC, "metric": "acc_norm"}],
    )


def piqa(documents, shots=5):
    """PIQA as lm-eval asks it: the choices are texts."""
    rows = read("piqa", "test.jsonl")
    return _task(
        "piqa",
        shots,
        rows[:shots] or rows[:1],
        rows[5 : 5 + documents],
        output_type="multiple_choice",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_choice="{{choices}}",
        doc_to_target="{{answer}}",
        metric_list=[_ACC, {**_ACC, "metric": "acc_norm"}],
    )


def mmlu(documents, subject="high_school_geography", shots=5):
    """A subject of MMLU as lm-eval asks it: the choices are letters."""
    return _task(
        f"mmlu_{subject}",
        shots,
        read("mmlu", "dev", f"{subject}.jsonl"),
        read("mmlu", "test", f"{subject}.jsonl")[:documents],
        output_type="multiple_choice",
        description=f"The following are multiple choice questions (with answers) about {subject}.\n\n".replace(
            "_", " "
        ),
        doc_to_text=(
            "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
        ),
        doc_to_choice=["A", "B", "C", "D"],
        doc_to_target="answer",
        metric_list=[_ACC],
    )


def gsm8k(documents, shots=5, most=64):
    """GSM8K as lm-eval asks it, with shorter answers."""
    return _task(
        "gsm8k",
        shots,
        read("gsm8k", "train.jsonl")[: shots or 1],
        read("gsm8k", "test.jsonl")[:documents],
        output_type="generate_until",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "max_gen_toks": most},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        filter_list=[
            {
                "name": "strict-match",
                "filter": [
                    {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"},
                    {"function": "take_first"},
                ],
            }
        ],
    )
