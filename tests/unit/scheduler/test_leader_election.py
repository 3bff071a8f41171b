"""Upstream's block ``leaderElection``."""

import pytest

from kube.edge.settings import SettingsError
from scheduler.framework.configuration import load_configuration
from scheduler.framework.leader_election import LeaderElectionConfiguration
from scheduler.plugins.defaults import built_in_registry

HEAD = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles: [{schedulerName: ai-scheduler}]
"""


@pytest.fixture
def read(tmp_path):
    def load(block):
        path = tmp_path / "profile.yaml"
        path.write_text(f"{HEAD}leaderElection: {block}\n" if block else HEAD)
        return load_configuration(path, registry=built_in_registry()).leader_election

    return load


@pytest.mark.parametrize("block", ["", "{}"])
def test_it_is_off_unless_asked_for(read, block):
    assert read(block) == LeaderElectionConfiguration()
    assert not read(block).leader_elect


def test_takes_all_of_upstreams_keys(read):
    settings = read(
        "{leaderElect: true, leaseDuration: 1m0s, renewDeadline: 40s, retryPeriod: 1500ms, "
        "resourceLock: leases, resourceName: mine, resourceNamespace: team}"
    )

    assert settings.leader_elect
    times = (settings.lease_duration, settings.renew_deadline, settings.retry_period)
    assert times == (60.0, 40.0, 1.5)
    assert (settings.resource_name, settings.resource_namespace) == ("mine", "team")


def test_has_upstreams_times(read):
    settings = read("{leaderElect: true}")

    times = (settings.lease_duration, settings.renew_deadline, settings.retry_period)
    assert times == (15.0, 10.0, 2.0)


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        pytest.param("{leaseDuration: 10s}", "leaseDuration must be longer", id="deadline"),
        pytest.param("{retryPeriod: 9s}", "renewDeadline must be longer", id="retry"),
        pytest.param(
            "{leaseDuration: 900ms, renewDeadline: 500ms, retryPeriod: 100ms}",
            "at least 1s",
            id="parts of a second",
        ),
        pytest.param("{resourceLock: endpoints}", "resourceLock", id="other locks"),
        pytest.param("{resourceName: ''}", "resourceName", id="no name"),
        pytest.param("{leaseduration: 20s}", "leaseduration: unknown key", id="typo"),
    ],
)
def test_times_that_contradict_each_other_are_refused_with_their_line(read, block, complaint):
    with pytest.raises(SettingsError, match=f"profile.yaml:4: .*{complaint}"):
        read(block)
