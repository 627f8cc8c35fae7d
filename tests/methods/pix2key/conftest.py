"""Tiny models and pictures for the tests of V-Dict-AE."""

import pytest
from tiny_v_dict_ae import pictures, tiny_models


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def images():
    return pictures()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of this test alone."""
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
