"""``python -m scheduler explain NAMESPACE/POD``: why a pod is where it is, for people."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO
from urllib.parse import quote

import msgspec
import requests

from kube.edge.problems import ProblemDetails
from kube.edge.settings import HttpUrl
from scheduler.contract import DecisionAnswer, NodeScore
from scheduler.settings import DEFAULT_PORT

EXPLAINED: Final = 0
UNKNOWN: Final = 1
SILENT: Final = 3
"""2 is for wrong arguments."""

_TIMEOUT_S: Final = 10.0


class UnknownPodError(Exception):
    """The scheduler knows no decision about the pod."""


class SilentError(Exception):
    """Nobody answered, or nobody who is a scheduler."""


def run(arguments: Sequence[str], *, out: TextIO, err: TextIO) -> int:
    """Ask a running scheduler, and print what it says.

    Args:
        arguments: What follows ``explain`` on the command line.
        out: Where the explanation goes.
        err: Where it goes that there is none.

    Returns:
        The exit code: 0 if there is an explanation, 1 if the pod is unknown, 3 if the scheduler
        does not answer. Wrong arguments end the program with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scheduler explain", description="Why is this pod where it is?"
    )
    parser.add_argument("pod", type=_key, metavar="NAMESPACE/POD")
    parser.add_argument(
        "--url",
        type=_url,
        default=f"http://127.0.0.1:{DEFAULT_PORT}",
        help="where the scheduler listens (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="as the scheduler answers it")
    options = parser.parse_args(arguments)
    try:
        body = _fetch(options.url, key=options.pod)
        text = body.decode() if options.json else explanation(_decode(body))
    except UnknownPodError as error:
        err.write(f"scheduler: {error}\n")
        return UNKNOWN
    except SilentError as error:
        err.write(f"scheduler: {error}\n")
        return SILENT
    out.write(f"{text.rstrip()}\n")
    return EXPLAINED


def explanation(decision: DecisionAnswer) -> str:
    """Put a decision in words and a table, as plain text."""
    lines = [*_outcome(decision), decision.summary, ""]
    lines += [*_scores(decision), *_refusals(decision)]
    return "\n".join(lines)


def _key(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/POD")
    return namespace, name


def _url(text: str) -> str:
    try:
        return msgspec.convert(text, HttpUrl).rstrip("/")
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no http(s) URL") from error


def _fetch(url: str, *, key: tuple[str, str]) -> bytes:
    """Ask for the newest decision.

    Raises:
        UnknownPodError: There is none.
        SilentError: The scheduler did not say.
    """
    namespace, name = (quote(part, safe="") for part in key)
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"{url}/api/v1/decisions/{namespace}/{name}",
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
    except requests.RequestException as error:
        raise SilentError(f"{url} does not answer: {error}") from error
    if answer.status_code == requests.codes.ok:
        return answer.content
    try:
        problem = msgspec.json.decode(answer.content, type=ProblemDetails)
    except msgspec.DecodeError:
        raise SilentError(f"{url} is no scheduler: HTTP {answer.status_code}") from None
    if problem.status == requests.codes.not_found and problem.detail:
        raise UnknownPodError(problem.detail)
    raise SilentError(f"{url}: {problem.title}: {problem.detail}")


def _decode(body: bytes) -> DecisionAnswer:
    """Read the answer.

    Raises:
        SilentError: It is none.
    """
    try:
        return msgspec.json.decode(body, type=DecisionAnswer)
    except msgspec.DecodeError as error:
        raise SilentError(f"the answer is no decision: {error}") from error


def _outcome(decision: DecisionAnswer) -> Iterator[str]:
    at = datetime.fromtimestamp(decision.decided_at_s, UTC)
    where = decision.node if decision.node is not None else "no node"
    yield f"{decision.namespace}/{decision.name} -> {where}"
    yield (
        f"decided {at:%Y-%m-%d %H:%M:%S} UTC, {decision.queued_s:.1f} s after it was first seen;"
        f" attempt {decision.attempt}, profile {decision.profile}"
    )
    if decision.message:
        yield decision.message
    if decision.nominated_node:
        yield f"nominated: {decision.nominated_node}, where room is being made"
    if decision.victims:
        yield f"evicted for it: {', '.join(decision.victims)}"
    if decision.n_nodes:
        yield f"{decision.n_feasible} of {decision.n_nodes} nodes would do{_choice(decision)}"


def _choice(decision: DecisionAnswer) -> str:
    if decision.node is None or decision.n_feasible < 1:
        return ""
    if decision.runner_up is not None:
        behind = f"{decision.margin} points behind" if decision.margin else "just as good"
        return f"; next best: {decision.runner_up}, {behind}"
    is_promised = decision.n_feasible > 1
    return "; room was made there for this pod" if is_promised else "; there was nothing to choose"


def _scores(decision: DecisionAnswer) -> list[str]:
    """Lay out the scores; what is the same everywhere needs no column."""
    if not decision.scores:
        return []
    plugins = list(decision.scores[0].plugins)
    telling = [name for name in plugins if len({s.plugins[name] for s in decision.scores}) > 1]
    head = ["NODE", "TOTAL", *telling]
    rows = [_row(score, telling) for score in decision.scores]
    lines = _table([head, *rows], is_number=[False, *(True for _ in head[1:])])
    alike = [
        f"{name} {decision.scores[0].plugins[name]}" for name in plugins if name not in telling
    ]
    if alike:
        lines.append(f"the same for all of these: {', '.join(alike)}")
    return [*lines, *_rest(decision.n_feasible - len(decision.scores)), ""]


def _row(score: NodeScore, plugins: Iterable[str]) -> list[str]:
    return [score.node, str(score.total), *(str(score.plugins[name]) for name in plugins)]


def _refusals(decision: DecisionAnswer) -> list[str]:
    if not decision.verdicts:
        return []
    rows = [
        [verdict.node, verdict.plugin or "-", verdict.code, ", ".join(verdict.reasons)]
        for verdict in decision.verdicts
    ]
    lines = _table([["REFUSED", "BY", "CODE", "WHY"], *rows], is_number=[False] * 4)
    n_refused = decision.n_nodes - decision.n_feasible
    return [*lines, *_rest(n_refused - len(rows))]


def _rest(n_more: int) -> list[str]:
    return [f"... and {n_more} more"] if n_more > 0 else []


def _table(rows: list[list[str]], *, is_number: list[bool]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in rows
    ]
