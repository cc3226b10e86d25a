"""`python -m bench readme`: the sections of the README that are made of stored results."""

from __future__ import annotations

import pytest
from bench_results import comparison, result

from bench import __main__ as bench
from bench import readme
from bench.harness import stored

BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"


def test_only_what_stands_between_the_markers_is_replaced(tmp_path, monkeypatch):
    document, path = tmp_path / "README.md", tmp_path / "found.json"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(readme, "README", document)
    stored.write(comparison(), path)
    (tmp_path / "found-roofline.svg").touch()
    for _ in range(2):  # the second time it is the same
        assert bench.main(["readme", str(path)]) == 0
        text = document.read_text()
        assert text.startswith(f"before\n{BEGIN}\nMeasured 2026-01-02")
        assert text.endswith(f"\n![roofline](found-roofline.svg)\n{END}\nafter\n")
        assert "old" not in text
        assert path.with_suffix(".md").read_text().startswith("# `compare`, 2026-01-02")


def test_a_document_without_the_markers_is_refused():
    with pytest.raises(ValueError, match="expected the lines <!-- score: begin -->"):
        readme.replaced("no markers", "", "score")


def test_a_command_without_a_section_is_refused(tmp_path, capsys):
    path = tmp_path / "found.json"
    stored.write(result("trace"), path)
    assert bench.main(["readme", str(path)]) == 2
    assert "the README has no section for the results of trace" in capsys.readouterr().err


def test_the_readme_of_the_project_has_its_markers():
    text = readme.README.read_text(encoding="utf-8")
    assert readme.sections() == ["compare", "networks", "score"]
    for name in readme.sections():
        for place in ("begin", "end"):
            assert text.count(f"<!-- {name}: {place} -->") == 1
