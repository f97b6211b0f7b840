"""Sending by the Brevo sandbox, by the official client."""

import uuid

import httpx
import pytest
from brevo import BadRequestError
from brevo.core.api_error import ApiError

MAIL = {"path": "/v3/smtp/email"}
SENDER = {"email": "billing@cuebx.test", "name": "CueBX"}


@pytest.fixture
def brevo(start_brevo):
    return start_brevo()


def single(**changes):
    mail = {
        "sender": SENDER,
        "to": [{"email": "ada@example.com"}],
        "subject": "Invoice",
        "html_content": "<p>Hello</p>",
    }
    return {**mail, **changes}


def batch(versions, **changes):
    return single(message_versions=versions, tags=["batch-1"], **changes)


def version(address, **changes):
    return {"to": [{"email": address}], "subject": "Yours", "htmlContent": f"<p>{address}</p>", **changes}


def raw(**changes):
    """A batch as it goes over the wire, for what the client's types would not let through."""
    request = {"sender": SENDER, "subject": "Invoice", "htmlContent": "<p>Hello</p>"}
    return {**request, "messageVersions": [version("ada@example.com")], **changes}


async def test_a_single_mail_is_accepted_and_entered(brevo, brevo_client):
    sent = await brevo_client(brevo).transactional_emails.send_transac_email(**single(tags=["t1"]))
    [mail] = brevo.books()["mails"]
    assert (mail["email"], mail["messageId"], mail["subject"], mail["tags"]) == (
        "ada@example.com",
        sent.message_id,
        "Invoice",
        ["t1"],
    )
    assert brevo.get(f"mails/{sent.message_id}")["content"] == {"html": "<p>Hello</p>", "text": ""}


async def test_a_batch_of_1000_versions_answers_an_id_for_each_in_order(brevo, brevo_client):
    versions = [version(f"c{n}@example.com", params={"n": n}) for n in range(1000)]
    sent = await brevo_client(brevo).transactional_emails.send_transac_email(**batch(versions))
    mails = brevo.books()["mails"]
    assert [mail["messageId"] for mail in mails] == sent.message_ids
    assert len(set(sent.message_ids)) == 1000
    assert [(mail["email"], mail["version"], mail["params"]) for mail in mails] == [
        (f"c{n}@example.com", n, {"n": n}) for n in range(1000)
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"messageVersions": [version("a@example.com")] * 1001}, "invalid_parameter"),
        ({"messageVersions": []}, "invalid_parameter"),
        (
            {"messageVersions": [version("", to=[{"email": f"a{n}@example.com"} for n in range(100)])]},
            "invalid_parameter",
        ),
        (
            {"messageVersions": [version("", to=[{"email": "a@example.com"}] * 99)] * 21},
            "invalid_parameter",
        ),
        ({"messageVersions": [version("reject@example.com")]}, "invalid_parameter"),
        ({"messageVersions": [version("no address")]}, "invalid_parameter"),
        ({"messageVersions": [{"subject": "nobody"}]}, "missing_parameter"),
        ({"messageVersions": [version("a@example.com", html_content="x")]}, "invalid_parameter"),
        ({"messageVersions": [version("a@example.com", params={"x": "y" * 100_000})]}, "invalid_parameter"),
        (
            {"messageVersions": [version("a@example.com", params={"x": "y" * 60_000})] * 17},
            "invalid_parameter",
        ),
        ({"messageVersions": [version("a@example.com", templateId=5)]}, "invalid_parameter"),
        ({"htmlContent": None}, "missing_parameter"),
        ({"sender": None}, "missing_parameter"),
        ({"sender": {"email": "nobody"}}, "invalid_parameter"),
        ({"tags": "batch"}, "invalid_parameter"),
        ({"subject": None, "messageVersions": None, "to": [{"email": "a@example.com"}]}, "missing_parameter"),
        ({"messageVersions": None}, "missing_parameter"),
        ({"headers": {"idempotencyKey": "not a uuid"}}, "invalid_parameter"),
    ],
)
def test_a_request_beyond_the_rules_is_refused_as_a_whole(brevo, changes, code):
    answer = httpx.post(
        f"{brevo.url}/v3/smtp/email", json=raw(**changes), headers={"api-key": "k"}, trust_env=False
    )
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert brevo.books()["mails"] == []


