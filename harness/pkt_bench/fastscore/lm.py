"""FastLM: lm-eval's HFLM, with shared contexts computed once, and the same numbers."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, has_bos_prefix, normalize_gen_kwargs, postprocess_generated_text

from pkt_bench.fastscore import parity
from pkt_bench.fastscore.engine import Engine
from pkt_bench.fastscore.families import causal_model, why_not
from pkt_bench.fastscore.generation import Limits, generate
from pkt_bench.fastscore.likelihood import log_likelihoods
from pkt_bench.fastscore.memory import (
    COLUMNS_PER_DOCUMENT,
    LOGITS_PER_TOKEN,
    SEQUENCES_PER_DOCUMENT,
    TOKENS_PER_DOCUMENT,
)
from pkt_bench.fastscore.stops import Stops
from pkt_bench.fastscore.tree import key

# of a model's generation settings, those that leave greedy decoding as it is
_HARMLESS = frozenset(
    {"bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "max_length", "max_new_tokens"}
    | {"do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "use_cache", "cache_implementation"}
    | {"_from_model_config", "output_attentions", "output_hidden_states", "return_dict_in_generate"}
)
_UNDERSTOOD = frozenset({"until", "max_gen_toks", "do_sample", "temperature"})

Encoded = tuple[tuple[str, str] | None, list[int], list[int]]
"""A request of lm-eval's: its strings, its context and its continuation as tokens."""


@dataclass
class Count:
    """What scoring took, and how it compared with stock lm-eval.

    Attributes:
        tokens_computed: tokens that went through the model, those of the sample and of stock lm-eval left out.
        tokens_distinct: tokens that had to.
        parity_requests: requests put to stock lm-eval as well.
        parity_max_dloglik: the largest difference of a log-likelihood among them; None where there was none.
        fast, stock: requests scored either way.
        reasons: in words why some were scored by stock lm-eval.
    """

    tokens_computed: int = 0
    tokens_distinct: int = 0
    parity_requests: int = 0
    parity_max_dloglik: float | None = None
    fast: int = 0
    stock: int = 0
    reasons: list[str] = field(default_factory=list)

    def described(self, lm: FastLM) -> dict[str, Any]:
        """For a row: by name, as JSON has it."""
        return {
            "batch_size": lm.batch_size,
            "batch_tokens": lm.pass_tokens,
            "parity_requests": self.parity_requests,
            "parity_max_dloglik": self.parity_max_dloglik,
            "tokens_computed": self.tokens_computed,
            "tokens_distinct": self.tokens_distinct,
            "requests_fast": self.fast,
            "requests_stock": self.stock,
            "reasons": list(self.reasons),
        }

    def say(self, reason: str, requests: int) -> None:
        """Notes that some requests were left to stock lm-eval."""
        self.stock += requests
        if reason not in self.reasons:
            self.reasons.append(reason)


