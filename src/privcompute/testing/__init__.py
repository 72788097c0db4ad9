"""Public helpers to run and test protocols: in one process, shaped, metered, recorded, with faults."""

from privcompute.testing.faults import Fault, FaultyChannel
from privcompute.testing.loopback import LoopbackChannel, loopback_pair
from privcompute.testing.recording import Entry, RecordingChannel
from privcompute.testing.simulate import Outcome, Simulation, arun_parties, simulate
from privcompute.testing.units import parse_rate, parse_time

__all__ = [
    "Entry",
    "Fault",
    "FaultyChannel",
    "LoopbackChannel",
    "Outcome",
    "RecordingChannel",
    "Simulation",
    "arun_parties",
    "loopback_pair",
    "parse_rate",
    "parse_time",
    "simulate",
]
