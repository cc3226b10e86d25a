"""The page on models says what the code computes."""

from __future__ import annotations

import pytest
from models_page import PAGE, TABLES, written

from fastlstm.formats.description import KINDS


def test_the_tables_are_those_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run python tests/models_page.py"


def test_every_part_is_in_the_table():
    page = PAGE.read_text(encoding="utf-8")
    for kind in KINDS.values():
        assert page.count(f"\n| `{kind.__name__}` | ") == 1


@pytest.mark.parametrize("name", TABLES)
def test_an_old_table_is_noticed(name):
    page = PAGE.read_text(encoding="utf-8")
    begin = f"<!-- {name}: from the code -->\n"
    assert written(page.replace(begin, f"{begin}old\n")) == page
    with pytest.raises(ValueError, match=f"there is no place for {name}"):
        written(page.replace(begin, ""))