class FastLM(HFLM):
    """An HFLM that gives the same numbers for less work, and stock's own wherever it is not known to.

    Attributes:
        count: what it did so far.
    """

    def __init__(self, pretrained: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as HFLM's
        super().__init__(pretrained=pretrained, **kwargs)
        self.count = Count()
        self._why_not = why_not(pretrained)

    @property
    def pass_tokens(self) -> int:
        """Tokens of one pass."""
        return TOKENS_PER_DOCUMENT * int(self.batch_size)

    # ------------------------------------------------------------ tokens

    def _encode(self, strings: Sequence[str], begin: str | None) -> dict[str, list[int]]:
        """The tokens of each string, as `tok_encode` gives them; one that begins with `begin` gets no second one."""
        found: dict[str, list[int]] = {}
        begun = {string for string in strings if has_bos_prefix(string, begin)}
        for some, special in (
            (begun, {"add_special_tokens": False}),
            (set(strings) - begun, {} if self.add_bos_token is None else {"add_special_tokens": self.add_bos_token}),
        ):
            if some:
                listed = sorted(some)
                found |= dict(zip(listed, self.tokenizer(listed, **special)["input_ids"], strict=True))
        return found

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: FBT001 - HFLM's
        """As HFLM's, each string tokenised once."""
        if self._why_not is not None or self.backend != "causal":
            return super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        whole: dict[tuple[str, str], tuple[str, str]] = {}
        for context, continuation in (request.args for request in requests):
            # spaces at the end of a context belong to its continuation, as lm-eval has it
            bare = context.rstrip()
            whole[context, continuation] = (bare, context + continuation)
        plain = [pair for pair in whole if pair[0]]
        known = self._encode(
            [string for pair in plain for string in whole[pair]], self.tokenizer.decode(self.prefix_token_id)
        )
        encoded: dict[tuple[str, str], Encoded] = {}
        for pair in plain:
            bare, both = whole[pair]
            context = known[bare]
            encoded[pair] = (pair, context, known[both][len(context) :])
        return self._loglikelihood_tokens(
            [encoded.get(request.args) or self._after_nothing(*request.args) for request in requests],
            disable_tqdm=disable_tqdm,
        )

    def _after_nothing(self, context: str, continuation: str) -> Encoded:
        """A continuation of the empty context follows the begin token, as lm-eval has it."""
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens[0] == self.prefix_token_id:
            return (context, continuation), tokens[:1], tokens[1:]
        return (context, continuation), [self.prefix_token_id], tokens

    # ------------------------------------------------------------ log-likelihoods

    def _loglikelihood_tokens(
        self,
        requests: list[Encoded],
        disable_tqdm: bool = False,  # noqa: FBT001 - HFLM's
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """As HFLM's, over one tree of all requests."""
        reason = self._why_not or ("log-likelihoods of whole texts" if override_bs is not None else None)
        if reason is not None or not requests:
            self.count.say(reason or "", len(requests)) if requests else None
            return super()._loglikelihood_tokens(requests, disable_tqdm=disable_tqdm, override_bs=override_bs)
        ours = self._ours(requests)
        numbers = [number for alike in ours for number in alike]
        answer_of = dict(zip(numbers, self._fast([requests[number][1:] for number in numbers]), strict=True))
        if ours and (why := self._compare(requests, ours, answer_of)) is not None:
            self.count.say(why, len(numbers))
            answer_of = {}
        self.count.fast += len(answer_of)
        rest = [number for number in range(len(requests)) if number not in answer_of]
        if rest:
            stock = super()._loglikelihood_tokens([requests[number] for number in rest], disable_tqdm=disable_tqdm)
            answer_of |= dict(zip(rest, stock, strict=True))
        return [answer_of[number] for number in range(len(requests))]

    def _ours(self, requests: Sequence[Encoded]) -> list[list[int]]:
        """The requests that a tree answers as stock lm-eval does, those together that read the same tokens."""
        alike: dict[bytes, list[int]] = {}
        long = 0
        for number, (_, context, continuation) in enumerate(requests):
            if not context or not continuation or len(context) + len(continuation) > self.max_length + 1:
                long += 1
            else:
                alike.setdefault(key(context, continuation[:-1]), []).append(number)
        if long:
            self.count.say("requests longer than the model's window, or of no tokens", long)
        # stock lm-eval takes the logits of the longest for all of them, from its begin
        mixed = [text for text, numbers in alike.items() if len({len(requests[each][2]) for each in numbers}) > 1]
        for each in mixed:
            self.count.say("one text cut into context and continuation in several places", len(alike.pop(each)))
        return list(alike.values())

    def _fast(self, requests: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        tokens = self.pass_tokens
        longest = max((len(context) + len(continuation) for context, continuation in requests), default=0)
        engine = Engine(self.model, longest + tokens)
        vocabulary = causal_model(self.model).get_output_embeddings().weight.shape[0]
        asks = min(tokens, max(1, tokens * LOGITS_PER_TOKEN // vocabulary))
        answers = log_likelihoods(engine, requests, tokens, asks) if requests else []
        self._counted(engine)
        return answers

    def _counted(self, engine: Engine) -> None:
        self.count.tokens_computed += engine.tokens_computed
        self.count.tokens_distinct += engine.tokens_distinct

    def _compare(
        self, requests: Sequence[Encoded], texts: Sequence[list[int]], answers: Mapping[int, tuple[float, bool]]
    ) -> str | None:
        """Puts a sample to stock lm-eval; in words what is not alike."""
        # stock reads a text once for all continuations that differ in their last token
        costs = [len(requests[alike[0]][1]) + len(requests[alike[0]][2]) for alike in texts]
        chosen = [number for place in parity.sample(costs) for number in texts[place]]
        stock = super()._loglikelihood_tokens([requests[number] for number in chosen], disable_tqdm=True)
        self.count.parity_requests += len(chosen)
        dtype = str(causal_model(self.model).dtype).removeprefix("torch.")
        why = None
        for (ours, greedy), (value, stock_greedy) in zip((answers[number] for number in chosen), stock, strict=True):
            if math.isnan(ours) and math.isnan(value):
                continue
            difference = abs(ours - value)
            if math.isfinite(difference):
                self.count.parity_max_dloglik = max(self.count.parity_max_dloglik or 0.0, difference)
            if not difference <= parity.tolerance(dtype, value):
                why = f"a log-likelihood of {value:.6g} came out as {ours:.6g}"
            elif greedy != stock_greedy and dtype == "float32":
                why = "a continuation is greedy in one and not in the other"
        return why

    # ------------------------------------------------------------ generations

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: FBT001 - HFLM's
        """As HFLM's with batches of one, all contexts growing together."""
        answers: dict[int, str] = {}
        alike: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            alike.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(number)
        rest: list[int] = []
        for numbers in alike.values():
            some = [requests[number] for number in numbers]
            reason = self._why_not or self._why_not_greedy(some[0].args[1])
            found = reason or self._generated(some)
            if isinstance(found, str):
                self.count.say(found, len(numbers))
                rest += numbers
            else:
                self.count.fast += len(numbers)
                answers |= dict(zip(numbers, found, strict=True))
        if rest:
            rest.sort()
            stock = super().generate_until([requests[number] for number in rest], disable_tqdm=disable_tqdm)
            answers |= dict(zip(rest, stock, strict=True))
        return [answers[number] for number in range(len(requests))]

    def _why_not_greedy(self, given: Mapping[str, Any]) -> str | None:
        """In words why a generation is left to stock lm-eval."""
        settings = normalize_gen_kwargs(copy.deepcopy(dict(given)), self.max_gen_toks)
        if settings.get("do_sample") or settings.get("temperature"):
            return "generations that are drawn at random"
        if strange := sorted(set(settings) - _UNDERSTOOD):
            return f"generations with {', '.join(strange)}"
        own = causal_model(self.model).generation_config.to_diff_dict()
        if strange := sorted(set(own) - _HARMLESS):
            return f"the model's own generation settings ({', '.join(strange)})"
        if self.think_end_token is not None:
            return "generations that think first"
        return None

    def _generated(self, requests: Sequence[Any]) -> list[str] | str:
        """What the model says after some contexts under the same settings, or in words why stock has to find out."""
        settings = normalize_gen_kwargs(copy.deepcopy(dict(requests[0].args[1])), self.max_gen_toks)
        most = settings["max_gen_toks"]
        room = self.max_length - most
        known = self._encode([request.args[0] for request in requests], self.tokenizer.bos_token)
        contexts = [known[request.args[0]][-room:] for request in requests]
        if room <= 0 or most <= 0 or not all(contexts):
            return "contexts of no tokens, or no room for any"
        until = handle_stop_sequences(
            settings["until"], eos=self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        )
        ends = causal_model(self.model).generation_config.eos_token_id
        stops = Stops(self.tokenizer, until, [ends] if isinstance(ends, int) else ends or [])
        size = int(self.batch_size)
        held = COLUMNS_PER_DOCUMENT * size
        limits = Limits(self.pass_tokens, SEQUENCES_PER_DOCUMENT * size, min(self._columns, held), held)
        engine = Engine(self.model, limits.columns)
        said = generate(engine, contexts, most, stops, limits)
        self._counted(engine)
        answers = [
            postprocess_generated_text(generation=self.tok_decode(tokens), stop=until, think_end_token=None)
            for tokens in said
        ]
        chosen = parity.sample([len(context) + most for context in contexts])
        stock = self._stock_generations([requests[number] for number in chosen])
        self.count.parity_requests += len(chosen)
        if [answers[number] for number in chosen] != stock:
            return "a generation is another one"
        return answers

    @property
    def _columns(self) -> int:
        """Columns that sequences growing together see: as many as cost no more than reading the weights does."""
        config = causal_model(self.model).config
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        attended = 2 * config.num_hidden_layers * config.num_attention_heads * head
        weights = sum(weight.numel() for weight in causal_model(self.model).parameters())
        return max(int(weights // attended), 1024)

    def _stock_generations(self, requests: list[Any]) -> list[str]:
        """Stock lm-eval's, one by one: with several at once they are padded, which moves the last bits."""
        batch = self.batch_size
        self.batch_size_per_gpu = 1
        try:
            return list(super().generate_until(requests, disable_tqdm=True))
        finally:
            self.batch_size_per_gpu = batch
