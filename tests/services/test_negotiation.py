from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.negotiation import choose

OFFERS = ["application/json", "image/png", "application/zip"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("IMAGE/PNG ; q=0.3", "image/png"),
        ("image/*", "image/png"),
        ("application/*", "application/json"),
        ("application/zip, application/json;q=0.9", "application/zip"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("application/json;q=0, */*", "image/png"),
        ("application/*;q=0.1, application/zip;q=0.8, image/png;q=0.5", "application/zip"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json;q=many", None),
        ("image/png;version=2;q=0.2", "image/png"),
        ("nonsense", None),
    ],
)
def test_the_preferred_offer_is_chosen(accept, chosen):
    assert choose(accept, OFFERS) == chosen


def test_nothing_is_chosen_from_nothing():
    assert choose("*/*", []) is None
    assert choose("", []) is None


@given(st.text(max_size=300))
def test_no_header_is_a_fault(accept):
    assert choose(accept, OFFERS) in (*OFFERS, None)
