"""The ledger as one SVG of our own: a row a statement, readable at 830 px, on light and dark pages, without colours, without fonts.

Verdicts differ in shape first (disc, cross, diamond, dash), then in colour.  Each thin bar is the interval of one claim about its
threshold (the middle line), to its own scale: the end that is farthest from the threshold touches the border.  So a short bar is a precise
number, and one across the line is undecided.  `vp.lab.ledger.span` computes it; nothing is judged here.
"""

import math
import re
from html import escape

import numpy as np

from vp.lab.ledger import TURNED, TURNS, VERDICTS, counts, short, span
from vp.show import style
from vp.show.style import BLUE, ORANGE, SKY, VERMILLION

WIDTH, TOP, PITCH, STEP = 830, 84, 26, 6  # px: of the picture; to the first row; of a row; between the bars of a row
TITLE_X, GLYPH_X, GLYPH_W, EFFECT_X = 34, 362, 150, 528
TITLE, SMALL = 12.5, 11  # px, sizes of type
EM = 0.56  # width of a mean character of a sans-serif type, in its size
NAMES = ("holds", "fails", "open", "none")  # classes of VERDICTS
LIGHT = {"page": "#ffffff", "ink": "#1f2328", "soft": "#59636e", "rule": "#d1d9e0", "holds": BLUE, "fails": VERMILLION, "open": "#8a6100",
         "none": "#818b98", "claimed": "#eaf3fa"}  # fmt: skip
DARK = {"page": "#0d1117", "ink": "#f0f6fc", "soft": "#9198a1", "rule": "#3d444d", "holds": SKY, "fails": "#ff8a4c", "open": ORANGE,
        "none": "#818b98", "claimed": "#142634"}  # fmt: skip


def svg(ledger):
    """SVG text of the Lines of a ledger."""
    heights = [max(PITCH, STEP * len(line.judged) + 8) for line in ledger]
    total = TOP + sum(heights) + 14
    several = len({(x.profile, x.data) for x in ledger if x.judged}) > 1
    parts, y = [], TOP
    for line, height in zip(ledger, heights):
        parts.append(_row(line, y, height, several))
        y += height
    body = "".join(parts)
    middle = GLYPH_X + GLYPH_W / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" role="img">\n'
        f"<title>{escape(counts(ledger))}</title>\n<style>\n{_style()}</style>\n"
        f'<rect class="f-page s-rule" x="0.5" y="0.5" width="{WIDTH - 1}" height="{total - 1}" rx="6"/>\n'
        f"{_legend(ledger)}"
        f'<rect class="f-claimed" x="{middle:g}" y="{TOP - 4}" width="{GLYPH_W / 2:g}" height="{total - TOP - 6}"/>\n'
        f'<line class="s-soft" x1="{middle:g}" x2="{middle:g}" y1="{TOP - 4}" y2="{total - 10}"/>\n{body}</svg>\n'
    )


def _style():
    """Classes f-NAME (fill) and s-NAME (stroke) of each colour, again for dark pages."""
    def rules(colours):
        return "".join(f".f-{k}{{fill:{c}}}.s-{k}{{stroke:{c}}}" for k, c in colours.items())

    plain = f'text{{font-family:system-ui,"Segoe UI",Helvetica,Arial,sans-serif;font-size:{SMALL}px}}.title{{font-size:{TITLE}px}}'
    return f"{plain}\n{rules(LIGHT)}\n@media (prefers-color-scheme: dark){{{rules(DARK)}}}\n"


