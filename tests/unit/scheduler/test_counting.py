"""Sparse columns, pod counts and carried terms: kept up to date, they are what counting gives."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.selectors import LabelQuery, Requirement, labels_query
from scheduler.framework import pod_counts
from scheduler.framework.columns import Amounts
from scheduler.framework.pod_counts import PodQuery
from scheduler.framework.selector_index import SelectorIndex
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.topology import Domains
from scheduler.model import AffinityTerm, NodeFacts, PodFacts, PodTerm

N_ROWS = 200
"""Enough for keys that few rows have to be kept without a column."""


def filled(n_rows=N_ROWS):
    amounts = Amounts()
    for _ in range(n_rows):
        amounts.append_row()
    return amounts


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 20), st.sampled_from("kl"), st.integers(-2, 3)),
        st.tuples(st.just("many"), st.sampled_from("kl"), st.integers(1, 9)),
        st.tuples(st.just("clear"), st.sampled_from("kl")),
        st.tuples(st.just("remove_row"), st.integers(0, 20)),
        st.tuples(st.just("append_row")),
        st.tuples(st.just("put"), st.sampled_from("kl"), st.integers(0, 30)),
        st.tuples(st.just("drop"), st.sampled_from("kl")),
    ),
    max_size=12,
)


class Plain:
    """The same amounts in plain lists."""

    def __init__(self, amounts):
        self.amounts = amounts
        self.columns = {key: amounts[key].tolist() for key in "kl"}

    def add(self, row, key, amount):
        self.amounts.add(row, key=key, amount=amount)
        self.columns[key][row] += amount

    def many(self, key, n_rows):
        for row in range(n_rows):
            self.add(row, key, 1)

    def clear(self, key):
        for row, amount in enumerate(self.columns[key]):
            self.add(row, key, -amount)

    def remove_row(self, row):
        before = self.present()
        gone = self.amounts.remove_row(row)
        for column in self.columns.values():
            column[row] = column[-1]
            column.pop()
        assert set(gone) == before - self.present()

    def append_row(self):
        self.amounts.append_row()
        for column in self.columns.values():
            column.append(0)

    def put(self, key, n_rows):
        self.columns[key] = [7] * n_rows + [0] * (len(self.columns[key]) - n_rows)
        self.amounts.put(key, column=np.array(self.columns[key]))

    def drop(self, key):
        self.columns[key] = [0] * len(self.columns[key])
        self.amounts.drop(key)

    def present(self):
        return {key for key, column in self.columns.items() if any(column)}

    def check(self):
        for key, column in self.columns.items():
            assert self.amounts[key].tolist() == column
            assert [self.amounts.value(row, key=key) for row in range(25)] == column[:25]
            assert (key in self.amounts) is any(column)
        assert sorted(self.amounts.present()) == sorted(self.present())
        total = [3 * k - n for k, n in zip(*self.columns.values(), strict=True)]
        assert self.amounts.total({"k": 3, "l": -1}).tolist() == total
        assert self.amounts.total({"k": 2}).tolist() == [2 * n for n in self.columns["k"]]


@settings(max_examples=100)
@given(steps=steps, later=steps)
def test_amounts_are_the_same_with_a_column_and_without(steps, later):
    plain = Plain(filled())
    for name, *arguments in steps:
        getattr(plain, name)(*arguments)
    plain.check()

    fork = Plain(plain.amounts.fork())
    for name, *arguments in later:
        if name not in ("append_row", "remove_row"):
            getattr(fork, name)(*arguments)

    fork.check()
    plain.check()


def test_a_key_that_few_have_has_no_column():
    amounts = filled(5_000)
    for number in range(10_000):
        amounts.add(number % 5_000, key=str(number), amount=1)

    assert amounts._columns == {}
    assert len(amounts.present()) == 10_000


# --------------------------------------------------------------------------------- pods and terms

label_sets = st.fixed_dictionaries(
    {}, optional={"app": st.sampled_from("abc"), "tier": st.sampled_from("xy")}
)
namespaces = st.one_of(
    st.none(),
    st.frozensets(st.sampled_from("mno")),
    st.just(frozenset(f"space{i}" for i in range(20)) | {"m"}),
)
queries = st.sampled_from(
    [
        None,
        LabelQuery(),
        labels_query({"app": "a"}),
        labels_query({"app": "a", "tier": "x"}),
        LabelQuery((Requirement("app", "In", frozenset("ab")),)),
        LabelQuery((Requirement("app", "In", frozenset()),)),
        LabelQuery((Requirement("app", "In", frozenset("abcdefghijkl")),)),
        LabelQuery((Requirement("tier", "Exists"),)),
        LabelQuery((Requirement("app", "NotIn", frozenset("a")),)),
    ]
)
pod_queries = st.builds(
    PodQuery,
    st.lists(st.tuples(namespaces, queries), max_size=2).map(tuple),
    counts_terminating=st.booleans(),
)
terms = st.builds(
    AffinityTerm,
    st.just("zone"),
    st.builds(
        PodTerm,
        queries,
        st.frozensets(st.sampled_from("mno")),
        st.sampled_from([None, LabelQuery(), labels_query({"team": "one"})]),
    ),
)
pods = st.builds(
    PodFacts,
    namespace=st.sampled_from("mno"),
    name=st.just("p"),
    uid=st.just("p"),
    labels=label_sets,
    is_terminating=st.booleans(),
    pod_anti_affinity=st.lists(terms, max_size=2).map(tuple),
)
NODES = ["n1", "n2", "n3"]


@settings(max_examples=150)
@given(
    items=st.lists(st.tuples(namespaces, queries), max_size=8, unique=True),
    gone=st.sets(st.integers(0, 7)),
    pod=pods,
)
def test_an_index_finds_what_matches_once(items, gone, pod):
    index = SelectorIndex()
    for number, (reach, query) in enumerate(items):
        index.add(number, namespaces=reach, query=query)
    for number in gone & set(range(len(items))):
        index.remove(number, namespaces=items[number][0], query=items[number][1])

    found = list(index.candidates(pod.namespace, labels=pod.labels))

    matching = {n for n, item in enumerate(items) if PodQuery((item,)).matches(pod)}
    assert matching - gone <= set(found) <= set(range(len(items))) - gone
    assert len(found) == len(set(found))


class Cluster:
    """A snapshot, and beside it a list of its pods."""

    def __init__(self, snapshot, pods=()):
        self.snapshot = snapshot
        self.pods = list(pods)

    def change(self, data, n_changes):
        for number in range(n_changes):
            if self.pods and data.draw(st.booleans()):
                pod = self.pods.pop(data.draw(st.integers(0, len(self.pods) - 1)))
                self.snapshot.remove_pod(pod, node=pod.node_name)
            else:
                uid = f"{number}-{len(self.pods)}-{id(self)}"
                node = data.draw(st.sampled_from(self.snapshot.names))
                pod = replace(data.draw(pods), uid=uid, node_name=node)
                self.pods.append(pod)
                self.snapshot.add_pod(pod, node=node)

    def check(self, asked, incoming):
        on = {name: [p for p in self.pods if p.node_name == name] for name in self.snapshot.names}
        for query in asked:
            expected = [sum(query.matches(p) for p in on[name]) for name in self.snapshot.names]
            assert self.snapshot.count(query).tolist() == expected
        team = {"team": "one"}
        carried = self.snapshot.carried_terms
        found = carried.speaking_of(incoming, namespace_labels=team)
        expected = Counter(term for p in self.pods for term in p.pod_anti_affinity)
        assert len(found) == len(set(found))
        assert {each.term: int(carried[each].sum()) for each in found} == {
            term: n for term, n in expected.items() if each_speaks_of(term, incoming, team)
        }


def each_speaks_of(term, pod, namespace_labels):
    pods = term.pods
    in_reach = pod.namespace in pods.namespaces or (
        pods.namespace_query is not None and pods.namespace_query.matches(namespace_labels)
    )
    return in_reach and pods.query is not None and pods.query.matches(pod.labels)


@settings(max_examples=100)
@given(
    asked=st.lists(pod_queries, max_size=4), late=st.lists(pod_queries, max_size=2), data=st.data()
)
def test_counts_follow_pods_nodes_and_what_ifs(asked, late, data):
    snapshot = Snapshot()
    for name in NODES:
        snapshot.set_node(NodeFacts(name))
    cluster, incoming = Cluster(snapshot), data.draw(pods)
    cluster.check(asked, incoming)
    cluster.change(data, 5)
    if data.draw(st.booleans()):
        gone = data.draw(st.sampled_from(NODES))
        snapshot.remove_node(gone)
        cluster.pods = [pod for pod in cluster.pods if pod.node_name != gone]
    cluster.check(asked, incoming)

    what_if = Cluster(snapshot.what_if(), cluster.pods)
    what_if.change(data, 3)
    what_if.check([*asked[:2], *late], incoming)
    what_if.change(data, 2)
    further = Cluster(what_if.snapshot.what_if(), what_if.pods)
    further.change(data, 3)

    further.check([*asked, *late], incoming)
    what_if.check([*asked, *late], incoming)
    cluster.check([*asked, *late], incoming)


def test_many_queries_are_forgotten_and_asked_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pod_counts, "_MAX_QUERIES", 3)
    snapshot = Snapshot()
    snapshot.set_node(NodeFacts("n1"))
    asked = [PodQuery(((frozenset("m"), labels_query({"app": str(i)})),)) for i in range(5)]

    for number, query in enumerate([*asked, *asked]):
        pod = PodFacts(namespace="m", name="p", uid=str(number), labels={"app": str(number % 5)})
        snapshot.add_pod(pod, node="n1")
        assert snapshot.count(query).tolist() == [1 + number // 5]


def test_nodes_without_the_key_are_in_no_domain():
    snapshot = Snapshot()
    for name, labels in {"n1": {"zone": "a"}, "n2": {}, "n3": {"zone": "a"}}.items():
        snapshot.set_node(NodeFacts(name, labels=labels))
    zones, unknown = (Domains.of(snapshot, key=key) for key in ("zone", "disk"))

    assert zones.sums(np.array([1, 2, 4])).tolist() == [5]
    assert zones.sums(np.array([1, 2, 4]), where=np.array([True, True, False])).tolist() == [1]
    assert unknown.at_nodes(unknown.sums(np.array([1, 2, 4]))).tolist() == [0, 0, 0]
