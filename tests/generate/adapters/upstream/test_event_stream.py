"""Server-sent events from bytes that are cut anywhere."""

import pytest

from paceline.base.errors import EngineError
from paceline.generate.adapters.upstream import event_stream
from paceline.generate.adapters.upstream.event_stream import EventStream

STREAM = b': keep-alive\n\nevent: x\ndata: {"a":\ndata: 1}\n\ndata:two\r\n\r\nid: 3\n\ndata: [DONE]\n\n'
PAYLOADS = [b'{"a":\n1}', b"two", b"[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_payloads_do_not_depend_on_where_the_bytes_are_cut(size):
    """Lines of one event are joined; comments, names and ids are passed over."""
    events = EventStream()

    payloads = [
        payload for at in range(0, len(STREAM), size) for payload in events.feed(STREAM[at : at + size])
    ]

    assert payloads == PAYLOADS
    assert events.end() == []


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_the_connection_s_end_ends_the_last_event(ending):
    """Some servers leave out the empty line after it, or the line's end as well."""
    events = EventStream()

    assert events.feed(b"data: last" + ending) == []
    assert events.end() == [b"last"]


def test_an_event_without_end_is_refused(monkeypatch):
    """A server that is no OpenAI server cannot fill the memory."""
    monkeypatch.setattr(event_stream, "MAX_EVENT_BYTES", 10)
    events = EventStream()
    events.feed(b"data: 1\n")

    with pytest.raises(
        EngineError, match=r"more than 10 bytes without ending an event.*generate\.upstream\.url"
    ):
        events.feed(b"data: 1234567890")