def _legend(ledger):
    """Counts, what the shapes mean, what the bars mean."""
    x, out = 14, [f'<text class="f-ink title" font-weight="600" x="14" y="24">{escape(counts(ledger))}</text>\n']
    for verdict in VERDICTS:
        out.append(_shape(verdict, x + 6, 46) + f'<text class="f-soft" x="{x + 18}" y="50">{verdict}</text>\n')
        x += 34 + round(len(verdict) * EM * SMALL)
    middle = GLYPH_X + GLYPH_W / 2
    out += [
        f'<text class="f-soft" x="{middle - 6:g}" y="50" text-anchor="end">against</text>\n',
        f'<text class="f-soft" x="{middle + 6:g}" y="50">as claimed</text>\n',
        f'<text class="f-soft" x="{middle:g}" y="68" text-anchor="middle">threshold</text>\n',
        '<text class="f-soft" x="14" y="68">Bars: 95 % intervals, each to its own scale; thick decides</text>\n',
        f'<text class="f-soft" x="{EFFECT_X}" y="50">effect [95 % interval], what is claimed</text>\n',
    ]
    if any(line.turned for line in ledger):
        out.append(f'<text class="f-soft" x="{EFFECT_X}" y="68">{TURNED} {TURNS}</text>\n')
    return "".join(out)


def _row(line, y, height, several):
    """One statement: shape, title, a bar per claim, the numbers of the claim that decides."""
    middle, s = y + height / 2, line.statement
    where = f" · {line.profile}, {line.data}" if several and line.judged else ""
    name = re.sub(r"\W+", "-", s.id + where)
    title = short(s.title + where, fits(GLYPH_X - TITLE_X - 8, TITLE))
    out = [
        f'<g id="{name}">',
        f"<title>{escape(f'{s.says} ({s.anchor}): {line.label}')}</title>",
        f'<line class="s-rule" x1="10" x2="{WIDTH - 10}" y1="{y:g}" y2="{y:g}" stroke-width="0.5"/>',
        _shape(line.verdict, 20, middle),
        f'<text class="f-ink title" x="{TITLE_X}" y="{middle + 4:g}">{escape(title)}</text>',
    ]
    top = middle - STEP * (len(line.judged) - 1) / 2
    for k, v in enumerate(line.judged):
        out.append(_bar(v, top + STEP * k, v is line.deciding))
    effect = short(line.effect, fits(WIDTH - EFFECT_X - 10, SMALL))
    out.append(f'<text class="f-{"ink" if line.judged else "soft"}" x="{EFFECT_X}" y="{middle + 4:g}">{escape(effect)}</text></g>\n')
    return "".join(out)


def fits(width, size):
    """How many characters of a type of this size (px) fit into a width (px)."""
    return int(width / (EM * size))


def _bar(verdict, y, decides):
    """The interval of one claim as a bar, its value as a dot; the claim that decides is drawn thicker."""
    low, value, high = (GLYPH_X + GLYPH_W / 2 * (1 + 0.94 * x) for x in span(verdict))
    name = NAMES[VERDICTS.index(verdict.verdict)]
    width, radius = (3, 3.4) if decides else (1.5, 2)
    bar = f'<line class="s-{name}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:g}" y2="{y:g}" stroke-width="{width}"/>'
    return f'{bar if high - low > 0.1 else ""}<circle class="f-{name}" cx="{value:.1f}" cy="{y:g}" r="{radius}"/>'


def _shape(verdict, x, y):
    """Disc, cross, open diamond or dash about (x, y) px."""
    name, r = NAMES[VERDICTS.index(verdict)], 5.5
    if name == "holds":
        return f'<circle class="f-holds" cx="{x:g}" cy="{y:g}" r="{r}"/>'
    path = {
        "fails": f"M{x - 5:g} {y - 5:g}L{x + 5:g} {y + 5:g}M{x - 5:g} {y + 5:g}L{x + 5:g} {y - 5:g}",
        "open": f"M{x:g} {y - 6:g}L{x + 6:g} {y:g}L{x:g} {y + 6:g}L{x - 6:g} {y:g}Z",
        "none": f"M{x - 5:g} {y:g}L{x + 5:g} {y:g}",
    }[name]
    return f'<path class="s-{name}" fill="none" d="{path}" stroke-width="{3 if name == "fails" else 2}"/>'


