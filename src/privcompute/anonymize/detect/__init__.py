"""Detection of identifiers in columns and free text: Chinese and international, with reasons and exact spans."""

from __future__ import annotations

from privcompute.anonymize.detect.kinds import DEFAULT_THRESHOLD, KINDS, REASONS
from privcompute.anonymize.detect.scan import Finding, Findings, scan, scan_text, warm_up

__all__ = ["DEFAULT_THRESHOLD", "KINDS", "REASONS", "Finding", "Findings", "scan", "scan_text", "warm_up"]
