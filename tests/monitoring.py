"""The project's dashboards and rules as data, and what their queries ask for."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROMETHEUS = ROOT / "config/prometheus"
GRAFANA = ROOT / "config/grafana"

_KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_MATCHERS = re.compile(r"\{[^}]*\}")
_SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()(\{[^}]*\})?")


@dataclass(frozen=True)
class Query:
    """One query of a dashboard, with its variables filled in."""

    where: str
    expr: str


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((GRAFANA / "dashboards").glob("*.json"))
    }


def queries() -> list[Query]:
    """What all panels ask."""
    return [
        Query(f"{name}: {panel['title']} ({target['refId']})", _filled_in(target["expr"]))
        for name, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


def variables() -> list[Query]:
    """What fills the drop-down lists."""
    found = []
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                metric = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
                assert metric, variable["query"]
                expr = f"count by ({metric[2]}) ({metric[1]})"
                found.append(Query(f"{name}: ${variable['name']}", expr))
    return found


def rules(kind: str) -> dict[str, str]:
    """Expressions of the rules of a kind (``record``, ``alert``) by their names."""
    return {
        rule[kind]: rule["expr"]
        for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if kind in rule
    }


def selectors(expr: str) -> Iterator[str]:
    """What an expression reads: ``up{job="x"}``, one after the other."""
    text = _RANGE.sub("", _GROUPING.sub("", expr))
    # Not to look for selectors inside of label values.
    quoted: list[str] = []

    def hide(found: "re.Match[str]") -> str:
        quoted.append(found[0])
        return f'"{len(quoted) - 1}"'

    for name, matchers in _SELECTOR.findall(_STRING.sub(hide, text)):
        if name not in _KEYWORDS:
            yield name + re.sub(r'"(\d+)"', lambda found: quoted[int(found[1])], matchers)


def metrics(expr: str) -> set[str]:
    """Names of what an expression reads."""
    return {_MATCHERS.sub("", selector) for selector in selectors(expr)}


def _filled_in(expr: str) -> str:
    return re.sub(r"\$(node|namespace|profile)\b", ".*", expr)