# ---- stills of notebook 15 -------------------------------------------------------------------------------------------------------------

MARKERS = dict(zip(VERDICTS, "oXD_"))  # also in shape, as in the SVG


def resampled(ax, means, interval, threshold, title):
    """Histogram of bootstrapped means with the interval and the threshold (all mm)."""
    ax.hist(means, 40, color=style.SKY)
    ax.axvline(threshold, color=style.INK, ls="--", label="threshold")
    ax.axvspan(*interval, color=style.BLUE, alpha=0.2, lw=0, label="95 % interval")
    ax.set(title=title, xlabel="mean difference a − b (mm)", ylabel="draws")
    ax.legend(fontsize=8, loc="upper left")


def sizes(verdicts):
    """[(id, size, verdict, direction)] of judged claims in units of their thresholds; and those whose threshold is 0, in % of what is
    compared with.

    Returns the two lists, each in the ledger's order; "within" claims and NaN have no such size.
    """
    times, percent = [], []
    for v in verdicts:
        c = v.claim
        if v.effect is None or c.direction == "within" or math.isnan(v.effect.value):
            continue
        if c.threshold:
            times.append((c.id, v.effect.value / c.threshold, v.verdict, c.direction))
        elif v.effect.reference > 0:
            percent.append((c.id, 100 * v.effect.value / v.effect.reference, v.verdict, c.direction))
    return times, percent


def dots(ax, items, neutral, xlabel, least=0.05):
    """One line per (id, size, verdict, direction), a mark whose shape and colour are the verdict's; neutral: the size at the threshold.

    The claimed side is tinted.
    A size below `least` of a logarithmic axis (neutral 1) is drawn at its end as a triangle.
    """
    for k, (_, x, verdict, _) in enumerate(items):
        colour, low = LIGHT[NAMES[VERDICTS.index(verdict)]], neutral == 1 and x < least
        inside = "none" if MARKERS[verdict] == "D" else colour
        ax.plot(least if low else x, k, "<" if low else MARKERS[verdict], color=colour, mfc=inside, ms=7)
    ax.axvline(neutral, color=style.INK, lw=1)
    ax.set_yticks(np.arange(len(items)), [i for i, *_ in items], fontsize=8)
    ax.set(ylim=(len(items) - 0.4, -0.6), xlabel=xlabel)
    if neutral == 1:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
    low, high = ax.get_xlim()
    for k, (*_, direction) in enumerate(items):
        ax.fill_betweenx([k - 0.5, k + 0.5], neutral, high if direction == ">" else low, color=LIGHT["claimed"], lw=0, zorder=0)
    ax.set_xlim(low, high)


def spans(ax, ledger):
    """One line per judged Line of a ledger: the scaled interval of the claim that decides, about its threshold."""
    for k, line in enumerate(ledger):
        name = NAMES[VERDICTS.index(line.verdict)]
        low, value, high = span(line.deciding)
        ax.plot([low, high], [k, k], color=LIGHT[name], lw=3, solid_capstyle="butt")
        inside, edge = ("white", LIGHT[name]) if name == "open" else (LIGHT[name], "white")  # a white edge parts mark and bar
        ax.plot(value, k, MARKERS[line.verdict], mfc=inside, mec=edge, ms=9)
    ax.axvspan(0, 1.1, color=LIGHT["claimed"], lw=0, zorder=0)
    ax.axvline(0, color=style.INK, lw=1)
    ax.set_yticks(np.arange(len(ledger)), [x.statement.title for x in ledger], fontsize=9)
    ax.set(ylim=(len(ledger) - 0.4, -0.6), xlim=(-1.1, 1.1), xticks=[-1, 0, 1])
    ax.set_xticklabels(["against the claim", "threshold", "as claimed"])
    ax.set_xlabel("interval, scaled to its farthest end")
