"""What ``--external`` may say."""

from pathlib import Path

import yaml

from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.experiments.external import parse_externals

EXAMPLES = Path(__file__).parents[4] / "config" / "examples" / "kube-scheduler"


def parse(*texts):
    return [
        (each.name, each.command) for each in parse_externals(texts, patience_s=2.0, output=None)
    ]


def test_a_program_is_called_like_its_file_unless_it_is_named():
    assert parse("/usr/bin/env x", "mine=env y", "other=env") == [
        ("env", ("/usr/bin/env", "x")),
        ("mine", ("env", "y")),
        ("other", ("env",)),
    ]


def test_words_are_split_as_a_shell_would_but_no_shell_reads_them():
    [(name, command)] = parse("env A=b 'two words' $HOME; rm *")

    assert name == "env"
    assert command == ("env", "A=b", "two words", "$HOME;", "rm", "*")


def test_the_example_for_kube_scheduler_serves_the_pods_of_scenarios():
    text = (EXAMPLES / "simulated.yaml").read_text()
    configuration = yaml.safe_load(text)

    assert configuration["profiles"] == [{"schedulerName": SCHEDULER_NAME}]
    assert configuration["clientConnection"]["kubeconfig"] in text.partition("sed s#")[2]
    assert configuration["podMaxBackoffSeconds"] == 1
