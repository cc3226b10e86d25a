"""Messages with hints in them: arguments in Python, flags on the command line."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fastlstm.messages import Line, Message, Option, message_of, nearest, spelt

OPTIONS = [
    (Option("head", "fc"), 'head="fc"', "--head fc"),
    (Option("head", ["a", "b c"]), 'head=["a", "b c"]', "--head a 'b c'"),
    (Option("activation", ["relu", None]), 'activation=["relu", None]', "--activation relu linear"),
    (Option("activation", ("elu", 0.5)), 'activation=("elu", 0.5)', "--activation elu 0.5"),
    (Option("return_sequences", True), "return_sequences=True", "--return-sequences"),
    (Option("skip", 1), "skip=1", "--skip 1"),
    (Option("ignore"), "ignore", "--ignore"),
    (Option("head", np.zeros(3)), "head=...", "--head ..."),
]


@pytest.mark.parametrize(("option", "argument", "flag"), OPTIONS)
def test_an_option(option, argument, flag):
    message = Message("say ", option, "!")
    assert message == f"say {argument}!"
    assert message.on_command_line([]) == f"say {flag}!"


def test_a_line_ready_to_paste():
    line = Line({"head": "fc", "read": "final"}, {"read": "last"})
    assert Message(line) == 'fastlstm.from_torch(model, head="fc", read="last")'
    message = Message("x: ", Message(line), call='fastlstm.load("{}.pt", {})')
    assert message == 'x: fastlstm.load("{}.pt", head="fc", read="last")'


@pytest.mark.parametrize(
    ("words", "change", "expected"),
    [
        (["info", "m.pt", "--head", "fc"], {"read": "last"}, "info m.pt --head fc --read last"),
        (["info", "--read", "max", "m.pt"], {"read": "last"}, "info m.pt --read last"),
        (["info", "--read=max", "m.pt"], {"read": "last"}, "info m.pt --read last"),
        (
            ["score", "x", "--head", "a", "b", "-o", "y z"],
            {"head": ["a", "c"]},
            "score x -o 'y z' --head a c",
        ),
    ],
)
def test_a_command_line_ready_to_paste(words, change, expected):
    assert Message(Line({}, change)).on_command_line(words) == f"fastlstm {expected}"


def test_an_exception_keeps_its_hints():
    error = ValueError(Message("m.pt: ", message_of(ValueError(Message(Option("head", "fc"))))))
    assert str(error) == 'm.pt: head="fc"'
    again = pickle.loads(pickle.dumps(error))
    assert message_of(again).on_command_line([]) == "m.pt: --head fc"
    assert message_of(OSError(2, "gone")) == "[Errno 2] gone"


def test_misspelt_arguments():
    @spelt
    def load(path, *, head=None, prefix=None):
        return path, head

    assert load("m", head="fc") == ("m", "fc")
    with pytest.raises(TypeError, match=r"load takes no argument 'haed'; did you mean head\?"):
        load("m", haed="fc")
    with pytest.raises(TypeError, match=r"no argument 'xyz'; it takes path, head, prefix$"):
        load("m", xyz=1)
    assert nearest("prefiks", ["head", "prefix"]) == "prefix"
