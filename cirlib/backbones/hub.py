"""The Hugging Face hub, as far as every backbone asks it the same question."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies


def hub_answers() -> bool:
    """Whether the hub can be reached. Asked first, because its client retries for most of a minute before it gives up."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True  # only the proxy can tell
    try:
        url = urlsplit(constants.ENDPOINT)
        socket.create_connection((url.hostname, url.port or 443), timeout=5).close()
    except OSError:
        return False
    return True
