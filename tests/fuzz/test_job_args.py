"""A job's arguments, however they come in: a run that its worker can read, or one line that names what is wrong."""

import json
from typing import Any

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from api_svc.services import Services
from cli.values import parse_arguments
from shared.core.errors import BadInput
from shared.jobs import JOBS
from tests.fuzz import odd
from tests.fuzz.conftest import TOKEN
from tests.fuzz.effort import fuzzed

NAMES = sorted({name for spec in JOBS.values() for name in spec.args.model_fields})
UUIDS = [
    "00000000-0000-4000-8000-000000000001",
    "{00000000000040008000000000000001}",
    "urn:uuid:0",
    "0" * 32,
    "0" * 33,
]
SPANS = [
    "PT1S",
    "P1D",
    "-P1D",
    "P999999999D",
    "P9999999999D",
    "1:00:00",
    "1 day",
    "P1Y",
    "PT0.0000001S",
    "nan",
    "1e300",
]
#: Objects of the shape that a part of a long run of reminders has, each field of it odd or not.
PARTS = st.fixed_dictionaries(
    {
        "of": st.sampled_from(UUIDS),
        "number": st.sampled_from([2, 1, -1, 2.5, "2", 10**30]),
        "as_of": odd.instants(),
        "after_due_at": odd.instants(),
        "after_invoice": st.sampled_from(UUIDS),
    }
)
#: As JSON text, so that there may be what Python itself would not write.
VALUES = (
    st.sampled_from([json.dumps(each) for each in [*UUIDS, *SPANS]])
    | odd.json(odd.ANY).map(json.dumps)
    | PARTS.map(json.dumps)
    | st.sampled_from(
        ["[" * 900 + "]" * 900, "[" * 99_999, '{"a":' * 400 + "1" + "}" * 400, "9" * 4000, "9" * 5000, "-" + "9" * 400, "1e309",
         "NaN", "-Infinity", '"\\u0000"', '"\\ud800"', '"\\udc80\\ud800"', '"' + "x" * 100_000 + '"', "1.0000000000000000000001"]
    )
)  # fmt: skip
JOB = st.sampled_from(sorted(JOBS))


@fuzzed(120)
@given(job=JOB, args=st.dictionaries(st.sampled_from(NAMES) | odd.text(odd.ANY, 8), VALUES, max_size=2))
@example(job="apply_stripe_event", args={"event_id": '"\\u0000"'})
@example(job="apply_stripe_event", args={"event_id": '"\\ud800"'})
@example(job="apply_stripe_event", args={"event_id": json.dumps("x" * 100_000)})
async def test_over_http_a_run_can_be_read_or_is_refused(
    client: httpx.AsyncClient, services: Services, job: str, args: dict[str, str]
) -> None:
    await services.database.rows("DELETE FROM job_runs RETURNING 1")
    inner = ", ".join(f"{json.dumps(name)}: {value}" for name, value in args.items())
    body = f'{{"job": "{job}", "args": {{{inner}}}}}'

    answer = await client.post(
        "/v1/runs",
        content=body,
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )

    rows = await services.database.rows("SELECT args FROM job_runs")
    if answer.status_code == 201:
        [row] = rows
        check_readable(job, row.args)
    else:
        assert answer.status_code in (400, 422)
        assert not rows
        check_line(answer.json()["detail"])


@fuzzed(200)
@given(
    job=JOB,
    pairs=st.lists(
        st.builds(
            "{}={}".format,
            st.sampled_from(NAMES) | odd.text(),
            VALUES | odd.text() | st.sampled_from(UUIDS + SPANS),
        )
        | odd.text(),
        max_size=2,
    ),
)
def test_on_the_command_line_arguments_can_be_read_or_are_refused(job: str, pairs: list[str]) -> None:
    spec = JOBS[job]
    try:
        args = parse_arguments(spec, pairs)
    except BadInput:
        return  # what it says, and how, is for the tests of whole command lines
    check_readable(job, spec.encode(args))


def check_readable(job: str, stored: Any) -> None:
    """What the ledger keeps is what the worker's funnel reads, and writing it again changes nothing."""
    spec = JOBS[job]
    text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in text
    text.encode()
    assert spec.encode(spec.decode(json.loads(text))) == stored


def check_line(detail: str) -> None:
    assert 0 < len(detail) < 600
    assert "\n" not in detail


def test_every_argument_of_every_job_is_fuzzed() -> None:
    assert NAMES == ["event_id", "part", "refund_id", "sleep_s", "tolerance", "user_id"]
