"""The frames of a data stream: one gRPC message each, a small header and raw bytes, no serializer in between.

    FIRST   kind, 0, label length (2), message length (8); label, zeros up to a multiple of 16; the first bytes
    MORE    kind, 0, 0 0, offset (8); the message's next bytes
    SIGNAL  kind, word length, 0 0; word; body
    CLOSE   kind, 0, 0 0
    ABORT   kind, 0, 0 0; JSON: type, code, message, remedy, party, stage

A message of one frame is handed on where it lies, so the zeros keep its numbers aligned. Integers are little-endian.
Messages do not interleave, and every frame of a message but its last carries exactly `CHUNK` bytes of it: a peer cannot
keep a message alive by crumbs. Everything read here is hostile until checked; the one error for all that is wrong is
`PeerError` ``bad_frame``.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from privcompute.errors import MAX_TEXT, PeerError, PrivcomputeError, UsageError, class_named
from privcompute.session.channel import MAX_LABEL
from privcompute.transport.identity import NAME_PATTERN
from privcompute.transport.limits import CHUNK

FIRST, MORE, SIGNAL, CLOSE, ABORT = 1, 2, 3, 4, 5
MAX_WORD: Final = 32
MAX_SIGNAL: Final = 4096
MAX_ABORT: Final = 8192
MAX_MESSAGE: Final = 1 << 48

_FIRST: Final = struct.Struct("<BBHQ")
_MORE: Final = struct.Struct("<BBHQ")
_SMALL: Final = struct.Struct("<BBH")
_ALIGNED: Final = 16
_LABEL: Final = re.compile(rb"[!-~]+")
_CODE: Final = re.compile(r"[a-z0-9_]{1,64}\Z")


@dataclass(frozen=True, slots=True, repr=False)
class Chunk:
    """A piece of a message."""

    label: str
    total: int
    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True, repr=False)
class Signal:
    """An out-of-band word."""

    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer sends nothing more and wants nothing more."""


@dataclass(frozen=True, slots=True)
class Abort:
    """The peer ended the run."""

    error: PrivcomputeError


def label_bytes(label: str) -> bytes:
    """A label as it travels.

    Raises:
        UsageError: code ``bad_label``: empty, too long, or not printable ASCII without spaces.
    """
    raw = label.encode("utf-8")
    if len(raw) > MAX_LABEL or not _LABEL.fullmatch(raw):
        raise UsageError("a label is at most 512 printable ASCII characters without spaces", code="bad_label")
    return raw


def first_header(label: bytes, total: int) -> bytes:
    """The header of a message's first frame, label included."""
    return _FIRST.pack(FIRST, 0, len(label), total) + label + bytes(-(_FIRST.size + len(label)) % _ALIGNED)


def more_header(offset: int) -> bytes:
    """The header of a further frame."""
    return _MORE.pack(MORE, 0, 0, offset)


def signal_frame(kind: str, body: bytes) -> bytes:
    """A SIGNAL frame.

    Raises:
        ValueError: the word or its body is too long.
    """
    word = kind.encode("ascii")
    if not 0 < len(word) <= MAX_WORD or len(body) > MAX_SIGNAL:
        raise ValueError("a signal is a short word and a small body")
    return _SMALL.pack(SIGNAL, len(word), 0) + word + body


def close_frame() -> bytes:
    """A CLOSE frame."""
    return _SMALL.pack(CLOSE, 0, 0)


