"""Whether a webhook comes from Stripe: its signature over `timestamp.body`, at most five minutes old."""

from stripe import SignatureVerificationError, WebhookSignature

#: Stripe's own default. A signature that was caught on its way is worth nothing after this.
TOLERANCE_S = 300


class SignatureRefused(Exception):
    """The body is not Stripe's, or not from now. The text is fit for the answer: it holds neither secret nor body."""


def verify(body: bytes, header: str | None, secret: str) -> None:
    """Checks the `Stripe-Signature` header against the raw body. Raises SignatureRefused."""
    try:
        WebhookSignature.verify_header(body, header, secret, TOLERANCE_S)
    except SignatureVerificationError as error:
        raise SignatureRefused(_reason(header, str(error))) from None
    except (UnicodeDecodeError, TypeError):
        # The SDK reads the body as text, and compares signatures as ASCII.
        raise SignatureRefused("Stripe-Signature: does not match the body") from None


def _reason(header: str | None, complaint: str) -> str:
    if not header:
        return "Stripe-Signature: is missing"
    if "tolerance" in complaint:
        return f"Stripe-Signature: is older than {TOLERANCE_S} s"
    return "Stripe-Signature: does not match the body"
