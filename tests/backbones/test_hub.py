import socket

import pytest
from huggingface_hub import constants

from cirlib.backbones import hub


@pytest.fixture
def asked(monkeypatch):
    """No proxy and no offline switch; every connection succeeds, and is written down instead of being made."""
    places = []

    class Connection:
        def close(self):
            pass

    def connect(place, timeout):
        places.append(place)
        return Connection()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", connect)
    return places


@pytest.mark.parametrize(("endpoint", "place"), [("https://hub.example", ("hub.example", 443)), ("http://here:81", ("here", 81))])
def test_the_hub_is_asked_where_its_client_would_ask(asked, monkeypatch, endpoint, place):
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    assert hub.hub_answers() and asked == [place]


def test_no_connection_is_no_hub(asked, monkeypatch):
    def refuse(place, timeout):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert not hub.hub_answers()


def test_nothing_is_asked_offline_or_where_only_a_proxy_can_tell(asked, monkeypatch):
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy"})
    assert hub.hub_answers() and not asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub.hub_answers() and not asked
