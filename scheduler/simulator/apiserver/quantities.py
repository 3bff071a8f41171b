"""Quantities as the API server reads and rewrites them: ``0.5`` becomes ``500m``."""

import re
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache

from kube.quantity import QuantityError, parse_quantity

WRONG_FORMAT = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_LOOSE = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_MAX = 2**63 - 1
_EXACT = Context(prec=80, rounding=ROUND_CEILING)
"""Finer than a billionth is rounded up, away from zero."""
_DECIMAL_SUFFIXES = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"} | {
    15: "P",
    18: "E",
}
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The same amount in the server's own writing.

    Raises:
        QuantityError: The text is no quantity; the message is upstream's.
    """
    loose = _LOOSE.fullmatch(text)
    if loose is None:
        raise QuantityError(WRONG_FORMAT)
    number, suffix = loose[1], loose[2]
    if not _NUMBER.fullmatch(number):
        raise QuantityError("unable to parse numeric part of quantity")
    try:
        amount = parse_quantity(text)
    except QuantityError as error:
        raise QuantityError("unable to parse quantity's suffix") from error
    nanos = min(int(_EXACT.to_integral_value(_EXACT.scaleb(abs(amount), 9))), _MAX * 10**9)
    amount = _EXACT.scaleb(Decimal(nanos if amount > 0 else -nanos), -9)
    if not amount:
        return "0"
    if suffix[:1] in ("e", "E") and suffix[1:]:
        return _decimal(amount, with_exponent=True)
    if suffix.endswith("i") and abs(amount) >= 1024 and amount == int(amount):
        return _binary(int(amount))
    return _decimal(amount, with_exponent=False)


def _binary(amount: int) -> str:
    power = 0
    while power < len(_BINARY_SUFFIXES) - 1 and amount % 1024 == 0:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY_SUFFIXES[power]}"


def _decimal(amount: Decimal, *, with_exponent: bool) -> str:
    exponent = -9
    mantissa = int(_EXACT.scaleb(amount, 9))
    while mantissa % 1000 == 0 and exponent < 18:
        mantissa //= 1000
        exponent += 3
    if with_exponent:
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIXES[exponent]}"
