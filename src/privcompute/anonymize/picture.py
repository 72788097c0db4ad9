"""Risk and loss against k, drawn as SVG: two lines over k on a logarithmic axis, with the policy's k marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privcompute.anonymize.words import word

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 48, 64
_LABEL = 28
"""Least distance of two numbers below the axis; three digits are about 24 wide."""


@dataclass(frozen=True)
class Point:
    """One k.

    Attributes:
        k: the least class size.
        risk: the highest risk of a row, 0 to 1.
        average: the average risk.
        loss: NCP, 0 to 1; None: no release holds this k.
        chosen: whether it is the policy's own.
    """

    k: int
    risk: float
    average: float
    loss: float | None
    chosen: bool = False


def picture(points: Sequence[Point], locale: str) -> str:
    """The SVG text; the same for the same points."""
    drawn = sorted((point for point in points if point.loss is not None), key=lambda point: point.k)
    low, high = (drawn[0].k, drawn[-1].k) if drawn else (2, 100)

    def x(k: float) -> float:
        span = math.log(high) - math.log(low)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((math.log(k) - math.log(low)) / span if span else 0.5)

    def y(part: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - part)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<g font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{word("picture", locale)}</text>',
    ]
    for tenth in range(0, 11, 2):
        height = y(tenth / 10)
        lines.append(f'<path d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    own = [x(point.k) for point in drawn if point.chosen]
    for point in drawn:
        place = x(point.k)
        if point.chosen:
            lines.append(f'<path d="M{place:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#888888" stroke-dasharray="4 3"/>')
        elif any(abs(place - other) < _LABEL for other in own):
            continue  # two numbers would lie on each other: the policy's is the one to read
        style = 'text-anchor="middle"' + (' font-weight="bold"' if point.chosen else "")
        lines.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 18}" {style}>{point.k}</text>')
    lines.append(f'<text x="{_LEFT - 16}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="end" font-style="italic">k</text>')
    series = (
        ("highest_risk", "#b2182b", "", [(p.k, p.risk) for p in drawn]),
        ("average_risk", "#b2182b", "5 4", [(p.k, p.average) for p in drawn]),
        ("loss", "#2166ac", "", [(p.k, p.loss or 0.0) for p in drawn]),
    )
    # The dashed line last: where it runs along another one, that shows through its gaps.
    for place in (0, 2, 1):
        name, colour, dash, values = series[place]
        path = "L".join(f"{x(k):.1f} {y(part):.1f}" for k, part in values)
        style = f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")
        if values:
            lines.append(f'<path d="M{path}" {style}/>')
            lines += [f'<circle cx="{x(k):.1f}" cy="{y(part):.1f}" r="3" fill="{colour}"/>' for k, part in values]
        start = _LEFT + 190 * place
        lines.append(f'<path d="M{start} {_HEIGHT - 18}h24" {style}/>')
        lines.append(f'<text x="{start + 30}" y="{_HEIGHT - 14}">{word(name, locale)}</text>')
    return "\n".join([*lines, "</g></svg>"]) + "\n"
