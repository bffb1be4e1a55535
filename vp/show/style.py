"""One look for every picture: colours that colour-blind readers can tell apart, readable type, and stills with a text alternative.

Pictures are made with `subplots` (no pyplot: nothing is shown twice) after `use()` or inside `with context():`, and leave a notebook
cell as `alt(fig, "what is to be seen")`: a PNG with its description, which is also the cell's plain text.
"""

import io
from dataclasses import dataclass

# Okabe & Ito, *Color Universal Design* (2008)
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#F0E442", "#000000"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
PEOPLE = (*CYCLE[:6], "#8C564B", "#7F7F00", "#003F7F", "#A50F15", "#4D9221", "#C51B7D")  # twelve people; then from the start
INK, QUIET, FAINT = "#222222", "#6B7280", "#D1D5DB"  # text, secondary lines, grids

DPI = 100
RC = {
    "figure.dpi": DPI, "savefig.dpi": DPI, "figure.facecolor": "white", "figure.constrained_layout.use": True,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11,
    "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.edgecolor": QUIET, "axes.labelcolor": INK, "text.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "xtick.color": QUIET, "ytick.color": QUIET, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "lines.linewidth": 2.0, "lines.solid_capstyle": "round", "legend.frameon": False, "legend.fontsize": 10,
    "image.interpolation": "nearest", "svg.hashsalt": "virtualpose",
}  # fmt: skip


def context():
    """The style for the length of a `with`; nothing global is left changed."""
    import matplotlib as mpl

    return mpl.rc_context(mpl.rcParamsDefault | {"backend": mpl.rcParams["backend"], "axes.prop_cycle": mpl.cycler(color=CYCLE)} | RC)


def person(i):
    """Colour of the i-th of several people: the same one has the same colour everywhere."""
    return PEOPLE[i % len(PEOPLE)]


def use():
    """The style for everything that follows (the set-up cell of a notebook)."""
    import matplotlib as mpl

    mpl.rcParams.update({"axes.prop_cycle": mpl.cycler(color=CYCLE)} | RC)


def subplots(rows=1, columns=1, size=(9.0, 4.5), **options):
    """Figure and axes in the common style; size in inch, `options` as of matplotlib's Figure.subplots.  Returns fig, axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with context():
        fig = Figure(figsize=size)
        FigureCanvasAgg(fig)
        return fig, fig.subplots(rows, columns, **options)


def png(fig):
    """The figure as PNG bytes of 128 colours, a third of the size (same figure, same matplotlib: same bytes); photos keep theirs.

    With pictures in it, the colours are fitted (k-means): thin lines on a picture must keep their hue.
    """
    from PIL import Image

    out = io.BytesIO()
    with context():
        fig.savefig(out, format="png", dpi=DPI, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.06)
    picture = Image.open(out).convert("RGB")
    colours, small = len(picture.getcolors(1 << 24)), io.BytesIO()
    if colours > 60_000:
        return out.getvalue()
    few = picture.quantize(128, method=Image.Quantize.MEDIANCUT, kmeans=int(colours > 15_000), dither=Image.Dither.NONE)
    few.save(small, "png", optimize=True)
    return small.getvalue()


@dataclass(frozen=True)
class Still:
    """A picture with its description: what a notebook cell shows, also where nothing can be interactive."""

    png: bytes
    text: str

    def __repr__(self):
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        # the metadata is what nbconvert writes into <img alt="...">
        return {"image/png": self.png, "text/plain": self.text}, {"image/png": {"alt": self.text}}

    def save(self, path):
        """Write the PNG."""
        with open(path, "wb") as f:
            f.write(self.png)


def alt(fig, text):
    """The figure as a `Still` with its text alternative: one or two sentences saying what is to be seen."""
    return Still(png(fig), " ".join(text.split()))


def picture(image, text):
    """A PIL picture as a `Still` with its text alternative, in the colours it has."""
    out = io.BytesIO()
    image.save(out, format="png", optimize=True)
    return Still(out.getvalue(), " ".join(text.split()))
