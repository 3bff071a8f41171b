"""The collector's HTTP interface. It only reads: every path takes GET, and no body."""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from flask import Flask, Response, request

from collector.answers import (
    Health,
    HistoryPoint,
    NodeHistory,
    Nodes,
    Pods,
    PodState,
    Summary,
    WorkloadUsage,
)
from collector.cluster_view import ClusterView
from collector.collecting import Collector
from collector.contract import NodeState, Wire
from collector.database import StoreError
from collector.facts import PodFacts
from collector.history import Subject
from collector.openapi import OPERATIONS
from collector.queries import (
    HistoryQuery,
    MetricsQuery,
    PlacementsQuery,
    PodsQuery,
    Span,
    read_span,
    read_window,
)
from collector.usage_windows import metrics_of
from collector.windows import Rollup
from kube.edge.openapi import install_openapi
from kube.edge.problems import ProblemDetails, ProblemError, answer, install
from kube.edge.queries import read_query
from kube.edge.serve import JSON, install_health, install_timing

_MAX_BODY_BYTES: Final = 65_536


def make_app(collector: Collector) -> Flask:
    """Make the WSGI application.

    Args:
        collector: What to answer from; running or not.
    """
    app = Flask("collector", static_folder=None)
    paths = [operation.path for operation in OPERATIONS]
    install_timing(app, duration=collector.telemetry.request_duration, paths=paths)
    install(app, max_body_bytes=_MAX_BODY_BYTES)
    install_health(
        app,
        registry=collector.telemetry.registry,
        not_ready=lambda: "" if collector.is_synced else "the cluster has not been listed yet",
    )
    app.register_error_handler(StoreError, _on_store_error)
    install_openapi(app, title="collector", operations=OPERATIONS)
    answers = _Answers(collector)
    routes: dict[str, Callable[..., Response]] = {
        "/api/v1/metrics": answers.metrics,
        "/api/v1/nodes": answers.nodes,
        "/api/v1/nodes/<name>/history": answers.node_history,
        "/api/v1/pods": answers.pods,
        "/api/v1/workloads/<namespace>/<kind>/<name>": answers.workload,
        "/api/v1/workloads/<namespace>/<kind>/<name>/history": answers.workload_history,
        "/api/v1/snapshot": answers.snapshot,
        "/api/v1/placements": answers.placements,
        "/health": answers.health,
    }
    for path, view in routes.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    return app


