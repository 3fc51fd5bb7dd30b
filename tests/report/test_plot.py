"""Plots: well-formed, within their frame, and with every point where its numbers say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.report import plot
from projner.report.plot import Point

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.integers(2, 8))
def test_ticks_are_round_evenly_spaced_and_hold_every_value(values: list[float], about: int):
    found = plot.ticks(values, about)
    step = found[1] - found[0]
    assert found[0] <= min(values) + 1e-6 * step
    assert found[-1] >= max(values) - 1e-6 * step
    assert 2 <= len(found) <= 2 * about + 2
    assert float(f"{step:e}".partition("e")[0]) == pytest.approx(
        round(float(f"{step:e}".partition("e")[0])), abs=1e-3
    )


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=8),
        st.lists(st.builds(Point, NUMBERS, NUMBERS, st.floats(0, 1e5)), max_size=4),
        max_size=10,
    )
)
def test_any_numbers_and_names_make_a_plot_whose_points_stay_inside(series):
    root = ET.fromstring(plot.lines(series, title="<a & b>", x="x", y="y"))
    circles = root.findall(f".//{SVG}circle")
    assert len(circles) == sum(map(len, series.values()))
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= plot.WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= plot.HEIGHT
    texts = [text.text or "" for text in root.findall(f".//{SVG}text")]
    assert texts[0] == "<a & b>"
    assert set(series) <= set(texts)


def test_points_stand_in_proportion_and_what_is_no_number_is_left_out():
    points = [Point(0, 0), Point(1, 0.5, 0.1), Point(2, 1), Point(3, float("nan"))]
    root = ET.fromstring(plot.lines({"a": points}, title="t", x="x", y="y"))
    circles = root.findall(f".//{SVG}circle")
    xs, ys = ([float(circle.attrib[key]) for circle in circles] for key in ("cx", "cy"))
    assert len(circles) == 3
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[0] > ys[1]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
    assert [c.find(f"{SVG}title").text for c in circles][1] == "a: 1, 0.5 ± 0.1"


def test_an_axis_can_be_made_longer_than_its_data():
    svg = plot.lines({"a": [Point(0, 0.5)]}, title="t", x="x", y="y", y_from=0, y_to=1)
    texts = [text.text for text in ET.fromstring(svg).findall(f".//{SVG}text")]
    assert {"0.0", "1.0"} <= set(texts)


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=50)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.floats(0, 1), max_size=4), max_size=10))
def test_dots_stand_on_the_line_of_their_row_at_their_figure(figures):
    root = ET.fromstring(plot.dots(figures, title="t", x="F1", x_from=0, x_to=1))
    places = {}
    for path in root.findall(f".//{SVG}path[@transform]"):
        x, y = map(float, path.attrib["transform"][len("translate(") : -1].split())
        places.setdefault(path.find(f"{SVG}title").text, []).append((x, y))
    rows = list(dict.fromkeys(row for values in figures.values() for row in values))
    marks = [
        (f"{row}, {name}: {v:.3f}", row, v) for name, of in figures.items() for row, v in of.items()
    ]
    width = int(root.attrib["width"])
    for said, row, value in marks:
        heights = {y for _, y in places[said]}
        assert plot._TOP + plot._ROW * (rows.index(row) + 0.5) in heights
        assert all(0 <= x <= width for x, _ in places[said])
        assert 0 <= value <= 1
    pairs = [(value, places[said][0][0]) for said, _, value in marks if len(places[said]) == 1]
    for one, other in zip(sorted(pairs), sorted(pairs)[1:], strict=False):
        assert other[1] >= one[1] - 0.1, "further right where the figure is greater"
