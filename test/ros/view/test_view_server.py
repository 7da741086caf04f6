"""The server of `dreamif view`: its websocket, who may ask, and for what."""

import json

import pytest
from helpers.view_process import talk, wait_for

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp (extra view)")
pytestmark = pytest.mark.realtime


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[]",
        "null",
        "{}",
        '{"watch": [99]}',
        '{"watch": [-1]}',
        '{"watch": [true]}',
        '{"watch": "0"}',
        '{"watch": [[0]]}',
        '{"shown": 1.0}',
        '{"shown": null}',
        "[" * 1000,
        '{"watch": ' + "[" * 500 + "]" * 500 + "}",
        "x" * 5000,
    ],
)
def test_what_no_page_sends_ends_the_connection(known, text):
    async def conversation(connection):
        await connection.send_str(text)
        while not connection.closed:
            await connection.receive()
        return connection.close_code

    assert talk(known, conversation) in (1003, 1009)


def test_the_state_is_json_with_every_stream(known, source):
    async def conversation(connection):
        return json.loads(await wait_for(connection, aiohttp.WSMsgType.TEXT))

    state = talk(known, conversation)
    assert [item["name"] for item in state["streams"]] == list(source.names)
    assert state["streams"][0]["topic"] == "/view_test/visible/image_raw"
    assert state["mode_topic"] == "/view_test/fusion_mode"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8787"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8787"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[evil"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:9", "Origin": "http://localhost:9"}, 200),
        ({"Host": "localhost:9", "Origin": "http://localhost:8"}, 403),
    ],
)
def test_only_this_machines_own_names_are_answered(known, headers, status):
    for path in ("/", "/live"):
        expected = status if path == "/" or status == 403 else 400  # no websocket's handshake
        assert known.get(path, **headers)[0] == expected


def test_another_site_cannot_open_the_websocket(known):
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        talk(known, None, Origin="http://evil.example")


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/page/view.js", "/%2e%2e/server.py", "//etc/passwd", "/view.js/", "/x"],
)
def test_nothing_but_the_page_is_served(known, path):
    status, text, _ = known.get(path)
    assert status == 404
    assert "import" not in text


def test_the_page_may_load_nothing_from_elsewhere(known):
    for path, kind in (("/", "text/html"), ("/view.css", "text/css"), ("/view.js", "javascript")):
        status, text, headers = known.get(path)
        assert status == 200
        assert kind in headers["Content-Type"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "http://" not in text
        assert "https://" not in text
