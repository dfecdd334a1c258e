"""The progress loop: text on stderr only, and a plain tqdm."""

import pytest

from stlib.training import progress


def test_it_writes_on_stderr_only(capsys):
    for _ in progress(3, "painting", mininterval=0):
        pass
    out, err = capsys.readouterr()
    assert out == "" and "painting" in err and "3/3" in err and err.isascii()


@pytest.mark.parametrize("steps, expected", [(3, [0, 1, 2]), (0, []), (["a", "b"], ["a", "b"])])
def test_it_goes_through_a_number_or_an_iterable(steps, expected, capsys):
    assert list(progress(steps)) == expected
    assert list(progress(iter(expected))) == expected
    assert capsys.readouterr().out == ""


def test_it_can_be_silent_and_shows_values_beside(capsys):
    list(progress(3, show=False))
    assert capsys.readouterr() == ("", "")
    bar = progress(2, mininterval=0)
    for _ in bar:
        bar.set_postfix(loss=0.25)
    assert "loss=0.25" in capsys.readouterr().err


def test_an_error_inside_passes_through():
    with pytest.raises(KeyError):
        for _ in progress(3):
            raise KeyError
