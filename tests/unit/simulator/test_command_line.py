"""Wrong usage of the simulator's command line: exit code 2, and a reason."""

import json
import socket

import pytest

from scheduler.simulator.__main__ import main


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("SIMULATOR_TOKEN", raising=False)


def exit_code(*arguments):
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--host=0.0.0.0"], "without a token", id="open to the world"),
        pytest.param(["--host=192.0.2.1"], "without a token", id="open to a network"),
        pytest.param(["--speed=0"], "--speed: must be 0.01 to 3600", id="no speed"),
        pytest.param(["--speed=nan"], "--speed: must be 0.01 to 3600", id="undefined speed"),
        pytest.param(["--nodes=-1"], "--nodes: must be 0 to 5000", id="negative"),
        pytest.param(["--nodes=lots"], "not 'lots'", id="no number"),
        pytest.param(["--port=70000"], "--port: must be 0 to 65535", id="no port"),
        pytest.param(["--node-memory=1e400"], "--node-memory", id="absurd quantity"),
        pytest.param(["--node-cpu=-1"], "--node-cpu", id="negative quantity"),
        pytest.param(["--start=yesterday"], "RFC 3339", id="no time"),
        pytest.param(["--fault-failed=2"], "--fault-failed: must be 0 to 1", id="no probability"),
        pytest.param(["--token-file=/nowhere/token"], "/nowhere/token", id="no such file"),
        pytest.param(["--no-such-option"], "unrecognized", id="unknown option"),
    ],
)
def test_wrong_options_are_refused_with_a_reason(options, words, capsys):
    assert exit_code("serve", *options) == 2
    assert words in capsys.readouterr().err


def test_a_taken_port_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert exit_code("serve", f"--port={port}") == 2

    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_a_folder_without_recordings_is_refused(tmp_path, capsys):
    assert exit_code("replay-wire", str(tmp_path)) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(200, 0), (418, 1)])
def test_replaying_tells_differences_by_its_exit_code(tmp_path, capsys, status, code):
    record = {"title": "nodes", "method": "GET", "path": "/api/v1/nodes", "status": status}
    answer = {
        "kind": "NodeList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1"},
        "items": [],
    }
    (tmp_path / "nodes.json").write_text(json.dumps([{**record, "response": answer}]))

    assert exit_code("replay-wire", str(tmp_path)) == code
    assert ("nodes: nodes:" in capsys.readouterr().out) == bool(code)
