import os
import socket
import threading

import pytest
from pydantic import BaseModel

from shared.sandbox.channel import MAX_MESSAGE_BYTES, Channel, ChannelClosed


class Step(BaseModel):
    kind: str = "step"
    loss: float


@pytest.fixture
def ends():
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_in_order_with_their_files(ends, tmp_path):
    ours, theirs = ends
    (tmp_path / "rows").write_text("rows")
    with open(tmp_path / "rows") as rows:
        ours.send(Step(loss=1.5))
        ours.send({"kind": "rows"}, fds=[rows.fileno()])
        ours.send({"kind": "end"})
    assert theirs.receive(1) == ({"kind": "step", "loss": 1.5}, [])
    message, (descriptor,) = theirs.receive(1)
    assert message == {"kind": "rows"}
    assert not os.get_inheritable(descriptor)
    with open(descriptor) as received:
        assert received.read() == "rows"
    assert theirs.receive(1) == ({"kind": "end"}, [])


def test_a_large_message_arrives_whole(ends):
    ours, theirs = ends
    text = "x" * 900_000
    sender = threading.Thread(target=ours.send, args=({"text": text},))
    sender.start()
    assert theirs.receive(10)[0]["text"] == text
    sender.join()


def test_a_message_that_is_too_large_is_not_sent(ends):
    with pytest.raises(ValueError, match="too large"):
        ends[0].send({"text": "x" * MAX_MESSAGE_BYTES})


def test_silence_is_a_timeout_and_the_channel_lives_on(ends):
    ours, theirs = ends
    with pytest.raises(TimeoutError):
        theirs.receive(0.01)
    ours.send({"kind": "late"})
    assert theirs.receive(1)[0] == {"kind": "late"}


def test_a_peer_that_does_not_read_is_a_timeout(ends):
    with pytest.raises(TimeoutError):
        ends[0].send({"text": "x" * 1_000_000}, timeout_s=0.05)


def test_a_closed_peer_is_said_after_its_last_message(ends):
    ours, theirs = ends
    ours.send({"kind": "bye"})
    ours.close()
    assert theirs.receive(1)[0] == {"kind": "bye"}
    with pytest.raises(ChannelClosed):
        theirs.receive(1)
    with pytest.raises(ChannelClosed):
        theirs.send({"kind": "hello"})


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[1]\n",
        b'{"fds": 0}\n',
        b'{"fds": 1, "message": {}}\n',
        b'{"fds": -1, "message": {}}\n',
        b'{"fds": 0, "message": 3}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\n",
    ],
)
def test_what_is_not_a_message_is_refused(ends, line):
    ours, theirs = ends
    socket.socket(fileno=os.dup(ours.fileno())).sendall(line)
    with pytest.raises(ValueError, match="not a message"):
        theirs.receive(1)


def test_an_endless_line_is_refused(ends):
    ours, theirs = ends
    raw = socket.socket(fileno=os.dup(ours.fileno()))
    sender = threading.Thread(target=lambda: raw.send(b"x" * (2 << 20)), daemon=True)
    sender.start()
    with pytest.raises(ValueError, match="longer than"):
        theirs.receive(5)
    theirs.close()
    sender.join(5)
    raw.close()


def test_more_files_than_messages_are_refused(ends):
    ours, theirs = ends
    raw = socket.socket(fileno=os.dup(ours.fileno()))
    for _ in range(8):
        socket.send_fds(raw, [b" "], [0] * 8)
    with pytest.raises(ValueError, match="more files"):
        theirs.receive(1)
