"""Brevo's error answers: a code and a message."""

from local_stack.sandbox.answers import Answer, RefusedError

USUAL = {
    400: ("invalid_parameter", "Invalid parameter passed"),
    401: ("unauthorized", "Key not found"),
    402: ("not_enough_credits", "Not enough credits"),
    403: ("permission_denied", "Permission denied"),
    404: ("document_not_found", "Document not found"),
    429: ("too_many_requests", "Rate limit exceeded"),
}


def error(status: int, code: str, message: str) -> Answer:
    return Answer.json(status, {"code": code, "message": message})


def usual_error(status: int) -> Answer:
    return error(status, *USUAL.get(status, ("internal_server_error", "Something went wrong")))


def invalid(message: str) -> RefusedError:
    return RefusedError(error(400, "invalid_parameter", message))


def missing(name: str) -> RefusedError:
    return RefusedError(error(400, "missing_parameter", f"{name} is missing"))
