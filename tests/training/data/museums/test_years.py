"""Years out of catalogue dates."""

from __future__ import annotations

import pytest

from training.data.museums.text import normalise
from training.data.museums.years import YearRange, year_ranges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1736–95", [(1736, 1795)]),
        ("1426-1435", [(1426, 1435)]),
        ("Qing dynasty (1644–1911), Kangxi (1662–1722)", [(1644, 1911), (1662, 1722)]),
        ("18th century", [(1700, 1799)]),
        ("16th-17th century", [(1500, 1699)]),
        ("16th to 17th century", [(1500, 1699)]),
        ("10th Century - 13th Century", [(900, 1299)]),
        ("late 17th century", [(1650, 1699)]),
        ("first half of the 18th century", [(1700, 1750)]),
        ("mid to late 18th century", [(1725, 1799)]),
        ("1300s", [(1300, 1399)]),
        ("early 1100s", [(1100, 1150)]),
        ("1200s-1300s", [(1200, 1399)]),
        ("late 600s-800", [(650, 800)]),
        ("100 BC-100", [(-100, 100)]),
        ("202 BC-AD 220", [(-202, 220)]),
        ("206 BC - 8 AD", [(-206, 8)]),
        ("1122 BCE-255 BCE", [(-1122, -255)]),
        ("2650-2350 BC", [(-2650, -2350)]),
        ("300 B.C.", [(-300, -300)]),
        ("4th century BCE", [(-400, -301)]),
        ("AD 265-316", [(265, 316)]),
        ("西元18世紀", [(1700, 1799)]),
        ("1866", [(1866, 1866)]),
        ("no date", []),
        ("9-12", []),
        ("", []),
    ],
)
def test_dates(text, expected):
    assert [(r.first, r.last) for r in year_ranges(normalise(text))] == expected


@pytest.mark.parametrize("text", ["c. 1300", "ca. 1300", "circa 1300", "about 1300", "around 1300"])
def test_about_is_ten_years_either_way(text):
    (years,) = year_ranges(text)
    assert years == YearRange(1300, 1300, circa=True)
    assert years.widened() == YearRange(1290, 1310)


def test_exact_years_stay():
    (years,) = year_ranges("1300-1310")
    assert years.widened() == years
    assert years.overlaps(1310, 1400)
    assert not years.overlaps(1311, 1400)
