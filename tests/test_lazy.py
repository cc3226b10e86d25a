"""Attributes that are computed when they are first asked for."""

from pathlib import Path

import fastlstm
from fastlstm.lazy import lazy


def test_an_attribute_is_computed_once():
    class Counted:
        count = 0

        @lazy
        def value(self):
            """What it is."""
            self.count += 1
            return [self.count]

    one = Counted()
    assert one.value is one.value
    assert (one.value, one.count) == ([1], 1)
    assert Counted.value.__doc__ == "What it is."


def test_no_module_has_an_attribute_behind_a_lock():
    """A process that is forked while another thread computes one would wait for ever."""
    sources = list(Path(fastlstm.__file__).parent.rglob("*.py"))
    locked = [k.name for k in sources if "cached_property" in k.read_text(encoding="utf-8")]
    assert len(sources) > 100
    assert locked == ["lazy.py"]  # which says why
