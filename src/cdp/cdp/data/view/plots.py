"""Small line plots as SVG text, light enough for hundreds on one page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from cdp.geometry import FloatArray

COLOURS = ("#c0392b", "#1e8449", "#1f618d")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 420, 96, 54, 16, 14


def line_plot(title: str, names: Sequence[str], series: FloatArray, dashed: FloatArray | None = None, duration_s: float = 0.0) -> str:
    """SVG of series (T, D) over the rows, with others of the same shape dashed behind them; the axis spans what is shown."""
    shown = series if dashed is None else np.concatenate([series, dashed])
    low, high = float(shown.min()), float(shown.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="plot" role="img" aria-label="{escape(title)}">']
    parts.append(f'<text x="{_LEFT}" y="11" class="title">{escape(title)}</text>')
    for k, name in enumerate(names):
        parts.append(f'<text x="{_WIDTH - 8 - 48 * (len(names) - 1 - k)}" y="11" class="key" fill="{COLOURS[k % 3]}">{escape(name)}</text>')
    floor = _HEIGHT - _BOTTOM
    parts.append(f'<path d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - 4}" class="axis"/>')
    parts.append(
        f'<text x="{_LEFT - 4}" y="{_TOP + 8}" class="tick">{high:.3g}</text><text x="{_LEFT - 4}" y="{floor}" class="tick">{low:.3g}</text>'
    )
    parts.append(f'<text x="{_WIDTH - 4}" y="{_HEIGHT - 3}" class="tick">{duration_s:.1f} s</text>')
    for values, style in ((dashed, ' stroke-dasharray="3 3" opacity="0.6"'), (series, "")):
        if values is not None:
            parts += [_line(values[:, d], low, high, COLOURS[d % 3], style) for d in range(values.shape[1])]
    return "".join([*parts, "</svg>"])


def _line(values: FloatArray, low: float, high: float, colour: str, style: str) -> str:
    x = np.linspace(_LEFT, _WIDTH - 4, len(values))
    y = _HEIGHT - _BOTTOM - (values - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"{style}/>'
