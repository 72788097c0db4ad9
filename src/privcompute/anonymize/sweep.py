"""Risk and loss for several k, for the picture: the release is searched anew for each, on the same grouped tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from privcompute.anonymize import frame as frames
from privcompute.anonymize.classes import classes_by
from privcompute.anonymize.models import AlphaKAnonymity, KAnonymity, Model
from privcompute.anonymize.picture import Point
from privcompute.anonymize.policy import Policy
from privcompute.anonymize.prepare import group_size, prepare
from privcompute.anonymize.release import found_by_search
from privcompute.anonymize.report import Report
from privcompute.anonymize.risk import risk
from privcompute.anonymize.shown import ncp, shown_numbers
from privcompute.errors import PrivacyError, UsageError

KS = (2, 3, 5, 10, 20, 50, 100)


def sweep(policy: Policy, frame: Any, ks: Sequence[int] = KS) -> tuple[Point, ...]:
    """A point for each k, the policy's own among them; a k that no release holds has no loss."""
    prepared = prepare(policy, frames.load(frame).table)
    tables = prepared.tables()
    try:
        own: int | None = group_size(policy)
    except UsageError:
        own = None
    points = []
    for k in sorted({*ks, *([] if own is None else [own])}):
        models = tuple(_with_k(model, k) for model in policy.models)
        if own is None:
            models = (*models, KAnonymity(k))
        try:
            shown, _ = found_by_search(replace(policy, models=models), prepared, tables)
        except PrivacyError:
            points.append(Point(k, 0.0, 0.0, None, k == own))
            continue
        about = risk(classes_by(shown_numbers(shown), {}, {}))
        points.append(Point(k, about.prosecutor, about.marketer, ncp(shown) / 100, k == own))
    return tuple(points)


def with_sweep(policy: Policy, frame: Any, report: Report) -> Report:
    """The report with its picture's points."""
    points = sweep(policy, frame)
    listed = [
        {"k": p.k, "highest_risk": p.risk, "average_risk": p.average, "loss": p.loss}
        for p in points
        if p.loss is not None
    ]
    return replace(report, points=points, body={**report.body, "against_k": listed})


def _with_k(model: Model, k: int) -> Model:
    if isinstance(model, KAnonymity):
        return KAnonymity(k)
    if isinstance(model, AlphaKAnonymity):
        return AlphaKAnonymity(model.column, model.alpha, k)
    return model
