"""Another page in the operator's browser must not drive the recorder: by DNS rebinding, by its own Origin, or in a frame."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cdp_teleop_recorder.panel.same_host import SameHost


async def _echo(websocket):
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


INNER = Starlette(routes=[Route("/", lambda request: PlainTextResponse("page"), methods=["GET", "POST"]), WebSocketRoute("/ws", _echo)])


def get(host, bound="127.0.0.1", at="127.0.0.1", **headers):
    return TestClient(SameHost(INNER, bound), base_url=f"http://{at}:8090").post("/", headers={"Host": host, **headers})


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "localhost", "LOCALHOST:8090", "[::1]:8090"])
def test_this_machines_names_pass(host):
    answer = get(host)
    assert answer.status_code == 200 and answer.headers["content-security-policy"] == "frame-ancestors 'none'"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8090", "127.0.0.1.evil.example:8090", "localhost@evil.example", "", "[::1", "192.168.1.7:8090"]
)
def test_another_name_is_refused(host):
    assert get(host).status_code == 403


def test_the_address_that_was_bound_or_reached_passes():
    assert get("labpc:8090", bound="labpc").status_code == 200
    assert get("192.168.1.7:8090", bound="0.0.0.0", at="192.168.1.7").status_code == 200
    assert get("evil.example:8090", bound="0.0.0.0", at="192.168.1.7").status_code == 403
    assert get("0.0.0.0:8090", bound="0.0.0.0", at="192.168.1.7").status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8090", "http://127.0.0.1:8090.evil.example"]
)
def test_another_pages_request_is_refused(origin):
    assert get("127.0.0.1:8090", Origin=origin).status_code == 403


def test_our_own_origin_passes():
    assert get("127.0.0.1:8090", Origin="http://127.0.0.1:8090").status_code == 200


def test_a_websocket_of_another_page_is_refused_too():
    client = TestClient(SameHost(INNER, "127.0.0.1"), base_url="http://127.0.0.1:8090")
    with client.websocket_connect("/ws", headers={"Host": "127.0.0.1:8090", "Origin": "http://127.0.0.1:8090"}) as socket:
        assert socket.receive_text() == "hello"
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("/ws", headers={"Host": "127.0.0.1:8090", "Origin": "http://evil.example"}),
    ):
        pass
    assert refused.value.code == 1008
