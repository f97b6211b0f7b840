"""The API as clients of every kind call it: an answer in one form, never a 500, and the runs beside it stay as they were."""

import json
from typing import Any
from uuid import uuid4

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from api_svc.services import Services
from shared.jobs import JOBS
from tests.fuzz import odd
from tests.fuzz.conftest import TOKEN
from tests.fuzz.effort import fuzzed

PATHS = st.sampled_from(
    [
        "/v1/runs", "/v1/refunds", "/v1/runs/{id}", "/v1/refunds/{id}", "/v1/", "/v1", "/", "/healthz", "/readyz", "/metrics",
        "/openapi.json", "/docs", "/webhooks/stripe", "/webhooks/brevo", "//v1/runs", "/v1//runs", "/v1/runs/", "/v1/../v1/runs",
        "/V1/runs", "/v1/schedules", "/v1/runs%2f", "/v1/runs/%00", "/v1/runs/%ff%fe", "/%2e%2e/v1/runs", "/v1/runs;x=1",
    ]
)  # fmt: skip
METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get", "X" * 99]
)
HEADERS = st.sampled_from(
    ["authorization", "content-type", "idempotency-key", "stripe-signature", "accept", "host", "x"]
)
TYPES = st.sampled_from(
    ["application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data", "", "é"]
)
#: What a body may hold besides what it should: JSON's texts may have NUL and lone surrogates.
ODD = odd.json(odd.ANY)


def keys(*known: str) -> st.SearchStrategy[dict[str, Any]]:
    """An object with odd values under known names, and odd names."""
    return st.dictionaries(st.sampled_from(known) | odd.text(odd.ANY, 8), ODD, max_size=4)


NEW_RUNS = st.fixed_dictionaries(
    {"job": st.sampled_from(sorted(JOBS)) | odd.text(odd.ANY)},
    optional={
        "args": ODD | keys("sleep_s", "tolerance", "user_id", "event_id", "refund_id"),
        "run_at": odd.instants(),
        "key": odd.text(odd.ANY, 300),
    },
)
NEW_REFUNDS = st.fixed_dictionaries(
    {
        "payment_intent_id": st.just("pi_1") | odd.text(odd.ANY, 300),
        "amount": st.just(5) | ODD,
        "currency": st.just("eur") | odd.text(odd.ANY, 4),
    },
    optional={"reason": ODD, "key": odd.text(odd.ANY, 300), "x": ODD},
)
BODIES = st.one_of(
    NEW_RUNS, NEW_REFUNDS, NEW_RUNS.flatmap(lambda run: keys(*run).map(lambda more: {**run, **more})), ODD
)


@fuzzed(60)
@given(path=st.sampled_from(["/v1/runs", "/v1/refunds"]), body=BODIES)
@example(path="/v1/runs", body={"job": "ping", "\ud800": 1})
async def test_a_body_is_accepted_or_refused_in_one_line_that_names_a_field(
    client: httpx.AsyncClient, services: Services, path: str, body: Any
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = await client.post(path, content=json.dumps(body), headers=headers)

    if answer.status_code in (200, 201):
        told = answer.json()
        again = await client.get(f"{path}/{told['id']}", headers=headers)
        assert again.status_code == 200
        assert again.json()["id"] == told["id"]
    else:
        assert answer.status_code in (400, 409, 422)
        check_refusal(answer)


@fuzzed(60)
@given(
    path=PATHS | odd.text().map(lambda text: "/" + text),
    method=METHODS,
    headers=st.dictionaries(HEADERS, st.binary(max_size=40) | TYPES.map(str.encode), max_size=4),
    token=st.sampled_from([None, TOKEN, TOKEN.upper(), "é", ""]),
    body=st.binary(max_size=300) | ODD.map(lambda value: json.dumps(value).encode()),
)
async def test_any_request_gets_an_answer_and_only_the_token_opens_v1(
    client: httpx.AsyncClient,
    path: str,
    method: str,
    headers: dict[str, bytes],
    token: str | None,
    body: bytes,
) -> None:
    given = {name.encode(): value for name, value in headers.items()}
    if token is not None:
        given[b"authorization"] = f"Bearer {token}".encode()
    try:
        request = client.build_request(
            method, path.replace("{id}", str(uuid4())), content=body, headers=given
        )
    except (httpx.InvalidURL, ValueError):
        return  # no client can send it
    answer = await client.send(request)

    assert answer.status_code < 500 or answer.status_code == 503
    if answer.status_code >= 400 and method != "HEAD":
        check_refusal(answer)
    opened = request.url.path.startswith("/v1/") and answer.status_code not in (401, 307)
    assert not opened or given.get(b"authorization", b"").endswith(TOKEN.encode())


def check_refusal(answer: httpx.Response) -> None:
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert 0 < len(detail) < 2000
    assert "\n" not in detail
    assert TOKEN not in detail


#: Rows that other programs, or older versions, have written.
ROWS = st.fixed_dictionaries(
    {
        "job": odd.text(),
        "queue": odd.text(),
        "args": odd.json().map(json.dumps),
        "result": odd.json().map(json.dumps),
        "error": odd.text(most=5000),
        "key": odd.text() | st.none(),
        "coalesced": st.sampled_from([0, 2**63 - 1]),
        "run_at": st.sampled_from(["now", "infinity", "-infinity", "9999-12-31"]),
    }
)


CASTS = {"args": "jsonb", "result": "jsonb", "run_at": "timestamptz", "coalesced": "bigint"}


@fuzzed(30)
@given(row=ROWS)
async def test_whatever_a_run_row_holds_it_can_be_read(
    client: httpx.AsyncClient, services: Services, row: dict[str, Any]
) -> None:
    await services.database.rows("DELETE FROM job_runs RETURNING 1")
    values = ", ".join(f"CAST(CAST(:{name} AS text) AS {CASTS.get(name, 'text')})" for name in row)
    sql = f"INSERT INTO job_runs ({', '.join(row)}) VALUES ({values}) RETURNING id"
    written = {name: None if value is None else str(value) for name, value in row.items()}
    run_id = (await services.database.rows(sql, **written))[0].id

    answer = await client.get(f"/v1/runs/{run_id}", headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 200
    assert (answer.json()["job"], answer.json()["args"]) == (row["job"], json.loads(row["args"]))
