"""A Prometheus server of the tests' own, thrown away afterwards."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

_READY_S = 60.0


class NoPrometheusError(Exception):
    """There is no server to be had here; says why."""


@contextmanager
def prometheus_server(
    port: int, *, scraping: Iterable[str] = (), history: str = "", config: str = ""
) -> Iterator[str]:
    """Run a server on a free port until the block ends; give its URL.

    Args:
        port: Where it listens.
        scraping: URLs (``http://host:port/path``) that it scrapes every quarter of a second.
        history: What it knows already, as OpenMetrics with timestamps.
        config: A configuration, instead of one that scrapes the URLs.

    Raises:
        NoPrometheusError: It is not installed.
    """
    program = _find("prometheus")
    with tempfile.TemporaryDirectory(prefix="prometheus-") as folder:
        home = Path(folder)
        file = home / "prometheus.yml"
        file.write_text(config or _config(scraping), encoding="utf-8")
        if history:
            _make_blocks(history, home=home)
        log = home / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={home / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=output,
                stderr=output,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url, process=process, log=log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=_READY_S)


def _find(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise NoPrometheusError(f"{name} is not installed (Debian's package prometheus has it)")
    return program


def _config(scraping: Iterable[str]) -> str:
    lines = ["global: {scrape_interval: 250ms, scrape_timeout: 250ms}", "scrape_configs:"]
    for n, url in enumerate(scraping):
        host, _, path = url.removeprefix("http://").partition("/")
        targets = f"static_configs: [{{targets: ['{host}']}}]"
        lines.append(f"- {{job_name: j{n}, metrics_path: /{path}, {targets}}}")
    return "\n".join(lines if len(lines) > 2 else lines[:1])


def _make_blocks(history: str, *, home: Path) -> None:
    text = home / "history.txt"
    text.write_text(history, encoding="utf-8")
    done = subprocess.run(
        [
            _find("promtool"),
            *("tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=192h"),
            *(str(text), str(home / "data")),
        ],
        capture_output=True,
        text=True,
        timeout=_READY_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _wait_until_ready(url: str, *, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + _READY_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{url}/-/ready", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"Prometheus did not start: {log.read_text(encoding='utf-8')[-2000:]}")