@pytest.mark.parametrize("spelling", ["idempotencyKey", "Idempotency-Key", "IdempotencyKey"])
async def test_a_repeated_key_is_a_duplicate_for_30_minutes(brevo, brevo_client, spelling):
    client = brevo_client(brevo)
    request = batch([version("a@example.com")], headers={spelling: str(uuid.uuid4())})
    await client.transactional_emails.send_transac_email(**request)
    brevo.post("clock", {"advance_s": 29 * 60})
    with pytest.raises(BadRequestError) as duplicate:
        await client.transactional_emails.send_transac_email(**request)
    assert duplicate.value.body["code"] == "duplicate_parameter"
    assert len(brevo.books()["mails"]) == 1
    brevo.post("clock", {"advance_s": 61})
    await client.transactional_emails.send_transac_email(**request)
    assert len(brevo.books()["doubled"]) == 1


async def test_a_refused_request_does_not_use_up_its_key(brevo, brevo_client):
    client = brevo_client(brevo)
    headers = {"idempotencyKey": str(uuid.uuid4())}
    with pytest.raises(BadRequestError):
        await client.transactional_emails.send_transac_email(
            **batch([version("reject@a.com")], headers=headers)
        )
    await client.transactional_emails.send_transac_email(**batch([version("good@a.com")], headers=headers))
    assert len(brevo.books()["mails"]) == 1


async def test_a_spelling_that_is_not_honoured_doubles_the_mail(start_brevo, brevo_client):
    brevo = start_brevo(honoured=("idempotencyKey",))
    request = single(headers={"Idempotency-Key": str(uuid.uuid4())})
    for _ in range(2):
        await brevo_client(brevo).transactional_emails.send_transac_email(**request)
    assert len(brevo.books()["doubled"]) == 1


async def test_dropped_mail_is_answered_and_forgotten(brevo, brevo_client):
    sent = await brevo_client(brevo).transactional_emails.send_transac_email(
        **single(headers={"X-Sib-Sandbox": "drop"})
    )
    books = brevo.books()
    assert sent.message_id
    assert (books["mails"], books["sandbox_dropped"]) == ([], 1)


async def test_a_wrong_key_is_a_401_and_a_forbidden_account_a_403(start_brevo, brevo_client):
    brevo = start_brevo(keys=("xkeysib-right",))
    with pytest.raises(ApiError) as unauthorized:
        await brevo_client(brevo).account.get_account()
    assert (unauthorized.value.status_code, unauthorized.value.body["code"]) == (401, "unauthorized")
    client = brevo_client(brevo, key="xkeysib-right")
    brevo.post("account", {"forbidden": True})
    with pytest.raises(ApiError) as forbidden:
        await client.account.get_account()
    assert (forbidden.value.status_code, forbidden.value.body["code"]) == (403, "permission_denied")
    brevo.post("account", {"forbidden": False, "under_validation": True})
    assert (await client.account.get_account()).company_name == "Sandbox"
    with pytest.raises(ApiError) as validation:
        await client.transactional_emails.send_transac_email(**single())
    assert validation.value.body["code"] == "account_under_validation"


async def test_without_credits_a_send_is_a_402_and_the_account_still_reads(brevo, brevo_client):
    client = brevo_client(brevo)
    brevo.post("account", {"credits": 1})
    await client.transactional_emails.send_transac_email(**single())
    with pytest.raises(ApiError) as broke:
        await client.transactional_emails.send_transac_email(**single())
    assert (broke.value.status_code, broke.value.body["code"]) == (402, "not_enough_credits")
    assert (await client.account.get_account()).plan[0].credits == 0
    brevo.post("account", {"credits": None})
    await client.transactional_emails.send_transac_email(**single())


def test_rate_headers_count_down_to_a_429_without_retry_after(start_brevo):
    brevo = start_brevo(rate=3)
    with httpx.Client(base_url=brevo.url, headers={"api-key": "k"}, trust_env=False) as http:
        answers = [http.get("/v3/account") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-sib-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[3].headers["x-sib-ratelimit-limit"] == "3"
    assert int(answers[3].headers["x-sib-ratelimit-reset"]) >= 1
    assert "retry-after" not in answers[3].headers


async def test_batch_calls_have_an_hourly_limit_of_their_own(start_brevo, brevo_client):
    brevo = start_brevo(batch_rate=1)
    client = brevo_client(brevo)
    await client.transactional_emails.send_transac_email(**batch([version("a@example.com")]))
    with pytest.raises(ApiError) as limited:
        await client.transactional_emails.send_transac_email(**batch([version("b@example.com")]))
    assert limited.value.status_code == 429
    await client.transactional_emails.send_transac_email(**single())
    brevo.post("clock", {"advance_s": 3600})
    await client.transactional_emails.send_transac_email(**batch([version("b@example.com")]))
