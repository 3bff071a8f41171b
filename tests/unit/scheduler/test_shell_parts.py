"""Small parts of the shell: clock, inbox, workers, recorder."""

import threading

from prometheus_client import CollectorRegistry

from scheduler.cluster.clock import EngineClock
from scheduler.cluster.decisions import DecisionLog
from scheduler.cluster.inbox import Inbox
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.records import Recorder
from scheduler.cluster.workers import Workers
from scheduler.events import BindFailed, BindSucceeded, PodGone, PodSeen, ReportFailure, Tick
from tests.unit.scheduler.worlds import decisions, feed, make_engine, make_pending


def test_the_engines_time_follows_the_clusters_and_goes_on_when_that_is_set_back():
    times = iter([100.0, 105.0, 20.0, 25.0])
    clock = EngineClock(lambda: next(times))

    assert [clock.now_s() for _ in range(4)] == [100.0, 105.0, 105.0, 110.0]
    assert (clock.of_cluster(25.0), clock.to_cluster(110.0)) == (110.0, 25.0)


def test_who_brings_too_much_news_waits_while_results_pass():
    inbox = Inbox(max_news=1)
    inbox.put_news(Tick())
    waiting = threading.Thread(target=inbox.put_news, args=(PodGone("a/b", "c"),))
    waiting.start()
    inbox.put_result(BindSucceeded("u"))

    first = inbox.take(timeout_s=20.0)
    waiting.join(20.0)

    assert first == [Tick(), BindSucceeded("u")]
    assert inbox.take(timeout_s=20.0) == [PodGone("a/b", "c")]


def test_a_closed_inbox_lets_nobody_wait():
    inbox = Inbox(max_news=0)
    inbox.close()
    inbox.put_news(Tick())

    assert inbox.take(timeout_s=20.0) == [Tick()]


def test_workers_survive_a_task_that_fails(caplog):
    done = threading.Event()
    workers = Workers("test", n_threads=1, max_waiting=5)
    workers.submit(lambda: 1 / 0)
    workers.submit(done.set)

    assert done.wait(20.0)
    workers.stop(timeout_s=20.0)
    assert "task failed" in caplog.text


def test_too_much_work_drops_the_oldest_and_says_so():
    may_go, begun = threading.Event(), threading.Event()
    done, dropped = [], []
    workers = Workers("test", n_threads=1, max_waiting=2, on_dropped=lambda: dropped.append(1))
    workers.submit(lambda: (begun.set(), may_go.wait(20.0)))
    begun.wait(20.0)
    finished = threading.Event()
    for task in (lambda: done.append("a"), lambda: done.append("b"), finished.set):
        workers.submit(task)
    may_go.set()

    assert finished.wait(20.0)
    workers.stop(timeout_s=20.0)
    assert (done, len(dropped)) == (["b"], 1)


def test_attempts_are_counted_by_how_they_ended():
    metrics = Metrics(CollectorRegistry())
    recorder = Recorder(decisions=DecisionLog(10), metrics=metrics)
    engine = make_engine("n1")
    pods = [
        make_pending("a"),
        make_pending("b"),
        make_pending("c"),
        make_pending("d"),
        make_pending("big", cpu_milli=9999),
    ]
    for decision in decisions(feed(engine, [PodSeen(pod) for pod in pods])):
        recorder.record(decision, took_s=0.001)
    for event in (
        BindSucceeded("uid-of-a"),
        BindFailed("uid-of-b", "no"),
        BindFailed("uid-of-c", "gone", is_lost_race=True),
        PodGone("default/d", "uid-of-d"),
        BindSucceeded("uid-of-d"),
    ):
        recorder.note(event)
        for report in engine.handle(event, now_s=0.0):
            recorder.report(report)
    recorder.report(ReportFailure(make_pending("e"), "SchedulerError", "a plugin is broken"))
    recorder.show(engine)

    def value(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    attempts = "scheduler_schedule_attempts_total"
    results = ("scheduled", "error", "unschedulable")
    assert [value(attempts, result=r, profile="ai-scheduler") for r in results] == [1.0, 3.0, 1.0]
    assert value("scheduler_pending_pods", queue="backoff") == 3.0
    assert value("scheduler_cache_size", type="assumed_pods") == 1.0
    assert value("scheduler_predictor_decisions_total", use="not asked") == 5.0


def test_a_nudge_ends_the_wait_for_news_once():
    inbox = Inbox()
    inbox.nudge()

    assert inbox.take(timeout_s=60.0) == []
    assert inbox.take(timeout_s=0.0) == []
