"""What ``python -m scheduler.simulator train`` can be told; light, as every command reads it."""

import argparse
from pathlib import Path
from typing import Final

import msgspec

from kube.edge.settings import Interval, SettingsError, load_settings
from scheduler.simulator.experiments.options import at_least
from scheduler.simulator.training.settings import PpoSettings

ALGORITHMS: Final = ("maskable-ppo",)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what ``train`` can be told."""
    add = parser.add_argument
    add("--algo", choices=ALGORITHMS, default=ALGORITHMS[0], help="how it learns (%(default)s)")
    add("--scenario", type=Path, required=True, metavar="FILE", help="see the schema command")
    add(
        "--steps",
        type=at_least(1),
        required=True,
        metavar="N",
        help="decisions to learn from, all environments together; rounded up to whole updates",
    )
    add("--seed", type=at_least(0), default=0, metavar="S", help="of all chance (%(default)s)")
    add("--out", type=Path, required=True, metavar="DIR", help="for all that the training writes")
    add(
        "--episode",
        type=_interval,
        metavar="DURATION",
        help="how long a world is lived through, as 6h (the scenario's measured time)",
    )
    add("--resume", action="store_true", help="go on from DIR's newest checkpoint")
    add(
        "--envs",
        type=at_least(1),
        default=16,
        metavar="K",
        help="environments that are played in turn (%(default)s)",
    )
    add(
        "--threads",
        type=at_least(1),
        default=1,
        metavar="N",
        help="of the processor, for the network; more pay off on large clusters (%(default)s)",
    )
    add(
        "--may-wait",
        action="store_true",
        help="let it leave a pod waiting though a node would take it, which a Score plugin cannot",
    )
    add(
        "--checkpoint-every",
        type=at_least(1),
        default=50_000,
        metavar="N",
        help="steps (%(default)s)",
    )
    add(
        "--eval-seeds",
        type=at_least(0),
        default=10,
        metavar="M",
        help="unseen worlds to compare it in with others, seeds 0 to M-1 (%(default)s)",
    )
    add(
        "--hyperparameters",
        type=Path,
        metavar="FILE",
        help="YAML, with the names of the options below (as learning_rate); those come first",
    )
    group = parser.add_argument_group("hyper-parameters", "how it learns; see the file's names")
    for field in msgspec.structs.fields(PpoSettings):
        group.add_argument(
            _flag(field.name), metavar="NUMBER", help=f"({field.default})", dest=_place(field.name)
        )


def hyperparameters_of(options: argparse.Namespace) -> PpoSettings:
    """Read the hyper-parameters: the file's, and over them those named one by one.

    Raises:
        SettingsError: The file cannot be read, or a name or value is wrong.
    """
    settings = load_settings(PpoSettings, path=options.hyperparameters, env={}, prefix="TRAIN")
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(PpoSettings):
        text = getattr(options, _place(field.name))
        if text is None:
            continue
        try:
            given[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{_flag(field.name)}: {error}, not {text!r}") from error
    return msgspec.structs.replace(settings, **given)


def _interval(text: str) -> Interval:
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _place(name: str) -> str:
    return f"ppo_{name}"
