"""A batch is encoded by hand, in slices: what comes out is the JSON that Brevo documents, whatever is in a mail."""

import json

import pytest

from shared.ports import MailVersion
from shared.providers.brevo_batch import encode_batch

SENDER = {"email": "billing@example.com", "name": 'Smith & "Söhne"'}
NASTY = [
    '"',
    "\\",
    "</script>",
    "\x00\x1f\x7f",
    "line\r\nend\t",
    "\u2028\u2029",
    "😀 שלום",
    '","to":[{"email":"x@example.com"}]',
]


def version(text: str, name: str = "Ann") -> MailVersion:
    return MailVersion("ann@example.com", name, f"s{text}", f"<p>{text}</p>", f"t{text}")


@pytest.mark.parametrize("text", NASTY)
async def test_whatever_is_in_a_mail_arrives_as_it_is(text: str) -> None:
    versions = [version("first"), version(text, name=text), version("last", name="")]

    body = json.loads(await encode_batch(versions, sender=SENDER, headers={"idempotencyKey": "k"}, tag=text))

    assert body == {
        "sender": SENDER,
        "headers": {"idempotencyKey": "k"},
        "tags": [text],
        "subject": "sfirst",
        "htmlContent": "<p>first</p>",
        "textContent": "tfirst",
        "messageVersions": [
            {
                "to": [{"email": each.email} | ({"name": each.name} if each.name else {})],
                "subject": each.subject,
                "htmlContent": each.html,
                "textContent": each.text,
            }
            for each in versions
        ],
    }
