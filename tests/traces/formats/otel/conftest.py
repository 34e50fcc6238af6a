"""A serving engine in small, simulated step by step, and its recording.

Written from how vLLM schedules, not from how gpucv reads: it keeps queues and counts
tokens, where the reader lays down whole stays.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "20260217-202857-llama-2-70b-tp4-general"
STEP_NS, BASE_NS = 20_000_000, 7_000_000_000_000


@dataclass(eq=False)
class Request:
    """What a client asks for, and how far the engine is with it."""

    id: str
    arrival: int  # queued after this step
    prompt: int
    target: int  # output tokens
    status: str = "length"
    abort: int | None = None  # aborted after this step
    cached: int = 0  # prompt tokens in the prefix cache
    computed: int = 0
    outputs: int = 0
    in_flight: int = 0
    preemptions: int = 0
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def last_is_certain(self) -> bool:
        """Whether the token in flight is known to be the last: by length, never by text."""
        return self.status == "length" and self.outputs + self.in_flight >= self.target

    def record(self, kind: str, step: int, ts_ns: int, **more: str) -> None:
        values = {
            "event.type": kind,
            "ts.monotonic": ts_ns / 1e9,
            "ts.monotonic_ns": ts_ns,
            "scheduler.step": step,
            "prefill.total_tokens": self.prompt,
            "decode.done_tokens": self.outputs,
            "num_preemptions": self.preemptions,
            **{key.replace("_", "."): value for key, value in more.items()},
        }
        self.events.append((f"journey.{kind}", values))


class Engine:
    """Runs requests to their end; `truth` has one dict per step."""

    def __init__(self, budget: int, seats: int, room: int, *, ahead: bool) -> None:
        self.budget, self.seats, self.room, self.ahead = budget, seats, room, ahead
        self.truth: list[dict[str, Any]] = []
        self.snapshots: dict[int, list[dict[str, Any]]] = {}
        self.running: list[Request] = []
        self.waiting: deque[Request] = deque()
        self.ended = 0
        self.yielding: dict[int, list[Request]] = {}

    def run(self, requests: list[Request]) -> None:
        step, coming = 0, deque(sorted(requests, key=lambda each: each.arrival))
        while coming or self.running or self.waiting or any(self.yielding.values()):
            start = BASE_NS + step * STEP_NS
            while coming and coming[0].arrival <= step:
                self.waiting.append(coming[0])
                coming.popleft().record("QUEUED", step, start + 18_000_000)
            for request in [*self.running, *self.waiting]:
                if request.abort == step:
                    self.end(request, step, start + 19_000_000, "aborted")
            step += 1
            self.schedule(step, start + STEP_NS)
            # Ahead, the tokens of a step are known once the next one has been scheduled.
            self.deliver(step - self.ahead, start + STEP_NS + 12_000_000)

    def schedule(self, step: int, now: int) -> None:
        left, shares, preempted = self.budget, {}, 0
        for request in list(self.running):
            if request not in self.running or left <= 0 or request.last_is_certain:
                continue
            need = request.prompt + request.outputs + request.in_flight - request.computed
            share = min(need, left)
            while request in self.running and self.held(shares) + share > self.room:
                victim = self.running.pop()
                victim.computed, victim.preemptions = 0, victim.preemptions + 1
                victim.record("PREEMPTED", step, now + 1000)
                self.waiting.appendleft(victim)
                preempted += 1
            if request in self.running:
                shares[request] = share
                left -= share
        while self.waiting and left > 0 and not preempted and len(self.running) < self.seats:
            request = self.waiting[0]
            cached = 0 if request.preemptions else request.cached
            share = min(request.prompt + request.outputs - cached, left)
            if self.held(shares) + cached + share > self.room:
                break
            self.running.append(self.waiting.popleft())
            request.computed, shares[request] = cached, share
            left -= share
            kind = "RESUME" if request.preemptions else "FIRST"
            request.record("SCHEDULED", step, now + 2000 + len(shares), schedule_kind=kind)
        self.write_down(step, now, shares, preempted)
        self.yielding[step] = []
        for request, share in shares.items():
            request.computed += share
            if request.computed == request.prompt + request.outputs + request.in_flight:
                request.in_flight += 1
                self.yielding[step].append(request)

    def held(self, shares: dict[Request, int]) -> int:
        return sum(each.computed for each in self.running) + sum(shares.values())

    def deliver(self, step: int, now: int) -> None:
        for index, request in enumerate(self.yielding.pop(step, [])):
            if request not in self.running and request not in self.waiting:
                continue  # it ended meanwhile: the token is in vain
            request.outputs, request.in_flight = request.outputs + 1, request.in_flight - 1
            if request.outputs == 1:
                request.record("FIRST_TOKEN", step, now + index)
            if request.outputs == request.target:
                self.end(request, step, now + 500 + index, request.status)

    def end(self, request: Request, step: int, now: int, status: str) -> None:
        (self.running if request in self.running else self.waiting).remove(request)
        request.record("FINISHED", step, now, finish_status=status)
        self.ended += 1

    def write_down(self, step: int, now: int, shares: dict[Request, int], preempted: int) -> None:
        sums = {"prefill": [0, 0], "decode": [0, 0]}
        for request, share in shares.items():
            phase = sums["decode" if request.outputs else "prefill"]
            phase[0], phase[1] = phase[0] + share, phase[1] + 1
        contexts = [request.computed for request in self.running]
        values = {
            "step.id": step,
            "step.ts_start_ns": now,
            "step.ts_end_ns": now + 700_000,
            "step.duration_us": 700,
            "queue.running_depth": len(self.running),
            "queue.waiting_depth": len(self.waiting),
            "batch.num_prefill_reqs": sums["prefill"][1],
            "batch.num_decode_reqs": sums["decode"][1],
            "batch.scheduled_tokens": sum(shares.values()),
            "batch.prefill_tokens": sums["prefill"][0],
            "batch.decode_tokens": sums["decode"][0],
            "batch.num_finished": self.ended,
            "batch.num_preempted": preempted,
            "kv.usage_gpu_ratio": 0.5,
            "kv.blocks_total_gpu": 100,
            "kv.blocks_free_gpu": 50,
        }
        self.ended = 0
        self.truth.append({**values, "contexts": contexts})
        self.snapshots[step] = [
            {
                "step.id": step,
                "request.id": request.id,
                "request.num_prompt_tokens": request.prompt,
                "request.num_computed_tokens": request.computed,
                "request.effective_prompt_len": request.prompt - request.cached,
            }
            for request in self.running
        ]


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    return [
        {"key": key, "value": {kinds[type(v)]: str(v) if type(v) is int else v}}
        for key, v in values.items()
    ]


def span(span_id: str, events: list[tuple[str, dict[str, Any]]], **more: Any) -> dict[str, Any]:
    written = [{"name": name, "attributes": attributes(values)} for name, values in events]
    return {"traceId": f"t{span_id}", "spanId": span_id, "events": written, **more}


def line(*spans: tuple[str, dict[str, Any]]) -> str:
    """One export; every span in a scope of its own."""
    scopes = [{"scope": {"name": scope}, "spans": [each]} for scope, each in spans]
    return json.dumps({"resourceSpans": [{"scopeSpans": scopes}]})


def journey_spans(request: Request) -> list[tuple[str, dict[str, Any]]]:
    """The engine's and the server's span of one request."""
    queued_ns = request.events[0][1]["ts.monotonic_ns"]
    ended_ns = request.events[-1][1]["ts.monotonic_ns"]
    times = {"ARRIVED": queued_ns - 2_000_000, "DEPARTED": ended_ns + 3_000_000}
    server = [(f"api.{kind}", {"event.ts.monotonic": ns / 1e9}) for kind, ns in times.items()]
    named = attributes({"gen_ai.request.id": request.id})
    core = span(f"c{request.id}", request.events, attributes=named, parentSpanId=f"s{request.id}")
    return [("vllm.api", span(f"s{request.id}", server)), ("vllm.scheduler", core)]


def step_events(engine: Engine, truth: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    summary = {key: value for key, value in truth.items() if key != "contexts"}
    snapshots = engine.snapshots[truth["step.id"]]
    return [
        ("step.BATCH_SUMMARY", summary),
        *(("step.REQUEST_SNAPSHOT", values) for values in snapshots),
    ]


def lines_of(engine: Engine, requests: list[Request], sampled: list[int]) -> list[str]:
    """A recording: journeys as they end, and the sampled steps with their snapshots."""
    lines = [line(*journey_spans(request)) for request in requests if request.events]
    kept = [truth for truth in engine.truth if truth["step.id"] in sampled]
    for start in range(0, len(kept), 5):
        events = [each for truth in kept[start : start + 5] for each in step_events(engine, truth)]
        place = min(2 * start // 5, len(lines))
        lines.insert(place, line(("vllm.scheduler.step", span(f"steps{start}", events))))
    return lines


def busy_requests(seed: int, count: int = 60) -> list[Request]:
    """Requests of every kind: long prompts, single tokens, ended by text, length or client."""
    draw = np.random.default_rng(seed)
    requests = []
    for index in range(count):
        arrival, target = int(draw.integers(0, 120)), int(draw.integers(1, 40))
        requests.append(
            Request(
                id=f"cmpl-{index}",
                arrival=arrival,
                prompt=int(draw.choice([3, 20, 64, 65, 150, 400])),
                target=target,
                status=str(draw.choice(["length", "stopped"])),
                abort=arrival + int(draw.integers(1, 40)) if draw.random() < 0.15 else None,
            )
        )
    return requests


@dataclass
class Recorded:
    """What a simulated recording holds."""

    engine: Engine
    requests: list[Request]
    folder: Path

    @property
    def lines(self) -> list[str]:
        return (self.folder / NAME / "traces.json").read_text().splitlines()


@pytest.fixture
def simulate(write_lines: Callable[..., Path]) -> Callable[..., Recorded]:
    """Serve requests and record it: every `sampled`-th step, the last of them included."""

    def run(
        requests: list[Request] | int,
        *,
        budget: int = 64,
        room: int = 10**9,
        ahead: bool = False,
        sampled: int = 1,
    ) -> Recorded:
        asked = busy_requests(requests) if isinstance(requests, int) else requests
        engine = Engine(budget, 16, room, ahead=ahead)
        engine.run(asked)
        kept = [truth["step.id"] for truth in engine.truth][::-sampled] if sampled else []
        return Recorded(engine, asked, write_lines(lines_of(engine, asked, kept), budget))

    return run


@pytest.fixture
def ask() -> type[Request]:
    """Make one request: ``ask(id, arrival, prompt, target)``."""
    return Request


@pytest.fixture
def edit() -> Callable[..., list[str]]:
    """Return lines with every event passed through a function; None leaves it out.

    The function gets the event's name, its values as Python's, and its span.
    """

    def apply(lines: list[str], change: Callable[..., Any]) -> list[str]:
        edited = []
        for each in lines:
            export = json.loads(each)
            for scope in export["resourceSpans"][0]["scopeSpans"]:
                for one in scope["spans"]:
                    one["events"] = [
                        event for event in one["events"] if _changed(event, one, change)
                    ]
            edited.append(json.dumps(export))
        return edited

    return apply


def _changed(event: dict[str, Any], of: dict[str, Any], change: Callable[..., Any]) -> bool:
    read = {"intValue": int, "doubleValue": float, "stringValue": str}
    values = {
        each["key"]: read[kind](value)
        for each in event["attributes"]
        for kind, value in each["value"].items()
    }
    changed = change(event["name"], values, of)
    event["attributes"] = attributes(changed or {})
    return changed is not None


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write the lines of one recording; return the folder above its own."""

    def write(lines: list[str], budget: int | None = 64) -> Path:
        folder = tmp_path / NAME
        folder.mkdir(exist_ok=True)
        (folder / "traces.json").write_text("".join(each + "\n" for each in lines))
        config = "model: meta-llama/Llama-2-70b-hf\ntensor_parallelism: 4\n"
        config += f"max_num_batched_tokens: {budget}\n" if budget else ""
        (folder / "exp-config.yaml").write_text(config)
        return tmp_path

    return write
