"""Analyse real data in a sandbox, step by step, and bring home a table, numbers and a picture.

python examples/analysis.py [DIRECTORY]
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sandlot import Chart, Client, Table

DATA = Path(__file__).parent / "data"

EXPLORE = """
import pandas as pd

penguins = pd.read_csv("penguins.csv").dropna(subset=["bill_length_mm", "bill_depth_mm"])
penguins.groupby("species").agg(
    penguins=("species", "size"),
    length_mm=("bill_length_mm", "mean"),
    depth_mm=("bill_depth_mm", "mean"),
    mass_g=("body_mass_g", "mean"),
).round(1)
"""

FIT = """
import numpy as np


def fit(table):
    x, y = table["bill_length_mm"].to_numpy(), table["bill_depth_mm"].to_numpy()
    (slope, start), _, _, _ = np.linalg.lstsq(np.column_stack([x, np.ones_like(x)]), y)
    return {"slope": slope, "start": start, "r": np.corrcoef(x, y)[0, 1], "of": len(x)}


fits = {species: fit(table) for species, table in penguins.groupby("species")}
fits["all"] = fit(penguins)
fits = {name: {key: float(value) for key, value in each.items()} for name, each in fits.items()}
"""

DRAW = """
import matplotlib.pyplot as plt

looks = {"Adelie": ("#0072B2", "o"), "Chinstrap": ("#D55E00", "^"), "Gentoo": ("#009E73", "s")}
plt.rcParams.update({"font.size": 11, "text.color": "#333333", "axes.labelcolor": "#333333"})
figure, axes = plt.subplots(figsize=(8, 5.2), dpi=150, layout="constrained")


def draw(name, table, colour, **style):
    ends = np.array([table["bill_length_mm"].min(), table["bill_length_mm"].max()])
    fitted = fits[name]["slope"] * ends + fits[name]["start"]
    axes.plot(ends, fitted, color=colour, label=f"{name}, fitted", **style)
    axes.annotate(
        name, (ends[1], fitted[1]), (4, 7), textcoords="offset points",
        color=colour, weight="bold", verticalalignment="center",
    )


for species, table in penguins.groupby("species"):
    colour, marker = looks[species]
    axes.scatter(
        table["bill_length_mm"], table["bill_depth_mm"], label=species,
        color=colour, marker=marker, s=30, linewidth=0, alpha=0.4,
    )
    draw(species, table, colour, linewidth=2.4)
draw("all", penguins, "#777777", linewidth=1.8, linestyle=(0, (4, 3)))

axes.set_title("Longer bills are deeper within each species, but not over all", loc="left", pad=12)
axes.set_xlabel("bill length (mm)")
axes.set_ylabel("bill depth (mm)")
axes.set_xlim(right=63.5)
axes.spines[["top", "right"]].set_visible(False)
axes.spines[["left", "bottom"]].set_color("#BBBBBB")
axes.tick_params(color="#BBBBBB", labelcolor="#555555")
axes.grid(color="#EEEEEE")
axes.set_axisbelow(True)
plt.show()
"""


def show_table(table: Table) -> None:
    """Print a table that came out of the sandbox as data."""
    names = [*table.index_names, *(column.name for column in table.columns)]
    print("  " + "".join(f"{name:>11}" for name in names))
    for label, row in zip(table.index, table.rows, strict=True):
        print("  " + "".join(f"{cell:>11}" for cell in [label, *row]))


def show_fits(fits: Mapping[str, Mapping[str, float]]) -> None:
    """Print the value of a variable of the sandbox."""
    for name, fit in fits.items():
        print(f"  {name:>11}   slope {fit['slope']:+.3f}   correlation {fit['r']:+.2f}")


def show_chart(chart: Chart) -> None:
    """Print what a picture shows."""
    print(f"  {chart.title}: {chart.y.label} by {chart.x.label}")
    for series in chart.series:
        print(f"  {series.kind:>11}   {series.total_points:3} points   {series.label}")


def main(directory: Path) -> None:
    """Explore, fit and draw in one context; save the picture on this machine."""
    with Client.local() as client, client.sandboxes.create("python-jupyter") as sandbox:
        sandbox.upload("penguins.csv", (DATA / "penguins.csv").read_bytes())

        explored = sandbox.run_code(EXPLORE).check()
        assert explored.result is not None
        assert explored.result.table is not None
        print("bills of three species:")
        show_table(explored.result.table)

        sandbox.run_code(FIT).check()
        print("depth by length:")
        show_fits(sandbox.code.context().get("fits"))

        drawn = sandbox.run_code(DRAW).check()
        (picture,) = drawn.results
        assert picture.chart is not None
        print("the picture, as data:")
        show_chart(picture.chart)
        print("the picture:", picture.save(directory / "penguins.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="penguins-")))
