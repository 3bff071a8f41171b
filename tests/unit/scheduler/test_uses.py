"""Counts of what few nodes use, against a plain model of them."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.framework.uses import Uses

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "use", "use", "use", "leave", "remove"]),
        st.integers(0, 9),
        st.sampled_from("abc"),
    ),
    max_size=40,
)


def perform(uses, model, operation):
    """Do the same to the counts and to their model; what makes no sense is left out."""
    what, row, key = operation
    if what == "append":
        uses.append_row()
        model.append({})
        return
    if row >= len(model):
        return
    if what == "remove":
        uses.remove_row(row)
        model[row] = model[-1]
        model.pop()
    elif what == "use":
        uses.add(row, key=key, amount=1)
        model[row][key] = model[row].get(key, 0) + 1
    elif key in model[row]:
        uses.add(row, key=key, amount=-1)
        model[row] = {k: n - (k == key) for k, n in model[row].items() if n - (k == key)}


def assert_alike(uses, model):
    assert [dict(uses.on_row(row)) for row in range(len(model))] == model
    assert uses.n_distinct.tolist() == [len(each) for each in model]
    for key in "abc":
        assert dict(uses.rows(key)) == {r: each[key] for r, each in enumerate(model) if key in each}


@given(operations=OPERATIONS)
def test_counts_what_is_used_as_rows_come_and_go(operations):
    uses, model = Uses(), []

    for each in operations:
        perform(uses, model, each)

    assert_alike(uses, model)


@given(operations=OPERATIONS, forked=OPERATIONS)
def test_a_fork_changes_without_its_origin(operations, forked):
    uses, model = Uses(), []
    for each in operations:
        perform(uses, model, each)
    fork, fork_model = uses.fork(), [dict(each) for each in model]

    for each in forked:
        if each[0] not in ("append", "remove"):
            perform(fork, fork_model, each)

    assert_alike(fork, fork_model)
    assert_alike(uses, model)
