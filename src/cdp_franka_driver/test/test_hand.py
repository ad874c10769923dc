"""The hand's wire protocol against a server of the test's own, byte by byte."""

import socket
import struct
import threading
import time

import pytest

from cdp_franka_driver.hand import Answer, Hand, HandError, HandState, Status

DEADLINE_S = 10.0


class Server:
    """Accepts one hand's client; answers the connection, keeps the rest of what it gets."""

    def __init__(self, status=0, padding=b""):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.status, self.requests = self._listener.getsockname()[1], status, []
        self.padding = padding
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        self.client, _ = self._listener.accept()
        while head := self.client.recv(10, socket.MSG_WAITALL):
            command, number, length = struct.unpack("<HII", head)
            rest = self.client.recv(length - 10, socket.MSG_WAITALL) if length > 10 else b""
            if command == 0:
                version, self.udp_port = struct.unpack("<HH", rest)
                assert version == 3
                self.client.sendall(struct.pack("<HIIHH", 0, number, 14 + len(self.padding), self.status, 3) + self.padding)
            else:
                self.requests.append((command, number, rest))

    def state(self, width, grasped=False):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(struct.pack("<IddBH", 7, width, 0.08, grasped, 30), ("127.0.0.1", self.udp_port))

    def close(self):
        self.client.close()
        self._listener.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def until(read):
    end = time.monotonic() + DEADLINE_S
    while not (found := read()):
        assert time.monotonic() < end
    return found


def test_goals_are_sent_answered_and_do_not_wait(server):
    hand = Hand("127.0.0.1", server.port)
    numbers = [hand.homing(), hand.move(0.05, 0.1), hand.grasp(0.02, 0.1, 30.0, 0.005, 0.006), hand.stop()]
    until(lambda: len(server.requests) == 4)
    assert [r[0] for r in server.requests] == [1, 3, 2, 4]
    assert struct.unpack("<2d", server.requests[1][2]) == (0.05, 0.1)
    assert struct.unpack("<5d", server.requests[2][2]) == (0.02, 0.005, 0.006, 0.1, 30.0)
    assert hand.answers() == []
    # An answer in two parts is one answer.
    whole = struct.pack("<HIIH", 2, numbers[2], 12, 2)
    server.client.sendall(whole[:7])
    assert hand.answers() == []
    server.client.sendall(whole[7:] + struct.pack("<HIIH", 4, numbers[3], 12, 0))
    answers = []
    until(lambda: answers.extend(hand.answers()) or len(answers) == 2)
    assert answers == [Answer(numbers[2], Status.UNSUCCESSFUL), Answer(numbers[3], Status.SUCCESS)]
    hand.close()


def test_the_newest_width_is_told_once(server):
    hand = Hand("127.0.0.1", server.port)
    assert hand.state() is None
    for width in (0.01, 0.02, 0.03):
        server.state(width)
    seen = []
    until(lambda: seen.append(hand.state()) or seen[-1] == HandState(0.03, 0.08, False))
    assert hand.state() is None
    hand.close()


def test_a_closed_connection_is_said(server):
    hand = Hand("127.0.0.1", server.port)
    server.client.shutdown(socket.SHUT_RDWR)

    def gone():
        try:
            return hand.answers() and False
        except HandError as error:
            return str(error)

    assert "anew" in until(gone)
    hand.close()


def test_another_version_and_no_hand_are_refused():
    server = Server(status=1)
    with pytest.raises(HandError, match="version 3"):
        Hand("127.0.0.1", server.port)
    server.close()
    with pytest.raises(HandError, match="no hand at"):
        Hand("127.0.0.1", server.port)


def test_an_answer_to_the_connection_that_is_longer_does_not_spoil_the_next():
    server = Server(padding=bytes(4))
    hand = Hand("127.0.0.1", server.port)
    number = hand.homing()
    server.client.sendall(struct.pack("<HIIH", 1, number, 12, 0))
    assert until(hand.answers) == [Answer(number, Status.SUCCESS)]
    hand.close()
    server._thread.join(DEADLINE_S)
    server.close()
