"""The command line of the simulated cluster: ``python -m scheduler.simulator serve``."""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from kube.edge.heap import expect_large_heap
from kube.edge.logs import configure_logs
from kube.edge.settings import SettingsError
from kube.instants import parse_rfc3339
from kube.quantity import QuantityError, parse_milli, parse_whole
from scheduler.errors import ConfigError
from scheduler.simulator.access import TOKEN_VARIABLE, choose_token, kubeconfig, write_private
from scheduler.simulator.apiserver.faults import MAX_LATENCY_S, PATH, Faults
from scheduler.simulator.experiments.options import add_options
from scheduler.simulator.experiments.scenario import load_scenario, scenario_schema
from scheduler.simulator.reproduce import options as reproducing
from scheduler.simulator.serving import ServeOptions, listen, serve
from scheduler.simulator.traces.options import add_fit_options, add_record_options
from scheduler.simulator.training.options import add_options as add_train_options
from scheduler.simulator.usage_traces import UsageTraceError
from scheduler.simulator.wire import replay_folder

MAX_NODES: Final = 5000
MAX_SPEED: Final = 3600.0
_HISTORY_S: Final = 7 * 86_400.0
"""A fast clock starts a week ago, so that clients are not shown the future (for a while)."""

_ELSEWHERE: Final = {
    "evaluate": "scheduler.simulator.experiments.command",
    "fit": "scheduler.simulator.traces.fit",
    "record": "scheduler.simulator.traces.record",
    "reproduce": "scheduler.simulator.reproduce.command",
    "train": "scheduler.simulator.training.command",
}
"""Where commands are that have functions of their names; they are imported when they are asked for,
as they need what other commands, and their image, do without."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 2 for wrong usage, 1 for differences or failure."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "replay-wire":
                return _replay(options.folder)
            case "schema":
                print(msgspec.json.format(msgspec.json.encode(scenario_schema())).decode())
                return 0
            case "serve":
                return _serve(options)
            case name:
                return _elsewhere(name)(options)
    except (SettingsError, ConfigError, UsageTraceError) as error:
        print(f"scheduler.simulator: {error}", file=sys.stderr)
        return 2


def _elsewhere(name: str) -> Callable[[argparse.Namespace], int]:
    try:
        module = import_module(_ELSEWHERE[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "scheduler":
            raise
        hint = " (the extra `rl`)" if name == "train" else ""
        raise ConfigError(f"{name} needs {error.name}, which is not installed{hint}") from error
    run: Callable[[argparse.Namespace], int] = getattr(module, name)
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scheduler.simulator",
        description="A cluster in memory that speaks the Kubernetes API, in virtual time.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve_ = commands.add_parser("serve", help="serve a cluster until stopped")
    _add_serve_options(serve_)
    replay = commands.add_parser(
        "replay-wire", help="replay recordings of a real API server; exit 1 on a difference"
    )
    replay.add_argument("folder", type=Path, metavar="DIR", help="folder of *.json recordings")
    add_options(commands.add_parser("evaluate", help="compare scheduling policies on a scenario"))
    reproducing.add_options(
        commands.add_parser("reproduce", help="make published results again; exit 1 if they differ")
    )
    add_record_options(
        commands.add_parser("record", help="record a living cluster, as a scenario to run again")
    )
    add_train_options(
        commands.add_parser("train", help="learn a policy on a scenario, and export it")
    )
    add_fit_options(commands.add_parser("fit", help="write a scenario that is like recorded pods"))
    commands.add_parser("schema", help="print the JSON Schema of scenario files")
    return parser


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=_whole(0, 65_535), default=8001, help="0 takes any (%(default)s)")
    add(
        "--scenario",
        type=Path,
        metavar="FILE",
        help="live a scenario, with its nodes and users, instead of some empty nodes",
    )
    add("--nodes", type=_whole(0, MAX_NODES), default=5, help="how many (%(default)s)")
    add(
        "--node-cpu",
        type=_quantity(parse_milli, least="1", most="1024"),
        default="4",
        help="capacity of each (%(default)s)",
    )
    add(
        "--node-memory",
        type=_quantity(parse_whole, least="1Gi", most="64Ti"),
        default="8Gi",
        help="capacity of each (%(default)s)",
    )
    add(
        "--speed",
        type=_real(0.01, MAX_SPEED),
        default=1.0,
        help="virtual seconds per second (%(default)s)",
    )
    add("--seed", type=_whole(0, 2**63), default=0, help="decides all chance (%(default)s)")
    add(
        "--start",
        type=_instant,
        metavar="TIME",
        help="virtual time to start at, RFC 3339 (now; a week ago if the speed is not 1)",
    )
    add(
        "--manifests",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="create their objects at the start; folders are read whole",
    )
    add("--token-file", type=Path, metavar="FILE", help=f"bearer token (or {TOKEN_VARIABLE})")
    add("--write-token", type=Path, metavar="FILE", help="make a token if none is there or given")
    add("--write-kubeconfig", type=Path, metavar="FILE", help="write one that leads here")
    add("--advertise-url", metavar="URL", help="how clients reach it, for the kubeconfig")
    faults = parser.add_argument_group(
        "faults of the API server, off by default",
        f"P is a probability. PUT {PATH} sets them anew while it runs; GET shows them.",
    )
    add = faults.add_argument
    ratio = _real(0.0, 1.0)
    add("--fault-latency", type=_real(0.0, MAX_LATENCY_S), default=0.0, metavar="SECONDS")
    add("--fault-throttled", type=ratio, default=0.0, metavar="P", help="answered 429")
    add("--fault-failed", type=ratio, default=0.0, metavar="P", help="answered 500")
    add("--fault-conflict", type=ratio, default=0.0, metavar="P", help="updates, bindings: 409")
    add("--fault-answer-lost", type=ratio, default=0.0, metavar="P", help="done, yet answered 500")
    add("--fault-watch-dropped", type=ratio, default=0.0, metavar="P", help="after an event")


def _serve(options: argparse.Namespace) -> int:
    token = choose_token(
        host=options.host,
        token_file=options.token_file,
        write_token=options.write_token,
        variable=os.environ.get(TOKEN_VARIABLE),
    )
    sock = listen(options.host, port=options.port)
    port = sock.getsockname()[1]
    url = options.advertise_url or _url(options.host, port)
    start_s = options.start
    if start_s is None:
        start_s = time.time() - (0.0 if options.speed == 1.0 else _HISTORY_S)

    if options.write_kubeconfig is not None:
        write_private(options.write_kubeconfig, kubeconfig(url=url, token=token))

    scenario = None if options.scenario is None else load_scenario(options.scenario)
    n_nodes = options.nodes if scenario is None else scenario.n_nodes

    def on_ready() -> None:
        print(f"simulated cluster of {n_nodes} nodes at {_url(options.host, port)}", flush=True)

    settings = ServeOptions(
        host=options.host,
        port=port,
        n_nodes=n_nodes,
        cpu_milli=options.node_cpu,
        memory_bytes=options.node_memory,
        speed=options.speed,
        start_s=start_s,
        seed=options.seed,
        token=token,
        manifests=tuple(options.manifests),
        scenario=scenario,
        faults=Faults(
            latency_s=options.fault_latency,
            p_throttled=options.fault_throttled,
            p_failed=options.fault_failed,
            p_conflict=options.fault_conflict,
            p_answer_lost=options.fault_answer_lost,
            p_watch_dropped=options.fault_watch_dropped,
            seed=options.seed,
        ),
    )
    configure_logs()
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its start and stop are our news
    expect_large_heap()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, sock=sock, on_ready=on_ready))
    return 0


def _replay(folder: Path) -> int:
    differences = replay_folder(folder)
    for difference in differences:
        print(difference)
    n_faults = sum(1 for difference in differences if not difference.reason)
    n_meant = len(differences) - n_faults
    print(f"{n_faults} differences, and {n_meant} deliberate ones", file=sys.stderr)
    return 1 if n_faults else 0


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 (not bound)
    if ":" in reachable and not reachable.startswith("["):
        reachable = f"[{reachable}]"
    return f"http://{reachable}:{port}"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}, not {text!r}")
        return int(text)

    return read


def _real(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be {least:g} to {most:g}, not {text!r}")
        return number

    return read


def _quantity(parse: Callable[[str], int], *, least: str, most: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            amount = parse(text)
        except QuantityError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if not parse(least) <= amount <= parse(most):
            raise argparse.ArgumentTypeError(f"must be {least} to {most}, not {text!r}")
        return amount

    return read


def _instant(text: str) -> float:
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no RFC 3339 time: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