def abort_frame(error: PrivcomputeError) -> bytes:
    """An ABORT frame; texts are cut to size."""
    fields = {key: value[: MAX_TEXT // 2] if value else value for key, value in error.to_json().items()}
    body = json.dumps({"type": type(error).__name__, **fields}).encode()
    if len(body) > MAX_ABORT:
        body = json.dumps({"type": type(error).__name__, "code": fields["code"], "message": ""}).encode()
    return _SMALL.pack(ABORT, 0, 0) + body


class Reader:
    """Reads the frames of one stream in order, and checks each against those before it.

    Args:
        peer: Whose frames these are, for errors.
    """

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._label = ""
        self._total = 0
        self._next = 0  # offset the next MORE must have; 0: no message is under way
        self._header = b""  # and its header

    def read(self, frame: bytes) -> Chunk | Signal | Close | Abort:
        """What a frame says.

        Raises:
            PeerError: code ``bad_frame``: it breaks the rules; the stream is of no use any more.
        """
        kind = frame[0] if frame else 0
        if kind == MORE:
            return self._more(frame)
        if kind == FIRST:
            return self._first(frame)
        if kind == SIGNAL:
            return self._signal(frame)
        if kind == CLOSE and len(frame) == _SMALL.size:
            return Close()
        if kind == ABORT and len(frame) <= MAX_ABORT + _SMALL.size:
            return Abort(self._abort(frame[_SMALL.size :]))
        raise self._bad("a frame of an unknown kind")

    def place(self, frame: bytes, message: npt.NDArray[np.uint8]) -> int:
        """Copies the next bytes of the message under way to their place, without holding up other threads.

        Few steps, because each costs: between two chunks of a megabyte the processor has forgotten how it was done.

        Args:
            frame: Any frame.
            message: All of the message, of its announced size.

        Returns:
            How many bytes of it are still to come; -1: the frame is not that MORE, and `read` tells what it is.
        """
        start, total = self._next, self._total
        end = min(start + CHUNK, total)
        if not start or not frame.startswith(self._header) or len(frame) != _MORE.size + end - start:
            return -1
        message[start:end] = np.frombuffer(frame, np.uint8, offset=_MORE.size)
        self._expect(end)
        return total - end

    def _expect(self, offset: int) -> None:
        self._next = offset if offset < self._total else 0
        self._header = more_header(offset)

    def _first(self, frame: bytes) -> Chunk:
        if self._next:
            raise self._bad("a message inside another")
        if len(frame) < _FIRST.size:
            raise self._bad("a truncated header")
        _, zero, size, total = _FIRST.unpack_from(frame)
        end = _FIRST.size + size
        label, start = frame[_FIRST.size : end], end + -end % _ALIGNED
        if len(frame) < start:
            raise self._bad("a truncated header")
        if zero or size > MAX_LABEL or not _LABEL.fullmatch(label) or any(frame[end:start]):
            raise self._bad("a label of a wrong form")
        if total > MAX_MESSAGE:
            raise self._bad("a message of an impossible length")
        self._label, self._total = label.decode("ascii"), total
        return self._chunk(0, memoryview(frame)[start:])

    def _more(self, frame: bytes) -> Chunk:
        if len(frame) < _MORE.size:
            raise self._bad("a truncated header")
        _, zero, also, offset = _MORE.unpack_from(frame)
        if not self._next:
            raise self._bad("a chunk without a beginning")
        if zero or also or offset != self._next:
            raise self._bad("a chunk out of place")
        return self._chunk(offset, memoryview(frame)[_MORE.size :])

    def _chunk(self, offset: int, data: memoryview) -> Chunk:
        if len(data) != min(self._total - offset, CHUNK):
            raise self._bad("a chunk of a wrong size")
        self._expect(offset + len(data))
        return Chunk(self._label, self._total, offset, data)

    def _signal(self, frame: bytes) -> Signal:
        if len(frame) < _SMALL.size:
            raise self._bad("a truncated header")
        size = frame[1]
        start = _SMALL.size + size
        word, body = frame[_SMALL.size : start], frame[start:]
        if not 0 < size <= MAX_WORD or not _LABEL.fullmatch(word) or len(word) != size or len(body) > MAX_SIGNAL:
            raise self._bad("a signal of a wrong form")
        return Signal(word.decode("ascii"), body)

    def _abort(self, body: bytes) -> PrivcomputeError:
        """The peer's error, as it may be shown here: known type, tame code, printable text, plausible party."""
        try:
            said = json.loads(body)
            kind, code, party = str(said["type"]), str(said["code"]), said.get("party")
            message, remedy, stage = (_plain(said.get(key)) for key in ("message", "remedy", "stage"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._bad("an abort of a wrong form") from None
        return class_named(kind)(
            message or "the peer ended the run",
            code=code if _CODE.match(code) else "aborted",
            remedy=remedy,
            party=party if isinstance(party, str) and NAME_PATTERN.match(party) else self._peer,
            stage=stage[:MAX_LABEL] or None,
        )

    def _bad(self, what: str) -> PeerError:
        return PeerError(
            f"the peer sent {what}",
            code="bad_frame",
            party=self._peer,
            stage=self._label or None,
            remedy="the link ended; if it happens again, compare the two versions (privcompute doctor)",
        )


def _plain(text: object) -> str:
    """Printable text of a peer: nothing that steers a terminal or forges a line of a log."""
    if not isinstance(text, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_TEXT])
