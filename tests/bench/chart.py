"""Ratios as a picture: a bar for each, drawn against its goal. SVG, so that a page can show it without a library."""

from collections.abc import Sequence
from html import escape

from tests.bench.figures import Ratio

WIDTH, LINE, LEFT, RIGHT, TOP = 1020, 30, 470, 190, 46
FULL = 2.0
"""How many times the goal the longest bar shows; a longer one is cut, and its figure stands beside it."""
GOAL_X = LEFT + (WIDTH - LEFT - RIGHT) / FULL


def drawn(ratios: Sequence[Ratio]) -> str:
    """The picture: how much of its goal each ratio reaches, so that every goal stands on one line."""
    height = TOP + LINE * len(ratios) + 14
    rows = [_row(number, ratio) for number, ratio in enumerate(ratios)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
            ' font-size="13" role="img" aria-label="Ratios against their goals">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{GOAL_X:.0f}" y="20" text-anchor="middle" fill="#444">goal</text>',
            f'<path d="M{GOAL_X:.0f} 28V{height - 8}" stroke="#444" stroke-dasharray="4 3"/>',
            *rows,
            "</svg>\n",
        ]
    )


def _row(number: int, ratio: Ratio) -> str:
    y = TOP + LINE * number
    reached = ratio.goal / ratio.value if ratio.is_limit else ratio.value / ratio.goal
    length = min(reached, FULL) * (GOAL_X - LEFT)
    colour = "#2e7d5b" if ratio.is_met else "#b4552d"
    bound = "at most" if ratio.is_limit else "at least"
    return (
        f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end" fill="#222">{escape(ratio.label)} ({ratio.name})</text>'
        f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="20" rx="2" fill="{colour}"/>'
        f'<text x="{LEFT + length + 6:.0f}" y="{y + 14}" fill="#222" '
        'stroke="#fff" stroke-width="4" paint-order="stroke">'
        f"{_figure(ratio.value)} {ratio.unit}, {bound} {ratio.goal:g}</text>"
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
