import pytest
from PIL import Image

from scheduler.simulator.experiments.pictures import BRIER, PICTURES
from scheduler.simulator.experiments.plots import draw_plots
from scheduler.simulator.experiments.statistics import summarise
from tests.unit.simulator.experiments.makers import (
    make_quality,
    make_run,
    make_runs,
    make_timelines,
)


def draw(runs, directory):
    return draw_plots(runs, summary=summarise(runs, baseline="kube-default"), directory=directory)


def test_draws_every_picture_as_png(tmp_path):
    runs = [
        *make_runs(timelines=make_timelines()),
        *make_runs("ai", model=make_quality(), timelines=make_timelines(n_bins=5)),
    ]

    drawn = draw(runs, tmp_path)

    assert drawn == PICTURES
    for picture in PICTURES:
        with Image.open(tmp_path / picture.file) as image:
            assert image.format == "PNG"
            assert image.width > 500


def test_draws_no_brier_scores_if_no_model_served(tmp_path):
    drawn = draw(make_runs(), tmp_path)

    assert BRIER not in drawn
    assert not (tmp_path / BRIER.file).exists()


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param([make_run()], id="one run"),
        pytest.param(make_runs(troubles=(0, 0), throttled=0.0, pending_p99_s=0.0), id="zeros"),
        pytest.param([*make_runs(), make_run("ai", seed=1)], id="failed runs"),
        pytest.param([*make_runs(), make_run("ai", timelines=None)], id="no timelines"),
        pytest.param([make_run(n_placements=0, pending_p99_s=float("nan"))], id="not told"),
    ],
)
def test_draws_what_there_is(tmp_path, runs):
    assert len(draw(runs, tmp_path)) == 3
