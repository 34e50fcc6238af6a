from __future__ import annotations

import pytest

from gpucv.errors import TraceError
from gpucv.traces.formats.otel.journeys import Journey, Moment
from gpucv.traces.formats.otel.lifecycle import lifecycles


def journey(*told: str, request: str = "r") -> Journey:
    """A journey of events ``"KIND step"``, with ``output=`` and ``prompt=`` where they differ."""
    found = Journey(request, "", "")
    for ts_ns, each in enumerate(told):
        kind, step, *more = each.split()
        values = dict(part.split("=") for part in more)
        found.moments.append(
            Moment(
                ts_ns,
                kind,
                int(step),
                int(values.get("prompt", 10)),
                int(values["output"]) if "output" in values else None,
                None,
                None,
            )
        )
    return found


@pytest.mark.parametrize(
    "told",
    [
        ["QUEUED 0", "SCHEDULED 1", "FIRST_TOKEN 1", "FINISHED 1"],
        ["QUEUED 3", "SCHEDULED 4", "PREEMPTED 6", "SCHEDULED 9", "FIRST_TOKEN 9", "FINISHED 12"],
        ["SCHEDULED 4", "FIRST_TOKEN 4"],
        ["QUEUED 3", "FINISHED 5"],
        ["QUEUED 3"],
        # Scheduling ahead, the tokens of a step are told after the next one has preempted.
        ["QUEUED 0", "SCHEDULED 1", "PREEMPTED 5", "FIRST_TOKEN 4", "SCHEDULED 7", "FINISHED 9"],
        ["QUEUED 0", "SCHEDULED 1", "FIRST_TOKEN 3", "PREEMPTED 5", "FINISHED 4"],
        ["QUEUED 0", "SCHEDULED 1 output=0", "PREEMPTED 5 output=3", "SCHEDULED 7 output=4"],
    ],
)
def test_a_journey_that_can_be_so_is_kept(told: list[str]) -> None:
    (life,), notes = lifecycles([journey(*told)], "t")
    assert "journeys_broken" not in [each.code for each in notes]
    assert len(life.scheduled) == sum(each.startswith("SCHEDULED") for each in told)
    assert len(life.preempted) == sum(each.startswith("PREEMPTED") for each in told)
    assert (life.queued is None) == (not told[0].startswith("QUEUED"))


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (["SCHEDULED 1", "QUEUED 0"], "SCHEDULED before QUEUED"),
        (["QUEUED 5", "SCHEDULED 1"], "SCHEDULED before QUEUED"),
        (["QUEUED 0", "FIRST_TOKEN 1", "SCHEDULED 1"], "FIRST_TOKEN before SCHEDULED"),
        (["QUEUED 0", "SCHEDULED 2", "FIRST_TOKEN 1"], "FIRST_TOKEN before SCHEDULED"),
        (["QUEUED 0", "FIRST_TOKEN 1", "FINISHED 2"], "FIRST_TOKEN before SCHEDULED"),
        (["QUEUED 0", "SCHEDULED 1", "FINISHED 3", "FIRST_TOKEN 2"], "an event after FINISHED"),
        (["QUEUED 0", "SCHEDULED 4", "FINISHED 3"], "an event after FINISHED"),
        (["QUEUED 0", "SCHEDULED 1", "FIRST_TOKEN 4", "FINISHED 3"], "an event after FINISHED"),
        (["QUEUED 0", "SCHEDULED 1", "SCHEDULED 2"], "SCHEDULED and PREEMPTED not in turn"),
        (["QUEUED 0", "PREEMPTED 1", "SCHEDULED 2"], "SCHEDULED and PREEMPTED not in turn"),
        (["QUEUED 0", "SCHEDULED 2", "PREEMPTED 2"], "SCHEDULED and PREEMPTED not in turn"),
        (["QUEUED 0", "PREEMPTED 2"], "SCHEDULED and PREEMPTED not in turn"),
        (["QUEUED 0", "QUEUED 1", "SCHEDULED 2"], "more than one QUEUED"),
        (["QUEUED 0", "SCHEDULED 1", "FINISHED 2", "FINISHED 3"], "more than one FINISHED"),
        (
            ["QUEUED 0", "SCHEDULED 1 output=0", "PREEMPTED 5 output=3", "SCHEDULED 7 output=2"],
            "fewer output tokens than before",
        ),
        (["QUEUED 0", "SCHEDULED 1", "FINISHED 7 prompt=11"], "a prompt of two lengths"),
    ],
)
def test_a_journey_that_cannot_be_so_is_left_out_with_the_reason(
    told: list[str], fault: str
) -> None:
    sound = [journey("QUEUED 0", "SCHEDULED 1", request=str(index)) for index in range(20)]
    lives, notes = lifecycles([*sound, journey(*told, request="odd")], "t/traces.json")
    assert len(lives) == 20
    (found,) = [each for each in notes if each.code == "journeys_broken"]
    assert found.count == 1
    assert f"1 of 21 journeys cannot be so: {fault} in 1 (first: request odd)" in found.message


def test_many_journeys_out_of_order_are_refused() -> None:
    odd = [journey("QUEUED 5", "SCHEDULED 1", request=str(index)) for index in range(3)]
    sound = [journey("QUEUED 0", "SCHEDULED 1", request=f"s{index}") for index in range(7)]
    with pytest.raises(TraceError, match=r"3 of 10 journeys cannot be so: .*record it again"):
        lifecycles([*odd, *sound], "t")
