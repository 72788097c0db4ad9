"""What a party hears of a run that another one ended."""

from __future__ import annotations

import pytest

from privcompute.errors import PeerError, PrivacyError, PrivcomputeError, TransportError
from privcompute.node.jobs.job import _as_told_to


@pytest.mark.parametrize("kind", [TransportError, PeerError])
def test_a_complaint_about_a_party_reaches_it_in_the_name_of_who_complains(kind: type[PrivcomputeError]) -> None:
    error = kind("nothing heard from the peer for 8 s", code="deadline", party="insurer", stage="run/x.1", remedy="r")
    told = _as_told_to("insurer", error, "hospital")
    assert type(told) is kind
    assert (told.party, told.code, told.stage, told.remedy) == ("hospital", "deadline", "run/x.1", "r")
    assert told.message == "hospital says of insurer: nothing heard from the peer for 8 s"
    assert _as_told_to("bank", error, "hospital") is error


def test_a_rule_of_the_party_itself_stays_its_own() -> None:
    error = PrivacyError("insurer's rule forbids it", code="not_allowed", party="insurer")
    assert _as_told_to("insurer", error, "hospital") is error
