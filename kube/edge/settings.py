"""Settings: a YAML file into msgspec structs, then the environment on top; strict about both.

A key that nobody reads is a typo, so it stops the program with the key's name and line. The
environment overrides single values: ``COLLECTOR__SERVER__HOST=0.0.0.0`` sets ``server.host`` of the
collector. Two underscores, because Kubernetes itself injects variables such as ``COLLECTOR_PORT``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec
import yaml

S = TypeVar("S", bound=msgspec.Struct)

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
HttpUrl = Annotated[
    str, msgspec.Meta(pattern=r"^https?://([\w.-]+|\[[\da-fA-F:]+\])(:\d{1,5})?(/[^\s?#]*)?$")
]
"""Where another program listens."""


class SettingsError(Exception):
    """The configuration is unusable; the message names file, line and key. Exit code 2."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings; unknown keys are refused."""


class Duration(float):
    """Seconds, written as ``30s``, ``10m``, ``168h`` or ``1h30m``."""

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read a duration; a bare number is seconds, in a text (as the environment's) too.

        Raises:
            ValueError: The text is no duration of this kind.
        """
        is_number = isinstance(text, (int, float)) and not isinstance(text, bool)
        if is_number or re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(text)):
            seconds = float(text)
        else:
            parts = _DURATION.findall(str(text))
            if not parts or "".join(n + u for n, u in parts) != text:
                raise ValueError(f"{text!r} is not a duration (like 30s, 10m, 168h)")
            seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"{text!r} is not a usable duration")
        return cls(seconds)


class Interval(Duration):
    """A duration that is more than none, such as what lies between two looks."""

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read an interval, as ``Duration.parse`` does.

        Raises:
            ValueError: The text is no duration, or none at all.
        """
        interval = super().parse(text)
        if interval <= 0:
            raise ValueError("must be more than 0")
        return interval


class ServerSettings(Settings, frozen=True):
    """Where a program listens."""

    host: str = "127.0.0.1"
    """Loopback unless told otherwise."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """0 takes any free port."""
    read_timeout: Interval = Interval(30)
    """How long a client may take to send its request."""
    write_timeout: Interval = Interval(30)
    """How long a client may take to read the answer."""


class KubernetesSettings(Settings, frozen=True):
    """Which cluster to work with."""

    in_cluster: bool = False
    """Insist on the service account of the pod that the program runs in."""
    kubeconfig_path: str = ""
    """A kubeconfig; empty: ``KUBECONFIG``, the service account or ``~/.kube/config``."""


class ProgramSettings(Settings, frozen=True):
    """All settings of a program, of which every program has this one."""

    log_level: LogLevel = "INFO"
    """The least severe events to log."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML's would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 (PyYAML's signature)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value}: this key is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_settings(
    settings_type: type[S], *, path: Path | None, env: Mapping[str, str], prefix: str
) -> S:
    """Read settings from *path* (defaults alone if ``None``) and the environment.

    Args:
        settings_type: The struct to fill.
        path: A YAML file.
        env: Usually ``os.environ``.
        prefix: The program's name in upper case; ``PREFIX__SECTION__KEY`` overrides a value.

    Raises:
        SettingsError: The file cannot be read, or a key or value is wrong.
    """
    node, data = (None, {}) if path is None else _read(path)
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: the top level must be a mapping")
    settings = _convert(data, settings_type, source=lambda keys: f"{path}{_line(node, keys)}")
    overrides = _from_env(env, prefix)
    if not overrides:
        return settings
    return _convert(
        _merge(data, overrides),
        settings_type,
        source=lambda keys: "environment variable " + "__".join([prefix, *keys]).upper(),
    )


def _read(path: Path) -> tuple[yaml.Node | None, Any]:
    """Read a file, as YAML's nodes, which know their lines, and as what they mean.

    Raises:
        SettingsError: It cannot be read, or is no YAML.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise SettingsError(f"{path}{line}: {what}") from error
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a date that is none
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    return node, {} if data is None else data


def _convert(data: Any, settings_type: type[S], *, source: Any) -> S:
    try:
        return msgspec.convert(
            _fill(data, settings_type), settings_type, strict=False, dec_hook=_decode
        )
    except msgspec.ValidationError as error:
        message = str(error)
        match = re.fullmatch(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", message, re.DOTALL)
        what, where = (match["what"], match["path"] or "") if match else (message, "")
        keys = [key for key in re.split(r"[.\[\]]+", where) if key]
        unknown = re.search(r"unknown field `(.+?)`", what)
        if unknown:
            keys.append(unknown[1])
            what = "unknown key"
        where = f"{'.'.join(keys)}: " if keys else ""
        raise SettingsError(f"{source(keys)}: {where}{what}") from error


def _fill(data: Mapping[str, Any], settings_type: type[msgspec.Struct]) -> dict[str, Any]:
    """Complete groups of which some keys are given by the keys of that group's default.

    Not by those of the group's type: two programs' ``server`` are of one type, but differ in port.
    """
    filled = dict(data)
    for field in msgspec.structs.fields(settings_type):
        given, default = data.get(field.encode_name), field.default
        if isinstance(given, dict) and isinstance(default, msgspec.Struct):
            fields = msgspec.structs.fields(default)
            base = {f.encode_name: getattr(default, f.name) for f in fields}
            filled[field.encode_name] = {**base, **_fill(given, type(default))}
    return filled


def _decode(kind: type, value: Any) -> Any:
    if issubclass(kind, Duration):
        return kind.parse(value)
    raise NotImplementedError(f"no reading for {kind}")


def _line(node: yaml.Node | None, keys: list[str]) -> str:
    """Find the line (``:12``) of the key that *keys* leads to, or of the last one found."""
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
    return "" if line is None else f":{line}"


def _from_env(env: Mapping[str, str], prefix: str) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for name, value in env.items():
        head, *keys = name.split("__")
        if head != prefix or not keys:
            continue
        group = overrides
        for key in keys[:-1]:
            below = group.setdefault(key.lower(), {})
            if not isinstance(below, dict):
                raise SettingsError(f"environment variable {name}: {key} is set as a value, too")
            group = below
        if isinstance(group.get(keys[-1].lower()), dict):
            raise SettingsError(f"environment variable {name}: it is set as a group, too")
        group[keys[-1].lower()] = value
    return overrides


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged
