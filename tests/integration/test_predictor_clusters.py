"""Training on a cluster: a real one of Dask, in processes of its own on this machine."""

import pytest
from distributed import Client, LocalCluster

from predictor.training import TrainingError, TrainingProcess, train
from tests.unit.predictor.test_training import make_request

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running


def workers_that_fitted(address):
    """Name the workers that have run tasks of joblib's."""

    def has_fitted(dask_worker):
        return any("build_trees" in str(entry) for entry in dask_worker.state.log)

    with Client(address) as client:
        return [worker for worker, has in client.run(has_fitted).items() if has]


def test_a_model_fitted_on_a_dask_cluster_is_the_one_fitted_here(cluster):
    address = cluster.scheduler_address
    here = train(make_request())

    there = train(make_request(joblib_backend="dask", cluster_address=address))

    assert there.record == here.record
    assert there.content == here.content
    assert len(workers_that_fitted(address)) == 2


def test_a_training_without_an_address_brings_a_cluster_of_its_own():
    trained = TrainingProcess(timeout_s=100).run(make_request(joblib_backend="dask"))

    assert trained.record.about.is_trusted


def test_a_cluster_that_does_not_answer_is_a_failed_training(unused_port):
    address = f"tcp://127.0.0.1:{unused_port}"
    request = make_request(joblib_backend="dask", cluster_address=address)

    with pytest.raises(TrainingError, match=f"{unused_port}"):
        TrainingProcess(timeout_s=100).run(request)
