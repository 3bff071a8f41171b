"""``python -m collector import`` and ``export``: history from files, and to files."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from collector.archive import Archive
from collector.claim import claiming
from collector.database import Database, StoreError, open_database
from collector.exporting import export
from collector.file_rows import KINDS
from collector.files import SUFFIXES, FileError, find_files
from collector.importing import Importer, check
from collector.settings import CollectorSettings
from collector.store import Store
from kube.edge.program import FAILED, MISCONFIGURED, STOPPED
from kube.edge.settings import SettingsError, load_settings

NAMES: Final = ("import", "export")
_ABOUT_IMPORT: Final = """\
Adds recorded or simulated history to the database. Stop the collector first.

PATH is a .csv or .parquet file, or a folder of them. What a file holds is told by its columns;
those in brackets may be left out, or be empty. Times are Unix seconds of the cluster's clock and
should lie before all that will be collected; cpu is in millicores, memory in bytes.

{columns}

Samples must be sorted by time; they become rollups of five minutes. A file is added whole or not
at all, and what the database holds already is kept: after a mistake, import the same again. What is
older than metrics.cache_duration is deleted when the collector runs.
"""
_ABOUT_EXPORT: Final = """\
Writes rollups, tallies and placements into a folder, as files that "import" takes. Single samples
are left out, and so are the last minutes, of which no rollup has been made yet.
"""


def run_command(arguments: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Import or export; tell what was done.

    Args:
        arguments: The command line without the program; the first names the command.
        env: Usually ``os.environ``.

    Returns:
        The exit code: 0 if all is done, 2 if the settings are unusable, 1 if a file or the database
        is.
    """
    options = _parser().parse_args(arguments)
    act = _import if options.command == "import" else _export
    try:
        settings = load_settings(
            CollectorSettings, path=_config(options.config), env=env, prefix="COLLECTOR"
        )
        act(settings, options)
    except SettingsError as error:
        sys.stderr.write(f"collector: {error}\n")
        return MISCONFIGURED
    except (FileError, StoreError, OSError) as error:
        sys.stderr.write(f"collector: {error}\n")
        return FAILED
    return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m collector")
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    about = _ABOUT_IMPORT.format(columns=_columns())
    adding = commands.add_parser("import", description=about, formatter_class=raw)
    adding.add_argument("path", type=Path, metavar="PATH", help="a file, or a folder of files")
    adding.add_argument("--dry-run", action="store_true", help="check the files, change nothing")
    writing = commands.add_parser("export", description=_ABOUT_EXPORT, formatter_class=raw)
    writing.add_argument("path", type=Path, metavar="PATH", help="a folder; made if it is missing")
    formats = [suffix.removeprefix(".") for suffix in SUFFIXES]
    writing.add_argument("--format", choices=formats, default="csv", help="(%(default)s)")
    for command in (adding, writing):
        command.add_argument(
            "--config", type=Path, help="settings (default: config/collector.yaml)"
        )
    return parser


def _columns() -> str:
    """List the columns of all kinds of files."""
    lines = []
    for name, kind in KINDS.items():
        fields = msgspec.structs.fields(kind)
        words = [f.encode_name if f.required else f"[{f.encode_name}]" for f in fields]
        lines += [f"  {name}:", *_wrapped(words), ""]
    lines += [
        "  subject is node or workload, and name the node's, or namespace/kind/name of what",
        "  replicas have in common; each sample of a workload is one replica's. A histogram is",
        "  JSON, as export writes it; a placement's state is as /api/v1/placements gives it.",
    ]
    return "\n".join(lines)


def _wrapped(words: Sequence[str]) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > 90:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else f"    {word}"
    return lines


def _config(path: Path | None) -> Path | None:
    default = Path("config/collector.yaml")
    if path is not None:
        return path
    return default if default.exists() else None


def _import(settings: CollectorSettings, options: argparse.Namespace) -> None:
    paths = find_files(options.path)
    if options.dry_run:
        for path in paths:
            _say(f"{path}: {check(path)} rows are sound")
        return
    with closing(_open(settings)) as database, claiming(settings.database.url):
        importer = Importer(
            Store(database, first_seq=time.time_ns() // 1_000_000),
            archive=_archive(database, settings),
        )
        for path in paths:
            done = importer.add(path)
            _say(
                f"{path}: {done.n_rows} rows; new: {done.new.rollups} rollups,"
                f" {done.new.tallies} tallies, {done.new.placements} placements"
            )


def _export(settings: CollectorSettings, options: argparse.Namespace) -> None:
    with closing(_open(settings)) as database:
        for path, n_rows in export(database, options.path, suffix=f".{options.format}").items():
            _say(f"{path}: {n_rows} rows")


def _open(settings: CollectorSettings) -> Database:
    return open_database(
        settings.database.url, now_text=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    )


def _archive(database: Database, settings: CollectorSettings) -> Archive:
    metrics = settings.metrics
    return Archive(database, raw_s=metrics.raw_duration, keep_s=metrics.cache_duration)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
