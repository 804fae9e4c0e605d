"""Imported once by the server that cells fork from, so that each starts in milliseconds instead of seconds.

Nothing here may start a thread or touch a device: a fork would inherit half of it.
"""

import gc
import threading

import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks
import peft
import safetensors.torch
import torch
import tqdm
import transformers

import pkt_bench.executors.checking
import pkt_bench.executors.child
import pkt_bench.fastscore.lm

# tqdm's own lock is a semaphore of the system, which a process that is killed leaves behind
tqdm.tqdm.set_lock(threading.RLock())

# what is here stays: a child that collects garbage must not copy the pages of all of it by looking at it
gc.collect()
gc.freeze()

__all__ = ["lm_eval", "peft", "pkt_bench", "safetensors", "torch", "transformers"]
