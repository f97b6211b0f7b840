"""Two mailers and what their providers are made to do: the fake, and the real one against the Brevo sandbox."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID, uuid4

from shared.core.errors import RateLimited
from shared.ports import (
    Mailer,
    MailPaused,
    MailVersion,
    OutcomeUnknown,
)
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.fakes.mailer import FakeMailer


class Provider(Protocol):
    """A mailer, and what its provider is made to do."""

    mailer: Mailer

    def addresses(self) -> list[str]: ...
    def cut_before(self) -> None: ...
    def cut_after(self) -> None: ...
    def limit_rate(self) -> None: ...
    def answer(self, status: int) -> None: ...


class Fake:
    def __init__(self) -> None:
        self.fake = FakeMailer()
        self.mailer: Mailer = self.fake

    def addresses(self) -> list[str]:
        return sorted(mail.version.email for mail in self.fake.mails)

    def cut_before(self) -> None:
        self.fake.fail_next("send_batch", OutcomeUnknown("cut"))

    def cut_after(self) -> None:
        self.fake.fail_next("send_batch", OutcomeUnknown("cut"), after=True)

    def limit_rate(self) -> None:
        self.fake.fail_next("send_batch", RateLimited("429"))

    def answer(self, status: int) -> None:
        self.fake.fail_always(MailPaused(status, "turned away"))


class Real:
    def __init__(self, sandbox: BrevoSandbox) -> None:
        self._sandbox = sandbox
        self.mailer: Mailer = sandbox.mailer()

    def addresses(self) -> list[str]:
        return self._sandbox.addresses()

    def cut_before(self) -> None:
        self._sandbox.fault("drop_before")

    def cut_after(self) -> None:
        self._sandbox.fault("drop_after")

    def limit_rate(self) -> None:
        self._sandbox.fault("rate_limit")

    def answer(self, status: int) -> None:
        self._sandbox.fault("status", match={}, status=status, times=100)


@contextmanager
def fake_provider() -> Iterator[Provider]:
    yield Fake()


@contextmanager
def real_provider() -> Iterator[Provider]:
    with brevo_sandbox() as sandbox:
        yield Real(sandbox)


def mails(*names: str) -> list[MailVersion]:
    return [
        MailVersion(f"{name}@example.com", name.title(), f"For {name}", f"<p>{name}</p>", name)
        for name in names
    ]


async def send(provider: Provider, *names: str, tag: str = "tag-1", key: UUID | None = None) -> list[str]:
    return list(await provider.mailer.send_batch(mails(*names), tag=tag, idempotency_key=key or uuid4()))
