"""Tables of named entries: order, lazy loading, plug-ins."""

import pytest

from outfits.registry import Entry, Table


def test_entries_keep_their_order_and_load_their_code() -> None:
    table = Table("thing", [Entry("second", "collections:OrderedDict"), Entry("first", "collections:Counter")])
    assert list(table) == ["second", "first"]
    assert table["first"].load()("aab")["a"] == 2


def test_a_plugin_adds_an_entry_once() -> None:
    table = Table("thing", [Entry("one", "json:dumps")])
    table.register(Entry("two", "json:loads"))
    table.register(Entry("two", "json:loads"))  # the same line again: a module that is imported twice
    assert list(table) == ["one", "two"]
    with pytest.raises(ValueError, match="there is a thing 'one' already"):
        table.register(Entry("one", "json:loads"))


def test_code_is_not_imported_before_it_is_used() -> None:
    entry = Entry("broken", "no_such_module:nothing")
    with pytest.raises(ModuleNotFoundError):
        entry.load()
