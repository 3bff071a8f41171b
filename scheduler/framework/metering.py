"""Has the plugins of a profile measured, without their knowledge."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Final

from scheduler.framework.interface import Plugin
from scheduler.framework.meter import Meter
from scheduler.framework.profile import Profile
from scheduler.framework.status import SUCCESS, Status

_METHODS: Final[Mapping[str, str]] = {
    "PreFilter": "pre_filter",
    "Filter": "filter",
    "PostFilter": "post_filter",
    "PreScore": "pre_score",
    "Score": "score",
}
"""By extension point; the profile lists its plugins under the same name."""


def metered(profile: Profile, *, meter: Meter) -> Profile:
    """Return a profile that decides as *profile* does, and tells *meter* of it.

    Its plugins are measured one by one only in cycles that the meter picks; to do so always would
    cost more than some of the plugins do.
    """
    twins: dict[str, Any] = {
        method: tuple(_twin(each, point, meter) for each in getattr(profile, method))
        for point, method in _METHODS.items()
    }
    return replace(profile, meter=meter, sampled=replace(profile, meter=meter, **twins))


def _twin(plugin: Plugin, point: str, meter: Meter) -> Plugin:
    """Return a copy that hands each call on to the plugin itself, where all memory stays."""
    method = _METHODS[point]
    twin = copy(plugin)
    setattr(twin, method, _measured(getattr(plugin, method), (plugin.name, point), meter))
    return twin


def _measured(call: Callable[..., Any], name: tuple[str, str], meter: Meter) -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Any:
        since_s = meter.now_s()
        result = call(*args, **kwargs)
        meter.called(name[0], point=name[1], status=_word(result), since_s=since_s)
        return result

    return measured


def _word(result: object) -> str:
    """Tell how a call ended; one that answers for all nodes at once has simply answered."""
    status = result if isinstance(result, Status) else getattr(result, "status", SUCCESS)
    return status.code.word if isinstance(status, Status) else SUCCESS.code.word
