"""One stage with many holders side by side: who is late, gone or breaks a rule is dropped, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from privcompute.errors import PeerError, PrivacyError, PrivcomputeError, UsageError
from privcompute.session import Session
from privcompute.union.job import Roster

T = TypeVar("T")

BEAT: Final = 1.0
"""Seconds between two signs of life to the holders that wait."""
DECIDING: Final = "deciding what may show"
"""Stage of the collector's suppression."""


def collector_name(party: str) -> str:
    """What the collector calls itself in its own session, where a holder of the same node may bear the party's name.

    No party is called so: the names of parties have letters, digits and low lines.
    """
    return f"collector of {party}"


def lost_after_admission(left: str, stage: str) -> PeerError:
    """Too few holders are left, and their ledgers have noted already whose rows would be in the sum.

    Nothing opened. But those who are left cannot begin anew by themselves: to their ledgers that is a sum over few
    holders less, whose difference to the first one would be the rows of those who left.

    Args:
        left: How many are left, for people.
        stage: The session's path.
    """
    return PeerError(
        f"{left}, after the holders' ledgers had noted whose rows the sum is over",
        code="quorum_lost_after_admission",
        stage=stage,
        remedy="no total was opened; ask again when the same holders are there: their ledgers refuse a sum over "
        "only a few less (differencing_holders)",
    )


class Stages:
    """The collector's talk with all holders that are still there.

    Args:
        s: The session with one channel for each holder that came.
        roster: Who may come.
        patience: Seconds that a stage waits for each holder.

    Attributes:
        dropped: Reason by party.
        binding: Whether contributions are in the sums: then an owner's refusal ends the run, else only its part in it.

    Raises:
        UsageError: ``bad_parties``: a party of the session is not on the roster.
    """

    def __init__(self, s: Session, roster: Roster, patience: float) -> None:
        if s.me in roster.holders or not set(s.others) <= set(roster.holders):
            raise UsageError("the collector's session has holders of the roster only", code="bad_parties")
        self._s, self._patience = s, patience
        self.dropped: dict[str, str] = {name: "absent" for name in roster.holders if name not in s.others}
        self.binding = False

    @property
    def present(self) -> tuple[str, ...]:
        """Who is still there."""
        return self._s.others

    def in_time(self) -> asyncio.Timeout:
        """Ends what it encloses after the patience of one stage."""
        return asyncio.timeout(self._patience)

    def drop(self, party: str, error: PrivcomputeError) -> None:
        """Goes on without a holder."""
        self.dropped.setdefault(party, error.code)
        self._s.drop(party, error)

    def drop_all(self, parties: Iterable[str], error: PrivcomputeError) -> None:
        """Goes on without these holders."""
        for party in parties:
            self.drop(party, error)

    def check_quiet(self, party: str) -> None:
        """Raises PeerError (``unclaimed``) if the holder sent more than it was asked for, or twice."""
        if self._s.unclaimed(party):
            raise PeerError(
                "the holder sent more than it was asked for",
                code="unclaimed",
                party=party,
                stage=self._s.path,
                remedy="check that both nodes run the same version",
            )

    async def alive(self, stage: str, work: Awaitable[T]) -> T:
        """Waits for something long; meanwhile the others get a sign of life every `BEAT` seconds.

        Args:
            stage: For progress.
            work: What to wait for; cancelled with this.
        """
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=BEAT))[0]:
                self._s.progress(stage, 0, 1)
            return task.result()
        finally:
            task.cancel()

    async def each(self, stage: str, talk: Callable[[str], Awaitable[T]], *, timed: bool = True) -> dict[str, T]:
        """Talks with every holder, and drops those that do not answer in time, or not as they should.

        Args:
            stage: For progress and errors.
            talk: With one holder; its result is taken if it has sent nothing else.
            timed: Whether the whole talk has to be over within the patience; else ``talk`` keeps the time itself.

        Returns:
            The results of those that are still there, in the order of the roster.

        Raises:
            PrivacyError: an owner refuses while its contribution is in the sums.
        """
        tasks = {party: asyncio.ensure_future(self._one(stage, party, talk, timed)) for party in self.present}
        waiting = set(tasks.values())
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                self._s.progress(stage, len(tasks) - len(waiting), len(tasks))
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return {party: result for party, task in tasks.items() if party in self.present for result in task.result()}

    async def _one(self, stage: str, party: str, talk: Callable[[str], Awaitable[T]], timed: bool) -> list[T]:
        try:
            if timed:
                async with self.in_time():
                    result = await talk(party)
            else:
                result = await talk(party)
            self.check_quiet(party)
        except TimeoutError:
            late = PeerError(
                f"the holder did not answer within {self._patience:g} s",
                code="late",
                party=party,
                stage=f"{self._s.path}: {stage}",
                remedy="check the holder's node and network, then ask again",
            )
            self.drop(party, late)
        except PrivacyError:
            if self.binding:
                raise
            self.drop(party, PeerError("the holder refused", code="refused", party=party))
        except PrivcomputeError as error:
            error.party = error.party or party
            self.drop(party, error)
        else:
            return [result]
        return []
