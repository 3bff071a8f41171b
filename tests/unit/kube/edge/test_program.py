"""What every program does at its start and at its end."""

import signal

import pytest

from kube.edge.program import FAILED, MISCONFIGURED, STOPPED, Start, StartError, run
from kube.edge.settings import ProgramSettings, SettingsError
from kube.errors import ConfigError


class Example(ProgramSettings, frozen=True):
    name: str = "by default"


def start(*arguments, serve=lambda _: STOPPED, **env):
    return run("example", arguments=arguments, env=env, settings_type=Example, serve=serve)


def test_its_own_file_is_read_where_it_is_shipped(tmp_path, monkeypatch):
    seen: list[Start] = []
    (tmp_path / "config").mkdir()
    (tmp_path / "config/example.yaml").write_text("name: shipped")
    monkeypatch.chdir(tmp_path)

    codes = [start(serve=lambda given: seen.append(given) or STOPPED)]
    (tmp_path / "config/example.yaml").unlink()
    codes += [start(serve=lambda given: seen.append(given) or STOPPED)]

    assert codes == [STOPPED, STOPPED]
    assert [given.settings.name for given in seen] == ["shipped", "by default"]


def test_a_signal_tells_it_to_stop_and_is_given_back():
    def serve(given: Start[Example]) -> int:
        signal.raise_signal(signal.SIGTERM)
        return STOPPED if given.stop.wait(20.0) else FAILED

    before = signal.getsignal(signal.SIGTERM)

    assert start(serve=serve) == STOPPED
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("file:3: key: wrong"), MISCONFIGURED),
        (ConfigError("kubeconfig: no such file"), MISCONFIGURED),
        (StartError("disk: full"), FAILED),
        (OSError(98, "Address already in use"), FAILED),
    ],
)
def test_what_keeps_it_from_starting_is_one_line_and_an_exit_code(capsys, error, code):
    def serve(_: Start[Example]) -> int:
        raise error

    assert start(serve=serve) == code
    assert capsys.readouterr().err == f"example: {error}\n"


def test_a_wrong_variable_ends_it_before_it_serves(capsys):
    assert start(EXAMPLE__NMAE="typo") == MISCONFIGURED
    assert "EXAMPLE__NMAE" in capsys.readouterr().err
