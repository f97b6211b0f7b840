"""A batch call of Brevo's. The SDK encodes one in one go, for which the event loop would stand still for 20 ms: here it is
encoded mail by mail, in slices, and a refusal is the SDK's error all the same.

(`encode_basestring` is the json module's own, in C. What `dumps` builds around it takes four times as long.)
"""

from collections.abc import Mapping, Sequence
from json import dumps
from json.encoder import encode_basestring as quoted

import httpx
from brevo.core.api_error import ApiError

from shared.ports import MailVersion
from shared.slices import Slices


async def encode_batch(
    versions: Sequence[MailVersion], *, sender: Mapping[str, str], headers: Mapping[str, str], tag: str
) -> bytes:
    """The call's body."""
    slices = Slices()
    first = versions[0]
    parts = [
        f'{{"sender":{dumps(sender)},"headers":{dumps(headers)},"tags":[{quoted(tag)}],'
        # Brevo takes content of versions only where the call has some; the versions override it.
        f'{_content(first)},"messageVersions":['
    ]
    for number, version in enumerate(versions):
        parts.append(f'{"," if number else ""}{{"to":[{_recipient(version)}],{_content(version)}}}')
        await slices.breathe()
    parts.append("]}")
    return "".join(parts).encode()


async def post_batch(http: httpx.AsyncClient, url: str, api_key: str, body: bytes) -> Sequence[str]:
    """The message ids of what was accepted. Raises the SDK's ApiError, httpx's errors, ValueError for what is no answer."""
    response = await http.post(
        f"{url.rstrip('/')}/smtp/email",
        content=body,
        headers={"api-key": api_key, "content-type": "application/json", "accept": "application/json"},
    )
    try:
        answer = response.json()
    except ValueError:
        answer = response.text
    ids = answer.get("messageIds") if isinstance(answer, dict) else None
    if not response.is_success or not isinstance(ids, list):
        raise ApiError(status_code=response.status_code, headers=dict(response.headers), body=answer)
    return [str(each) for each in ids]


def _recipient(version: MailVersion) -> str:
    # Brevo refuses an empty name.
    name = f',"name":{quoted(version.name)}' if version.name else ""
    return f'{{"email":{quoted(version.email)}{name}}}'


def _content(version: MailVersion) -> str:
    return (
        f'"subject":{quoted(version.subject)},"htmlContent":{quoted(version.html)},'
        f'"textContent":{quoted(version.text)}'
    )
