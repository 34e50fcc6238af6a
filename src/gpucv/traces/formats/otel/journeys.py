"""Journeys: when each request was queued, scheduled, preempted and finished.

The engine's span of a request (``llm_core``) has the events ``journey.QUEUED``,
``SCHEDULED``, ``FIRST_TOKEN``, ``PREEMPTED`` and ``FINISHED``, each with a monotonic
time and the engine step it belongs to. The server's span (``llm_request``, its parent)
has ``api.ARRIVED`` and ``api.DEPARTED``, on the same clock.

A request is known by the first of these that there is: ``request.id`` or
``gen_ai.request.id`` on the event, on the span, on another event of the span; else the
``spanId`` or ``traceId`` of its span.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from gpucv.errors import TraceError
from gpucv.traces.formats.otel.attributes import Attributes, attributes_of, count, number, text
from gpucv.traces.formats.otel.exports import SNAPSHOT_EVENT, STEP_EVENT, no_garbage_collection
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gpucv.traces.formats.otel.exports import Exports

__all__ = ["Journey", "Journeys", "Moment", "ServerSpan", "gather"]

_REQUEST_IDS = ("request.id", "gen_ai.request.id")
_KINDS = {"QUEUED", "SCHEDULED", "FIRST_TOKEN", "PREEMPTED", "FINISHED"}
_CLOCK_TOLERANCE_NS = 1_000
"""Between a time in ns and the same one in seconds, which a double holds less exactly."""
_LATEST_NS = 2**62


class Moment(NamedTuple):
    """One event of a journey.

    Attributes
    ----------
    ts_ns : int
        Monotonic clock, ns.
    kind : str
        ``QUEUED``, ``SCHEDULED``, ``FIRST_TOKEN``, ``PREEMPTED`` or ``FINISHED``.
    step : int
        Engine step: of SCHEDULED and PREEMPTED the step that did it, of FIRST_TOKEN and
        FINISHED the one that computed the token, of QUEUED the last one before.
    prompt, output, preemptions : int or None
        Prompt tokens in all; output tokens so far; preemptions so far.
    status : str or None
        How the request finished: ``stopped``, ``length``, ``aborted``, …
    """

    ts_ns: int
    kind: str
    step: int
    prompt: int | None
    output: int | None
    preemptions: int | None
    status: str | None


class Journey:
    """The events of one request, as they were recorded."""

    __slots__ = ("moments", "parent", "request", "trace", "unordered")

    def __init__(self, request: str, parent: str, trace: str) -> None:
        self.request = request
        self.parent = parent
        self.trace = trace
        self.moments: list[Moment] = []
        self.unordered = False


class ServerSpan(NamedTuple):
    """What the server recorded of a request, ns on the monotonic clock."""

    request: str
    trace: str
    arrived_ns: int | None
    departed_ns: int | None


class Journeys:
    """The journeys of one recording, gathered span by span."""

    def __init__(self) -> None:
        self._by_request: dict[str, Journey] = {}
        self._servers: dict[str, ServerSpan] = {}
        self._known_by: Counter[str] = Counter()

    def add(self, span: dict[str, Any], events: Iterable[Any], where: str) -> None:
        """Take the ``journey.*`` and ``api.*`` events of one span.

        Raises
        ------
        TraceError
            If an event lacks its time or its step, a value is no number, or the two times
            of an event differ.
        """
        own = attributes_of(span)
        core: list[tuple[str, Attributes]] = []
        server: list[tuple[str, Attributes]] = []
        for event in events:
            values = attributes_of(event)
            (core if event["name"].startswith("journey.") else server).append(
                (event["name"].partition(".")[2], values)
            )
        if core:
            self._add_core(span, own, core, where)
        if server:
            self._add_server(span, own, server, where)

    def all(self) -> list[Journey]:
        """Return every journey, in order of its first recorded event."""
        return list(self._by_request.values())

    def server_spans(self) -> dict[str, ServerSpan]:
        """Return the server's span of each request, by the journey's request."""
        by_request = {each.request: each for each in self._servers.values() if each.request}
        spans_of = Counter(each.trace for each in self._servers.values())
        journeys_of = Counter(each.trace for each in self._by_request.values())
        by_trace = {each.trace: each for each in self._servers.values() if each.trace}
        found = {}
        for journey in self._by_request.values():
            span = self._servers.get(journey.parent) or by_request.get(journey.request)
            alone = spans_of[journey.trace] == 1 == journeys_of[journey.trace]
            if span is None and alone:
                span = by_trace.get(journey.trace)
            if span is not None:
                found[journey.request] = span
        return found

    def identity_note(self, name: str) -> Note:
        """Return what requests are known by."""
        ways = ", ".join(
            f"{way} ({number_of:,})" for way, number_of in self._known_by.most_common()
        )
        message = f"{name}: requests are known by {ways}"
        return Note("request_identity", message, len(self._by_request), "info")

    def _add_core(
        self, span: Any, own: Attributes, events: list[tuple[str, Attributes]], where: str
    ) -> None:
        names = [_request_id(values, where) for _, values in events]
        way, of_span = _span_identity(span, own, names, where)
        last_ns: dict[str, int] = {}
        for (kind, values), name in zip(events, names, strict=True):
            if kind not in _KINDS:
                continue
            request = name or of_span
            journey = self._by_request.get(request)
            if journey is None:
                parent, trace = _id(span, "parentSpanId"), _id(span, "traceId")
                journey = self._by_request[request] = Journey(request, parent, trace)
                self._known_by["its events" if name else way] += 1
            moment = _moment(kind, values, where)
            # Within a span events stand as they happened, so its times can only grow.
            journey.unordered |= moment.ts_ns < last_ns.get(request, 0)
            last_ns[request] = moment.ts_ns
            if moment not in journey.moments:  # an exporter that tries again sends twice
                journey.moments.append(moment)

    def _add_server(
        self, span: Any, own: Attributes, events: list[tuple[str, Attributes]], where: str
    ) -> None:
        known = _request_id(own, where)
        times: dict[str, int | None] = {}
        for kind, values in events:
            known = known or _request_id(values, where)
            times[kind] = _time_ns(values, f"{where}: api.{kind}", "event.ts.monotonic")
        key = _id(span, "spanId") or known or ""
        before = self._servers.get(key, ServerSpan("", "", None, None))
        self._servers[key] = ServerSpan(
            known or before.request,
            _id(span, "traceId"),
            times.get("ARRIVED", before.arrived_ns),
            times.get("DEPARTED", before.departed_ns),
        )


def gather(
    exports: Exports, on_step: Callable[[str, Attributes, str], None] | None = None
) -> Journeys:
    """Read a trace to its end and return its journeys.

    Parameters
    ----------
    exports : Exports
    on_step : callable, optional
        Called with the name, attributes and place of each step summary and request
        snapshot.

    Raises
    ------
    TraceError
        With the line number, if a line is damaged or an event lacks what it needs; if
        there is no journey at all.
    """
    journeys = Journeys()
    for line_number, line in exports.lines():
        with no_garbage_collection():
            export, where = exports.parse(line, line_number), exports.place(line_number)
            try:
                for scope, span in _spans(export):
                    own = []
                    for event in span.get("events", ()):
                        name = event["name"]
                        if name.startswith(("journey.", "api.")):
                            own.append(event)
                        elif on_step is not None and name in {STEP_EVENT, SNAPSHOT_EVENT}:
                            on_step(name, attributes_of(event), where)
                        exports.passed_over(scope, event)
                    if own:
                        journeys.add(span, own, where)
            except (KeyError, TypeError, AttributeError) as error:
                raise exports.no_export(line_number, error) from error
    if not journeys.all():
        raise exports.refuse("journey.*", "record with journey tracing on")
    return journeys


def _spans(export: Any) -> Iterator[tuple[Any, Any]]:
    for resource in export["resourceSpans"]:
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                yield scope, span


def _id(span: Any, key: str) -> str:
    value = span.get(key) or ""
    return value if isinstance(value, str) else str(value)


def _request_id(values: Attributes, where: str) -> str | None:
    for key in _REQUEST_IDS:
        found = text(values, key, where)
        if found:
            return found
    return None


def _span_identity(
    span: Any, own: Attributes, names: list[str | None], where: str
) -> tuple[str, str]:
    """Return what the events of a span that name no request belong to, and how it is known."""
    found = _request_id(own, where)
    if found:
        return "its span's attributes", found
    among = {name for name in names if name}
    if len(among) == 1:
        return "its events", among.pop()
    for key in ("spanId", "traceId"):
        if _id(span, key):
            return key, _id(span, key)
    msg = f"{where}: a journey without request.id, spanId or traceId: whose it is cannot be told"
    raise TraceError(msg)


def _moment(kind: str, values: Attributes, where: str) -> Moment:
    place = f"{where}: journey.{kind}"
    ts_ns = _time_ns(values, place, "ts.monotonic")
    if ts_ns is None:
        msg = f"{place} has neither ts.monotonic_ns nor ts.monotonic; record it again"
        raise TraceError(msg)
    step = count(values, "scheduler.step", place)
    if step is None:
        msg = f"{place} has no scheduler.step; record with a version that writes it"
        raise TraceError(msg)
    return Moment(
        ts_ns,
        kind,
        step,
        count(values, "prefill.total_tokens", place),
        count(values, "decode.done_tokens", place),
        count(values, "num_preemptions", place),
        text(values, "finish.status", place),
    )


def _time_ns(values: Attributes, place: str, seconds_key: str) -> int | None:
    """Return an event's monotonic time in ns, or None where it has none.

    Raises
    ------
    TraceError
        If it has two times and they differ, or one that is no time.
    """
    ns = count(values, "ts.monotonic_ns", place)
    seconds = number(values, seconds_key, place, whole=False)
    if seconds is not None and not 0 <= seconds < _LATEST_NS / 1e9:
        msg = f"{place}: {seconds_key} is {one_line(seconds)}; it should be seconds from 0"
        raise TraceError(msg)
    if seconds is None:
        return ns
    from_seconds = round(seconds * 1e9)
    if ns is not None and abs(ns - from_seconds) > _CLOCK_TOLERANCE_NS:
        msg = (
            f"{place}: ts.monotonic_ns is {ns} and {seconds_key} {seconds!r}; they should be "
            "one time in ns and in seconds"
        )
        raise TraceError(msg)
    return from_seconds if ns is None else ns
