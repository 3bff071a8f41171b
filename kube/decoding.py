"""From the bytes of an answer to typed objects."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from kube.errors import UnavailableError
from kube.objects import ObjectList

T = TypeVar("T")

# One for each type that the program reads; making one costs more than using it.
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode_object(data: bytes | msgspec.Raw, object_type: type[T]) -> T:
    """Decode one object.

    Raises:
        UnavailableError: The data is something else: whoever answered is no API server, or not one
            that we understand.
    """
    decoded: T = _decode(data, object_type)
    return decoded


def decode_list(data: bytes, item_type: type[T]) -> ObjectList[T]:
    """Decode one page of a list.

    Raises:
        UnavailableError: As for ``decode_object``.
    """
    with gc_paused():
        # To mypy the subscript is a variable; at run time it is the type.
        decoded: ObjectList[T] = _decode(data, ObjectList[item_type])  # type: ignore[valid-type]
    return decoded


def _decode(data: bytes | msgspec.Raw, kind: Any) -> Any:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise UnavailableError(f"the answer is no {name}: {error}") from error


_gc_lock = threading.Lock()
_gc_pauses = 0


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the garbage collector from looking at thousands of new objects again and again.

    Several threads may pause it at once; the last one to leave switches it on again. A program
    that has switched it off for good is left alone.
    """
    global _gc_pauses  # noqa: PLW0603 (the collector is global, so is the count of who paused it)
    with _gc_lock:
        if _gc_pauses == 0 and not gc.isenabled():
            paused = False
        else:
            gc.disable()
            _gc_pauses += 1
            paused = True
    try:
        yield
    finally:
        if paused:
            with _gc_lock:
                _gc_pauses -= 1
                if _gc_pauses == 0:
                    gc.enable()
