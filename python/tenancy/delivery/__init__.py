"""Documents on their way to whoever pays: pages, e-invoices, tables, e-mail, payment providers.

>>> from tenancy.delivery import to_pdf, to_facturx
>>> pdf = to_pdf(invoice)                                    # doctest: +SKIP
>>> hybrid = to_facturx(invoice, language="de")              # doctest: +SKIP

Everything takes an `Invoice` or a `CreditNote` of `tenancy.billing` and adds nothing to it: what is
shown, sent and collected are the amounts of the document. `to_html`, `to_pdf`, `to_cii` (EN 16931),
`to_facturx` and `to_csv` are pure functions, `export` chooses among them by name; `send_email`,
`StripeAdapter` and `PayPalAdapter` speak to others, and may be told to send the same again without
doubling anything. HTML and PDF need the extra `einvoice`.
"""

from __future__ import annotations

from ..stores.alert_email import Email
from ._cii import GUIDELINE, UNIT_CODES, to_cii
from ._csv import EVENT_COLUMNS, LINE_COLUMNS, events_to_csv, to_csv
from ._export import FORMATS, Format, Options, export, file_name, save
from ._facturx import XML_NAME, to_facturx
from ._html import to_html
from ._mail import message_id, send_email
from ._payments import Payment, PaymentEvent, PaymentProvider, ProviderInvoice, payment_of
from ._paypal import PayPalAdapter
from ._pdf import to_pdf
from ._stripe import STRIPE_API_VERSION, StripeAdapter
from ._stripe_webhook import verify_stripe_webhook
from ._terms import TERMS, Term

__all__ = [
    "EVENT_COLUMNS",
    "FORMATS",
    "GUIDELINE",
    "LINE_COLUMNS",
    "STRIPE_API_VERSION",
    "TERMS",
    "UNIT_CODES",
    "XML_NAME",
    "Email",
    "Format",
    "Options",
    "PayPalAdapter",
    "Payment",
    "PaymentEvent",
    "PaymentProvider",
    "ProviderInvoice",
    "StripeAdapter",
    "Term",
    "events_to_csv",
    "export",
    "file_name",
    "message_id",
    "payment_of",
    "save",
    "send_email",
    "to_cii",
    "to_csv",
    "to_facturx",
    "to_html",
    "to_pdf",
    "verify_stripe_webhook",
]
