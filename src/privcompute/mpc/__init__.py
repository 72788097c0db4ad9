"""Protocols on additive shares."""

from privcompute.mpc.deal import deal
from privcompute.mpc.refresh import refresh
from privcompute.mpc.reveal import reveal, reveal_to
from privcompute.mpc.shared import Shared

__all__ = ["Shared", "deal", "refresh", "reveal", "reveal_to"]