class _Answers:
    """Answers one GET each; all may run at once."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def metrics(self) -> Response:
        window_s = read_window(read_query(request.args, MetricsQuery))
        self._check_synced()
        now_s = self._collector.now_s()
        at_s = self._collector.changed_at_s
        with self._collector.looking() as (view, _):
            metrics = metrics_of(view, at_s=at_s, now_s=now_s, window_s=window_s)
        return _json(metrics)

    def nodes(self) -> Response:
        nodes = self._node_states()
        return _json(Nodes(at_s=self._collector.changed_at_s, items=nodes))

    def node_history(self, name: str) -> Response:
        span, points = self._history(Subject.NODE, name)
        if points is None:
            self._check_node(name)
        return _json(
            NodeHistory(
                node=name,
                start_s=span.start_s,
                end_s=span.end_s,
                step_s=span.step_s,
                points=points or [],
            )
        )

    def pods(self) -> Response:
        query = read_query(request.args, PodsQuery)
        self._check_synced()
        with self._collector.looking() as (view, _):
            pods = [_pod_state(pod, view) for pod in view.pods.values() if _is_asked(pod, query)]
        pods.sort(key=lambda pod: (pod.namespace, pod.name))
        return _json(Pods(at_s=self._collector.changed_at_s, items=pods))

    def workload(self, namespace: str, kind: str, name: str) -> Response:
        key = f"{namespace}/{kind}/{name}"
        self._check_workload(key)
        with self._collector.looking() as (view, _):
            workload = view.workload(key, now_s=self._collector.now_s())
        return _json(workload)

    def workload_history(self, namespace: str, kind: str, name: str) -> Response:
        key = f"{namespace}/{kind}/{name}"
        span, points = self._history(Subject.WORKLOAD, key)
        if points is None:
            self._check_workload(key)
        return _json(
            WorkloadUsage(
                workload=key,
                start_s=span.start_s,
                end_s=span.end_s,
                step_s=span.step_s,
                points=points or [],
            )
        )

    def snapshot(self) -> Response:
        self._check_synced()
        snapshot = self._collector.snapshot()
        response = Response(snapshot.body, mimetype=JSON)
        response.set_etag(str(snapshot.version))
        response.headers["Cache-Control"] = "no-cache"
        response.make_conditional(request)
        return response

    def placements(self) -> Response:
        query = read_query(request.args, PlacementsQuery)
        return _json(self._collector.store.placements(since=query.since, limit=query.limit))

    def health(self) -> Response:
        collector = self._collector
        now_s, silence_s = collector.now_s(), collector.silence_s
        with collector.looking() as (view, _):
            version, n_nodes, n_pods = view.version, view.n_nodes, len(view.pods)
            newest_s = view.newest_sample_s
        reasons = collector.ailments()
        is_silent = silence_s == float("inf")
        return _json(
            Health(
                status=_status(collector, reasons),
                reasons=reasons,
                at_s=now_s,
                api_server_silence_s=None if is_silent else silence_s,
                last_sample_at_s=newest_s,
                sample_age_s=None if newest_s is None else max(0.0, now_s - newest_s),
                snapshot_version=version,
                n_nodes=n_nodes,
                n_pods=n_pods,
                n_open_placements=collector.n_open,
                n_pending_writes=collector.journal.n_pending,
            )
        )

    def _node_states(self) -> list[NodeState]:
        self._check_synced()
        with self._collector.looking() as (view, _):
            return view.node_states(now_s=self._collector.now_s())

    def _history(self, subject: Subject, name: str) -> tuple[Span, list[HistoryPoint] | None]:
        """Read the part of the past that is asked for; ``None``: nothing was ever sampled."""
        query = read_query(request.args, HistoryQuery)
        span = read_span(query, now_s=self._collector.now_s())
        series_id = self._collector.store.series_id(subject, name)
        if series_id is None:
            return span, None
        windows = self._collector.archive.windows(
            series_id, start_s=span.start_s, end_s=span.end_s, step_s=span.step_s
        )
        return span, [_point(start_s, *windows[start_s]) for start_s in sorted(windows)]

    def _check_synced(self) -> None:
        if not self._collector.is_synced:
            detail = "the cluster has not been listed yet"
            raise ProblemError(503, "Not ready", detail=detail)

    def _check_workload(self, key: str) -> None:
        self._check_synced()
        with self._collector.looking() as (view, history):
            if not history.knows(Subject.WORKLOAD, key) and not any(
                pod.workload == key for pod in view.pods.values()
            ):
                raise ProblemError(404, "Unknown workload", detail=key)

    def _check_node(self, name: str) -> None:
        self._check_synced()
        with self._collector.looking() as (view, _):
            if view.node(name) is None:
                raise ProblemError(404, "Unknown node", detail=name)


def _status(collector: Collector, reasons: list[str]) -> Literal["ok", "starting", "degraded"]:
    if not collector.is_synced:
        return "starting"
    return "degraded" if reasons else "ok"


def _on_store_error(error: StoreError) -> Response:
    return answer(ProblemDetails(title="Out of service", status=503, detail=str(error)))


def _json(document: Wire) -> Response:
    return Response(msgspec.json.encode(document), mimetype=JSON)


def _point(start_s: int, cpu: Rollup, memory: Rollup) -> HistoryPoint:
    return HistoryPoint(
        start_s=start_s, n_samples=cpu.count, cpu_milli=_summary(cpu), memory_bytes=_summary(memory)
    )


def _summary(rollup: Rollup) -> Summary:
    return Summary(
        mean=rollup.mean, max=rollup.max, variance=rollup.variance, p95=rollup.quantile(0.95)
    )


def _is_asked(pod: PodFacts, query: PodsQuery) -> bool:
    return (
        query.namespace in ("", pod.namespace)
        and query.node in ("", pod.node)
        and query.workload in ("", pod.workload)
    )


def _pod_state(pod: PodFacts, view: ClusterView) -> PodState:
    sample = view.pod_sample(pod.uid)
    return PodState(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        workload=pod.workload,
        node=pod.node,
        phase=pod.phase,
        is_ready=pod.ready_at_s is not None,
        cpu_milli=pod.cpu_milli,
        memory_bytes=pod.memory_bytes,
        n_restarts=pod.n_restarts,
        failure=pod.failure,
        usage_cpu_milli=sample.cpu_milli if sample is not None else None,
        usage_memory_bytes=sample.memory_bytes if sample is not None else None,
        sampled_at_s=sample.at_s if sample is not None else None,
    )
