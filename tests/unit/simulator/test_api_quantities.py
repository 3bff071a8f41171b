"""Quantities are rewritten as the API server writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.quantity import QuantityError, parse_quantity
from scheduler.simulator.apiserver.quantities import canonical


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000", "1k"),
        ("110", "110"),
        ("1e3", "1e3"),
        ("0.5Ki", "512"),
        ("0", "0"),
        ("-1", "-1"),
        ("12E", "9223372036854775807"),
    ],
)
def test_has_one_writing_for_each_amount(text, written):
    assert canonical(text) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lots", "quantities must match the regular expression"),
        ("", "quantities must match the regular expression"),
        ("1.2.3", "unable to parse numeric part of quantity"),
        ("1kk", "unable to parse quantity's suffix"),
    ],
)
def test_says_what_is_wrong(text, message):
    with pytest.raises(QuantityError, match=message):
        canonical(text)


@given(
    number=st.integers(-(10**6), 10**6),
    suffix=st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]),
)
def test_keeps_the_amount(number, suffix):
    text = f"{number}{suffix}"

    assert parse_quantity(canonical(text)) == parse_quantity(text)
    assert canonical(canonical(text)) == canonical(text)
