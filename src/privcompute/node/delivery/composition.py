"""Several releases of one table: two k-anonymous ones with different generalizations intersect to single people.

A release is a row of the ledger from the moment its first piece may have left, whoever received it: peers may lay
their tables together.
"""

from __future__ import annotations

from collections.abc import Sequence

from privcompute.errors import PrivacyError
from privcompute.node.delivery.manifest import Kind
from privcompute.node.delivery.tables import SentTable


def check_earlier(
    left: Sequence[SentTable], version: str, kind: Kind, policy: str, sha256: str | None
) -> tuple[str, ...]:
    """Refuse a table that an earlier one of the same rows would undo.

    Args:
        left: the dataset's earlier releases.
        version: of the dataset, now.
        kind: of the new release.
        policy: its policy's digest.
        sha256: of the new table; None before it is made.

    Returns:
        What the owner should know of earlier releases that do not forbid this one.

    Raises:
        PrivacyError: `second_release`.
    """
    notes = []
    for one in left:
        earlier = one.manifest
        same = earlier.policy == policy if sha256 is None else earlier.sha256 == sha256
        if one.version == version and same:
            continue
        # The same policy makes another table only of chance (noise is averaged away) or under other keys.
        risky = "anonymized" in (kind, earlier.kind) or earlier.policy == policy
        if one.version == version and risky:
            raise PrivacyError(
                f"this version of {earlier.dataset} was released to {earlier.receiver} as another table: two tables of"
                " the same rows, laid together, may show single people",
                code="second_release",
                stage="release",
                remedy="release under the earlier policy, or, if you have weighed it, add --despite-earlier",
            )
        when = "this version" if one.version == version else "an earlier version"
        if risky or one.version == version:
            notes.append(f"{when} of {earlier.dataset} was released to {earlier.receiver}: together they may tell more")
    return tuple(dict.fromkeys(notes))
