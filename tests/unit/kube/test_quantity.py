import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.quantity import (
    QuantityError,
    effective_requests,
    parse_amounts,
    parse_milli,
    parse_quantity,
    parse_whole,
)
from tests.builders import make_container, make_pod

MAX = 2**63 - 1
FACTORS = {
    "": Fraction(1),
    **{suffix: Fraction(10) ** n for suffix, n in zip("num", (-9, -6, -3), strict=True)},
    **{suffix: Fraction(1000) ** (i + 1) for i, suffix in enumerate("kMGTPE")},
    **{f"{suffix}i": Fraction(1024) ** (i + 1) for i, suffix in enumerate("KMGTPE")},
}


def clamped(amount: Fraction) -> int:
    return max(-MAX, min(MAX, math.ceil(amount)))


@st.composite
def numbers(draw: st.DrawFn) -> str:
    sign = draw(st.sampled_from(["", "+", "-"]))
    whole = draw(st.integers(0, 10**20))
    fraction = draw(st.text("0123456789", max_size=30))
    return draw(
        st.sampled_from([f"{sign}{whole}", f"{sign}{whole}.{fraction}", f"{sign}.{fraction}5"])
    )


@given(number=numbers(), suffix=st.sampled_from(sorted(FACTORS)))
def test_amounts_are_exact_and_rounded_up(number, suffix):
    exact = Fraction(Decimal(number)) * FACTORS[suffix]

    assert parse_whole(number + suffix) == clamped(exact)
    assert parse_milli(number + suffix) == clamped(exact * 1000)


@given(number=numbers(), exponent=st.integers(-60, 60), e=st.sampled_from("eE"))
def test_exponents_are_exact_too(number, exponent, e):
    exact = Fraction(Decimal(number)) * Fraction(10) ** exponent

    assert parse_whole(f"{number}{e}{exponent}") == clamped(exact)
    assert parse_milli(f"{number}{e}{exponent}") == clamped(exact * 1000)


@given(text=st.text(max_size=20))
def test_any_text_is_a_quantity_or_refused(text):
    try:
        amount = parse_whole(text)
    except QuantityError:
        return

    assert abs(amount) <= MAX


@pytest.mark.parametrize(
    ("text", "milli", "whole"),
    [
        ("0", 0, 0),
        ("1", 1000, 1),
        ("100m", 100, 1),
        ("0.1", 100, 1),
        ("1.5Gi", 1610612736000, 1610612736),
        ("2e3", 2_000_000, 2000),
        ("5.", 5000, 5),
        ("1n", 1, 1),
        ("1E", MAX, 10**18),
        ("1E1", 10_000, 10),
        ("-1", -1000, -1),
        ("1e400", MAX, MAX),
        ("-1e400", -MAX, -MAX),
        ("1e-400", 1, 1),
        ("9Ei", MAX, MAX),
        ("1" + "0" * 50 + "e-45", 10**8, 10**5),
    ],
)
def test_known_quantities(text, milli, whole):
    assert (parse_milli(text), parse_whole(text)) == (milli, whole)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "lots", "1 ", " 1", "1K", "Ki", "1kk", "1.2.3", "--1", "1e", "1e5m", "NaN"),
        *("inf", "0x10", "1_000", "١", ".", "+", "1e99999", "1,5", "1\n", "9" * 101),
    ],
)
def test_what_is_no_quantity_is_refused_with_its_text(text):
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text)

    assert repr(text[:64]) in str(caught.value)


def test_cpu_is_counted_in_thousandths_and_the_rest_whole():
    amounts = parse_amounts({"cpu": "250m", "memory": "1Ki", "nvidia.com/gpu": "2"})

    assert amounts == {"cpu": 250, "memory": 1024, "nvidia.com/gpu": 2}


def test_a_limit_without_a_request_counts_as_one():
    container = make_container(limits={"cpu": "1", "memory": "1Ki"}, requests={"cpu": "500m"})

    assert container.requests == {"cpu": 500, "memory": 1024}


def cpu(amount: str, *, sidecar: bool = False) -> object:
    return make_container(requests={"cpu": amount}, restart_policy="Always" if sidecar else None)


@pytest.mark.parametrize(
    ("init", "app", "needed"),
    [
        pytest.param([], ["1", "2"], 3000, id="containers add up"),
        pytest.param(["2", "4"], ["1", "2"], 4000, id="the largest init container"),
        pytest.param(["1", "2"], ["1", "2"], 3000, id="init containers go one by one"),
        pytest.param(["+1"], ["2"], 3000, id="sidecars stay"),
        pytest.param(["+1", "4"], ["2"], 5000, id="an init container beside an earlier sidecar"),
        pytest.param(["4", "+1"], ["2"], 4000, id="an init container before a sidecar"),
        pytest.param(["+1", "+1", "1"], ["1"], 3000, id="all sidecars count"),
    ],
)
def test_what_a_pod_needs_at_once(init, app, needed):
    pod = make_pod(
        init_containers=[cpu(c.lstrip("+"), sidecar=c.startswith("+")) for c in init],
        containers=[cpu(c) for c in app],
    )

    assert pod.spec.requests == {"cpu": needed}


def test_pod_level_requests_replace_the_sum_and_overhead_comes_on_top():
    total = effective_requests(
        [make_container(requests={"cpu": "1", "memory": "1Ki", "example.com/dongle": "1"})],
        pod_level={"cpu": 5000, "example.com/dongle": 9},
        overhead={"cpu": 10, "memory": 20},
    )

    assert total == {"cpu": 5010, "memory": 1044, "example.com/dongle": 1}
