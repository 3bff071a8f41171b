from hypothesis import given
from hypothesis import strategies as st

from kube.stream import split_lines


@given(lines=st.lists(st.binary().map(lambda b: b.replace(b"\n", b""))), data=st.data())
def test_lines_do_not_depend_on_how_they_were_cut(lines, data):
    text = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert list(split_lines(chunks)) == lines


def test_a_line_without_its_end_is_not_a_line():
    assert list(split_lines([b"one\ntw", b"o\nthr", b"ee"])) == [b"one", b"two"]
