"""pkt-bench: does moving parameters from a large teacher into a small student help?

This module is the front door. A plugin imports from here and from nowhere else in `pkt_bench`; every name loads the
room it lives in on first use, so the import itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pkt_bench.adapters import LLAMA_LIKE, adapted_modules, add_adapter, factors_of, module_path, plain_adapter
    from pkt_bench.code_eval import passes_tests
    from pkt_bench.data import Encoded, Locating, locating
    from pkt_bench.domain import (
        Architecture,
        Cell,
        Control,
        DataRef,
        Estimate,
        Executor,
        Job,
        Message,
        Method,
        ModelRef,
        Outcome,
        Pair,
        PromptSpec,
        Question,
        Record,
        Run,
        Score,
        Split,
        Suite,
        Task,
        Tracker,
    )
    from pkt_bench.errors import (
        ContractError,
        DivergedError,
        Interrupted,
        OverBudgetError,
        PktBenchError,
        RequestError,
        UnavailableError,
    )
    from pkt_bench.executors.base import Execute, Moments
    from pkt_bench.executors.lost import record_lost
    from pkt_bench.executors.phases import CellRunner
    from pkt_bench.factors import Factors, leading_factors, split_factors
    from pkt_bench.hookspecs import hookimpl
    from pkt_bench.mirrors import dataset_has, dataset_rows
    from pkt_bench.models import LoadedPair
    from pkt_bench.sandbox import Limits, Verdict, judge_code, judge_tests
    from pkt_bench.settings import AdapterSettings, FinetuneSettings, Settings
    from pkt_bench.starts import principal_start
    from pkt_bench.streaming import LayerStream, Passage
    from pkt_bench.tracking import facts_of
    from pkt_bench.training import Trained, cross_entropy, finetune, mean_loss, supervised_logits
    from pkt_bench.transfer import TransferContext, Transferred

__version__ = "0.1.0"

_ROOMS = {
    "adapters": ("LLAMA_LIKE", "adapted_modules", "add_adapter", "factors_of", "module_path", "plain_adapter"),
    "code_eval": ("passes_tests",),
    "data": ("Encoded", "Locating", "locating"),
    "domain": (
        "Architecture",
        "Cell",
        "Control",
        "DataRef",
        "Estimate",
        "Executor",
        "Job",
        "Message",
        "Method",
        "ModelRef",
        "Outcome",
        "Pair",
        "PromptSpec",
        "Question",
        "Record",
        "Run",
        "Score",
        "Split",
        "Suite",
        "Task",
        "Tracker",
    ),
    "errors": (
        "ContractError",
        "DivergedError",
        "Interrupted",
        "OverBudgetError",
        "PktBenchError",
        "RequestError",
        "UnavailableError",
    ),
    "executors.base": ("Execute", "Moments"),
    "executors.lost": ("record_lost",),
    "executors.phases": ("CellRunner",),
    "factors": ("Factors", "leading_factors", "split_factors"),
    "hookspecs": ("hookimpl",),
    "mirrors": ("dataset_has", "dataset_rows"),
    "models": ("LoadedPair",),
    "sandbox": ("Limits", "Verdict", "judge_code", "judge_tests"),
    "settings": ("AdapterSettings", "FinetuneSettings", "Settings"),
    "starts": ("principal_start",),
    "streaming": ("LayerStream", "Passage"),
    "tracking": ("facts_of",),
    "training": ("Trained", "cross_entropy", "finetune", "mean_loss", "supervised_logits"),
    "transfer": ("TransferContext", "Transferred"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "LLAMA_LIKE",
    "AdapterSettings",
    "Architecture",
    "Cell",
    "CellRunner",
    "ContractError",
    "Control",
    "DataRef",
    "DivergedError",
    "Encoded",
    "Estimate",
    "Execute",
    "Executor",
    "Factors",
    "FinetuneSettings",
    "Interrupted",
    "Job",
    "LayerStream",
    "Limits",
    "LoadedPair",
    "Locating",
    "Message",
    "Method",
    "ModelRef",
    "Moments",
    "Outcome",
    "OverBudgetError",
    "Pair",
    "Passage",
    "PktBenchError",
    "PromptSpec",
    "Question",
    "Record",
    "RequestError",
    "Run",
    "Score",
    "Settings",
    "Split",
    "Suite",
    "Task",
    "Tracker",
    "Trained",
    "TransferContext",
    "Transferred",
    "UnavailableError",
    "Verdict",
    "__version__",
    "adapted_modules",
    "add_adapter",
    "cross_entropy",
    "dataset_has",
    "dataset_rows",
    "factors_of",
    "facts_of",
    "finetune",
    "hookimpl",
    "judge_code",
    "judge_tests",
    "leading_factors",
    "locating",
    "mean_loss",
    "module_path",
    "passes_tests",
    "plain_adapter",
    "principal_start",
    "record_lost",
    "split_factors",
    "supervised_logits",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes have any type
    room = _HOMES.get(name)
    if room is None:
        raise AttributeError(f"module 'pkt_bench' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"pkt_bench.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
