"""Links between nodes: identity, pairing, mutual TLS 1.3, and `session.Channel` over gRPC.

Importing this package does one thing, and must do it before `grpc` is imported anywhere: grpcio has no switch for the
TLS version and accepts 1.2 by default. Our certificates are P-256. With only an ECDHE-*RSA* suite allowed for TLS 1.2,
no 1.2 handshake can succeed, while TLS 1.3, whose suites gRPC does not configure, is untouched. The server checks the
negotiated version once more on every call (`gate`).
"""

from __future__ import annotations

import os
import sys
from typing import Final

from privcompute.errors import UsageError

CIPHER_SUITES: Final = "ECDHE-RSA-AES128-GCM-SHA256"


def _require_tls13() -> None:
    set_before = os.environ.get("GRPC_SSL_CIPHER_SUITES")
    if "grpc" in sys.modules and set_before != CIPHER_SUITES:
        raise UsageError(
            "grpc was imported before privcompute.transport, so TLS 1.3 can no longer be enforced",
            code="grpc_imported_early",
            remedy="import privcompute.transport before grpc, or start Python with "
            f"GRPC_SSL_CIPHER_SUITES={CIPHER_SUITES}",
        )
    os.environ["GRPC_SSL_CIPHER_SUITES"] = CIPHER_SUITES
    # gRPC's own lines on standard error repeat, less clearly, what our named errors say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


_require_tls13()
