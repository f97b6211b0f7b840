"""Is the process of this container well? Exit status 0 or 1. Standard library alone: asking costs next to nothing.

Called as `probe.py PORT_VARIABLE DEFAULT_PORT PATH`: asks http://127.0.0.1:PORT/PATH; the variable, if set, has the port.
"""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0


def complaint(variable: str, default_port: str, path: str) -> str | None:
    """What is wrong, in one line; None when the process answers 2xx, or listens on no port that could be known."""
    port = os.environ.get(variable) or default_port
    if port.lower() in ("off", "0"):
        return None
    # Never through a proxy: the process is in this container.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return f"{path}: {error.code} {error.read(500).decode(errors='replace')}"
    except (OSError, ValueError) as error:
        return f"{path}: {error}"


if __name__ == "__main__":
    sys.exit(complaint(*sys.argv[1:4]))
