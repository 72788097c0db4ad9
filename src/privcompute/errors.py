"""The errors privcompute raises, in one tree.

    PrivcomputeError
    ├── UsageError        yours; nothing was sent                  exit status 2
    ├── PeerError         theirs: party and label or stage named   exit status 3
    ├── TransportError    the network, a port, a vanished process  exit status 4
    ├── PrivacyError      refused on purpose, by a rule            exit status 5
    ├── IntegrityError    a check failed; nothing was released     exit status 6
    └── ConsentNeeded     an owner has not agreed yet              exit status 7

Every error has a stable ``code`` for programs, a message and a ``remedy`` for people, and, where they are known,
the ``party`` and the ``stage`` it belongs to. A message never holds data, a share or a key: it may travel to the
peer and into a log.
"""

from __future__ import annotations

from typing import ClassVar

MAX_TEXT = 2000


class PrivcomputeError(Exception):
    """Root of all errors of this package.

    Args:
        message: What happened, for a person; never data.
        code: Stable word for programs, such as ``"range_exceeded"``.
        remedy: What to do next; may be empty.
        party: The party the error belongs to, where one is known.
        stage: The stage or message label at which it happened.
    """

    exit_status: ClassVar[int] = 1
    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        remedy: str = "",
        party: str | None = None,
        stage: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.remedy = remedy
        self.party = party
        self.stage = stage

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (f"party {self.party}" if self.party else "", f"at {self.stage}" if self.stage else "")
            if part
        )
        # Behind the first line: carets under a piece of SQL may follow, and they end the text.
        first, line_end, rest = self.message.partition("\n")
        text = first + (f" ({where})" if where else "") + line_end + rest
        return f"{text}\n  -> {self.remedy}" if self.remedy else text

    def to_json(self) -> dict[str, str | None]:
        """The fields that ``--json`` prints and that an abort frame carries."""
        return {
            "code": self.code,
            "message": self.message,
            "party": self.party,
            "stage": self.stage,
            "remedy": self.remedy,
        }


class UsageError(PrivcomputeError):
    """The caller's words, files or numbers are off; nothing was sent."""

    exit_status = 2
    default_code = "usage"


class PeerError(PrivcomputeError):
    """The peer broke the protocol, or refused."""

    exit_status = 3
    default_code = "peer"


class TransportError(PrivcomputeError):
    """The link failed: unreachable, closed, timed out, a port is taken."""

    exit_status = 4
    default_code = "transport"


class PrivacyError(PrivcomputeError):
    """Refused on purpose: a rule of an owner forbids it."""

    exit_status = 5
    default_code = "privacy"


class IntegrityError(PrivcomputeError):
    """A check failed; nothing of the run was released."""

    exit_status = 6
    default_code = "integrity"


class ConsentNeeded(PrivcomputeError):
    """An owner, or the person who asks, has not agreed yet."""

    exit_status = 7
    default_code = "consent_needed"


_BY_NAME: dict[str, type[PrivcomputeError]] = {
    cls.__name__: cls for cls in (UsageError, PeerError, TransportError, PrivacyError, IntegrityError, ConsentNeeded)
}


def class_named(name: str) -> type[PrivcomputeError]:
    """The error class of that name; PeerError for a name that is none of ours."""
    return _BY_NAME.get(name, PeerError)
