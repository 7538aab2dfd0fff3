"""Charts: every value has its place, whatever the values."""

import math
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from ear_teacher.report.figures import HEIGHT, LEFT, RIGHT, WIDTH, Axis, Box, Series, line_chart

values = st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf, 0.0])


@given(st.lists(st.tuples(values, values), max_size=12), st.booleans(), st.booleans())
def test_any_values_give_a_well_formed_drawing_without_nan(points, log_x: bool, log_y: bool) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    chart = line_chart([Series("a <b>", xs, ys, "v0", "both")], Axis("x", log_x), Axis("y & z", log_y), "title")
    ElementTree.fromstring(str(chart))
    assert "nan" not in str(chart)
    assert "inf" not in str(chart)


def test_points_stand_where_their_values_say() -> None:
    chart = str(line_chart([Series("a", [0, 5, 10], [1, 2, 3], "v0", "points")], Axis("x"), Axis("y"), "t"))
    places = [(float(x), float(y)) for x, y in re.findall(r'class="mark v0 filled" cx="([\d.]+)" cy="([\d.]+)"', chart)]
    drawn = places[:3]
    assert [x for x, _ in drawn] == [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]
    assert math.isclose(drawn[0][1] - drawn[1][1], drawn[1][1] - drawn[2][1], abs_tol=0.11)
    assert all(0 <= y <= HEIGHT for _, y in drawn)


def test_equal_ratios_are_equal_steps_on_a_logarithmic_axis() -> None:
    chart = str(line_chart([Series("a", [1, 10, 100], [1, 1, 1], "v0", "points")], Axis("x", True), Axis("y"), "t"))
    a, b, c = (float(x) for x in re.findall(r'class="mark v0 filled" cx="([\d.]+)"', chart)[:3])
    assert math.isclose(b - a, c - b, abs_tol=0.11)


def test_series_are_told_apart_without_colour_and_read_aloud() -> None:
    series = [Series(name, [1, 2], [1, 2], name, "both") for name in ("v0", "v1", "current")]
    chart = str(line_chart(series, Axis("x"), Axis("y"), "Rise", [Box("wish", (1, 2), (1, 2))]))
    assert chart.count("<circle") == 3  # two points and the legend's
    assert 'aria-label="Rise. v0: last value 2; v1: last value 2; current: last value 2."' in chart
    assert ">wish</li>" in chart
