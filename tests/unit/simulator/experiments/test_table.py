import pytest

from scheduler.simulator.experiments.statistics import Estimate, Ratio, summarise
from scheduler.simulator.experiments.table import (
    MAX_COLUMNS,
    Table,
    estimate_text,
    markdown_table,
    metric_tables,
    model_tables,
    ratio_text,
    text_table,
    verdict_table,
    waiting_tables,
)
from scheduler.simulator.experiments.verdicts import judge
from tests.unit.simulator.experiments.makers import make_quality, make_run, make_runs


@pytest.mark.parametrize(
    ("mean", "half_width", "text"),
    [
        (41.234, 3.14, "41.2 ± 3.1"),
        (1234.5, 123.0, "1,234 ± 123"),
        (0.0, 0.0, "0 ± 0"),
        (0.1, 1e-17, "0.100 ± 0.000"),
        (12.345, None, "12.3"),
    ],
)
def test_writes_as_many_digits_as_the_interval_bears(mean, half_width, text):
    assert estimate_text(Estimate(mean=mean, half_width=half_width, n_seeds=3)) == text


def test_writes_a_dash_for_what_no_run_tells():
    assert estimate_text(None) == "-"


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio(value=0.5, low=0.4, high=0.61), "×0.50 [0.40, 0.61]"),
        (Ratio(value=0.5, low=None, high=None), "×0.50"),
        (Ratio(value=None, low=None, high=None), "baseline 0"),
    ],
)
def test_writes_ratios(ratio, text):
    assert ratio_text(ratio) == text


def test_a_text_table_is_aligned():
    table = Table("T", ("policy", "n"), (("ai\n  to b", "1\n×2.00"), ("b", "10")))

    assert text_table(table) == "T\npolicy      n\nai          1\n  to b  ×2.00\nb          10\n"


def test_a_wide_text_table_goes_on_below_under_the_same_names():
    head = ("policy", *(f"{i:030d}" for i in range(5)))
    table = Table("T", head, (("ai", *"12345"),))

    text = text_table(table)

    assert max(map(len, text.splitlines())) <= MAX_COLUMNS
    assert text.count("policy") == 3


def test_a_markdown_table_breaks_lines_and_escapes_bars():
    table = Table("T", ("policy", "n"), (("a|b\nc", "1"),))

    assert markdown_table(table) == ("### T\n\n| policy | n |\n| :-- | --: |\n| a\\|b<br>c | 1 |\n")


def test_shows_means_and_below_them_what_they_are_to_the_baseline():
    runs = [*make_runs(troubles=(100, 102)), *make_runs("ai", troubles=(50, 51))]

    troubles, waiting, *_ = metric_tables(summarise(runs, baseline="kube-default"))

    assert troubles.rows[0] == ("kube-default", "101 ± 13", "0 ± 0", "0 ± 0", "101 ± 13")
    assert troubles.rows[1][0] == "ai\n  to kube-default"
    assert troubles.rows[1][1] == "50.5 ± 6.4\n×0.50 [0.50, 0.50]"
    assert troubles.rows[1][2] == "0 ± 0\nno difference"
    assert waiting.rows[1][4] == "0 ± 0\nno difference"


def test_shows_what_the_network_costs_where_a_run_tells():
    runs = [make_run(network_cost=30.0), make_run("near", network_cost=1.5)]

    *_, network = metric_tables(summarise(runs, baseline="kube-default"))
    titles = [table.title for table in metric_tables(summarise([make_run()], baseline="x"))]

    assert network.rows == (("kube-default", "30.0"), ("near\n  to kube-default", "1.50\n×0.05"))
    assert network.title not in titles


def test_shows_how_long_services_were_down_where_a_run_tells():
    runs = [make_run(services_down_h=0.5), make_run("lucky", services_down_h=0.0)]

    *_, down = metric_tables(summarise(runs, baseline="kube-default"))

    assert down.head == ("policy", "service-hours down")
    assert down.rows == (("kube-default", "0.500"), ("lucky\n  to kube-default", "0\n×0.00"))


def test_shows_models_and_trainings_of_those_that_learn():
    learner = make_run("ai", model=make_quality(auc=None), trainings={"served": 2})

    quality, trainings = model_tables(summarise([make_run(), learner], baseline="kube-default"))

    assert [row[0] for row in quality.rows] == ["ai"]
    assert quality.rows[0][3] == "-"
    assert trainings.rows == (("ai", "2.0"),)


def test_shows_nothing_of_models_if_nobody_learns():
    assert model_tables(summarise([make_run()], baseline="kube-default")) == []


def test_says_of_each_target_whether_it_is_met():
    runs = [*make_runs(troubles=(100, 101, 99)), *make_runs("ai", troubles=(40, 75, 58))]
    verdicts = judge(summarise(runs, baseline="kube-default"), expects="better")

    rows = verdict_table(verdicts, baseline="kube-default").rows

    assert rows[0][:4] == ("ai", "all troubles", "at most ×0.60", "met, within chance")
    assert rows[1][2:] == ("at most ×0.80", "missed", "×1.00 [1.00, 1.00]")
    assert rows[3][2:4] == ("no more", "met")


def test_waiting_by_namespace_is_shown_where_there_are_several():
    runs = [
        make_run(seed=0, pending_p99_s_by_namespace={"a": 10.0, "b": 2000.0}),
        make_run(seed=1, pending_p99_s_by_namespace={"a": 20.0}),
        make_run("mine", seed=0, pending_p99_s_by_namespace={"b": 1.0}),
    ]

    [table] = waiting_tables(runs)

    assert table.head == ("policy", "a", "b")
    assert table.rows == (("kube-default", "15.0", "2,000.0"), ("mine", "-", "1.0"))
    assert waiting_tables(runs[1:2]) == []
