"""A table of one's own, anonymized or desensitized, delivered to a paired peer: whole, checked, once, and on record.

sender                                      receiver
policy, grades, earlier releases
the table, spooled; consent
delivery  ------------------------------>   signature, limits, the owner's word
          <------------------------------   held: pieces that an earlier attempt left, and their digest
sharing, grades, once more; release ledger
from      ------------------------------>   the piece to begin with
pieces    ------------------------------>   spooled
                                            SHA-256 of the whole, form of every batch
          <------------------------------   receipt, signed

What the receiver sees: the manifest (names and types of the columns that leave, number of rows, purpose, digest of the
policy, the part of its report that speaks of what leaves) and the rows. Each piece is at most `PIECE` bytes of an Arrow
IPC stream, so memory is bounded on both sides, and an attempt after a cut begins where the last one ended.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = b"privcompute table "
"""How the session id of a delivery begins."""


def is_delivery(session_id: bytes) -> bool:
    """Whether a link of that session delivers a table."""
    return session_id.startswith(PREFIX)
