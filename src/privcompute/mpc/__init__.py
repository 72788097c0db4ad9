"""Protocols on additive shares."""

from privcompute.mpc.deal import deal
from privcompute.mpc.reveal import reveal, reveal_to
from privcompute.mpc.shared import Shared

__all__ = ["Shared", "deal", "reveal", "reveal_to"]
