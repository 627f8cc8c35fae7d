import cirlib


def test_every_short_name_leads_to_something():
    for name in cirlib.__all__:
        assert getattr(cirlib, name).__name__ == name
    assert len(cirlib.__all__) <= 20
    assert set(cirlib.__all__) <= set(dir(cirlib))


def test_an_unknown_name_is_told_what_there_is():
    try:
        _ = cirlib.load_everything
    except AttributeError as error:
        assert "load_atelier" in str(error)
    else:
        raise AssertionError("an unknown name was accepted")
