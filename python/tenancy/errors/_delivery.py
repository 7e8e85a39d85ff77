"""A document did not get to whoever it was for."""

# ruff: noqa: N818 - the names are the field's

from __future__ import annotations

from ._base import TenancyError


class DeliveryFailed(TenancyError):
    """A document was not taken by whoever it was sent to.

    `final` says that sending it again is of no use; else nothing is doubled by it.
    """

    code = "DELIVERY_FAILED"
    status = 502

    def __init__(
        self,
        message: str,
        *,
        final: bool = False,
        retry_after: float | None = None,
        remedy: str | None = None,
    ) -> None:
        self.final = final
        super().__init__(message, retry_after=retry_after, remedy=remedy)


class ProviderRefused(DeliveryFailed):
    """A payment provider said no.

    `http_status`, `kind`, `reason`, `parameter` and `request_id` are what it said; None where it
    did not. No text of it is shown that could hold a secret.
    """

    code = "PROVIDER_REFUSED"

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        kind: str | None = None,
        reason: str | None = None,
        parameter: str | None = None,
        request_id: str | None = None,
        final: bool = True,
        retry_after: float | None = None,
        remedy: str | None = None,
    ) -> None:
        self.http_status = http_status
        self.kind = kind
        self.reason = reason
        self.parameter = parameter
        self.request_id = request_id
        super().__init__(message, final=final, retry_after=retry_after, remedy=remedy)
