"""What calls of every payment provider share: whom to trust with a key, when to try again and how
long to wait, what of an answer is believed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from ..errors import DeliveryFailed, InvalidValue
from ..stores import alert_http
from ..stores.alert_destinations import DeliveryError
from ..stores.alert_webhook import url_parts

__all__ = [
    "BODY_MOST",
    "check_base_url",
    "object_of",
    "parsed",
    "settled",
    "succeeded",
    "word",
]

BODY_MOST = 4 << 20
"""Bytes of an answer that are read."""
_WAIT_S, _WAIT_MOST_S = 0.5, 8.0
_AFTER_MOST_S = 60.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")


def check_base_url(base_url: str) -> None:
    """Raises `InvalidValue` where a key would go over the network in clear."""
    scheme, host, _, _ = url_parts(base_url, "base_url")
    if scheme == "http" and host not in _LOOPBACK:
        raise InvalidValue(
            "base_url", "the key would go over the network in clear", remedy="https://…"
        )


def _wait_s(attempt: int, asked_s: float | None) -> float:
    """What the server asked for, else twice as long each time; apart, so that not all come back
    at once."""
    longest = min(_WAIT_S * 2 ** (attempt - 1), _WAIT_MOST_S)
    own: float = longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return max(own, min(asked_s or 0.0, _AFTER_MOST_S))


def succeeded(answer: alert_http.Answer) -> bool:
    return 200 <= answer.status < 300


def settled(
    provider: str,
    once: Callable[[], alert_http.Answer],
    again: Callable[[alert_http.Answer], bool],
    attempts: int,
    sleep: Callable[[float], None],
) -> alert_http.Answer:
    """The first answer that is a success or that `again` does not want asked for again; else that
    of the last of `attempts`. Raises `DeliveryFailed` when that one had no answer."""
    for attempt in range(1, attempts + 1):
        last = attempt == attempts
        try:
            answer = once()
        except DeliveryError as error:
            if last:
                raise DeliveryFailed(
                    f"{provider}: {error.message} ({attempt} attempts)",
                    remedy="send it again; what was done is not done twice",
                ) from None
            sleep(_wait_s(attempt, None))
            continue
        if last or succeeded(answer) or not again(answer):
            return answer
        sleep(_wait_s(attempt, answer.after_s()))
    raise AssertionError("attempts is at least 1")


def object_of(provider: str, answer: alert_http.Answer) -> dict[str, Any]:
    """The JSON object of a success. Raises `DeliveryFailed` where there is none."""
    found = parsed(answer)
    if found is None:
        raise DeliveryFailed(
            f"{provider} answered {answer.status} and no JSON object",
            remedy="is base_url that of the API?",
        )
    return found


def parsed(answer: alert_http.Answer) -> dict[str, Any] | None:
    """The JSON object of an answer; None where it holds none."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def word(value: object) -> str | None:
    """A word of a provider's vocabulary. Its messages quote what was sent, keys among it, so
    nothing else of an error is shown."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None
