"""The directive ``.. settings:: sdp.tap.NAME``: a command's options, read from the settings class that parses them;
and ``.. keys:: MODULE.CLASS``: the keys of a file that has no command's options.

So the page cannot leave an option out, nor tell an old default.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from sdp.settings import Row, describe

HEAD = [".. list-table::", "   :header-rows: 1", "   :widths: 28 16 56", ""]


def row_lines(row: Row) -> list[str]:
    """One option as a list-table's row, in reStructuredText."""
    typed = f"``{row.option} {row.metavar}``" if row.metavar and not row.is_flag else f"``{row.option}``"
    # A flag is what turns something on or off: whichever it is, it is not given by default.
    default = "needed" if row.is_needed else "``no``" if row.is_flag else f"``{row.default or 'none'}``"
    return [
        f"   * - {typed}",
        f"     - {default}",
        f"     - {literal_free(row.help)}{' May be repeated.' if row.repeatable else ''}",
    ]


def literal_free(text: str) -> str:
    """A help sentence as reStructuredText that shows it as it is."""
    return "".join("\\" + each if each in "\\`*|_" else each for each in text)


class SettingsTable(Directive):
    """Name, default and meaning of each option of a command."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the table out of ``Options.settings_class`` of the module that the argument names."""
        if find_spec(self.arguments[0]) is None:
            return [nodes.paragraph(text="This command is still to come.")]
        rows = describe(import_module(self.arguments[0]).Options.settings_class)
        lines = [*HEAD, "   * - option", "     - default", "     - what it does"]
        for row in rows:
            lines += row_lines(row)
        lines += [
            "   * - ``--config FILE``",
            "     - ",
            "     - A TOML file of the same settings, without the dashes; an option wins over it.",
        ]
        node = nodes.Element()
        self.state.nested_parse(StringList(lines, self.arguments[0]), self.content_offset, node)
        return node.children


class KeysTable(Directive):
    """Name, default and meaning of each setting of a class that is written in a file alone."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the table out of the settings class that the argument names, module and all."""
        module, _, name = self.arguments[0].rpartition(".")
        lines = [*HEAD, "   * - key", "     - default", "     - what it says"]
        for row in describe(getattr(import_module(module), name)):
            lines += [
                f"   * - ``{row.name}``",
                f"     - ``{row.default or 'none'}``",
                f"     - {literal_free(row.help)}",
            ]
        node = nodes.Element()
        self.state.nested_parse(StringList(lines, self.arguments[0]), self.content_offset, node)
        return node.children


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_directive("settings", SettingsTable)
    app.add_directive("keys", KeysTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
