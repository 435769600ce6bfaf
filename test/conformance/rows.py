# SPDX-License-Identifier: BSD-3-Clause
"""The checklist: every requirement that docs/rfc.md must answer for (rows/*.toml), and which tests
are about which.

A row has an id, its level, the requirement and what cgnatd does, in our own words. Beyond that:
  see         other rows whose tests show this one, too
  elsewhere   places of tests that do not run here: {"test/unit/test_csum.c": "what it shows"}
  deviation   done otherwise than the text says, and why; tests, if any, show what is done
  not_done    not there, and why
  open        what is missing before this row can be called tested; none may be left in a release
A test belongs to the row whose id its name begins with: test_R4787_8a_... to R4787-8a.
"""
import ast
import pathlib
import re
import tomllib
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
KEYS = {"id", "level", "requirement", "does", "see", "elsewhere", "deviation", "not_done", "open"}


@dataclass
class Row:
    id: str
    level: str
    requirement: str
    does: str = ""
    see: list = field(default_factory=list)
    elsewhere: dict = field(default_factory=dict)
    deviation: str = ""
    not_done: str = ""
    open: str = ""


@dataclass
class Section:
    title: str
    rows: list


def sections():
    out = []
    for path in sorted((HERE / "rows").glob("*.toml")):
        data = tomllib.loads(path.read_text())
        for row in data["row"]:
            unknown = row.keys() - KEYS
            assert not unknown, f"{path.name}: {row.get('id')}: unknown keys {sorted(unknown)}"
        out.append(Section(data["title"], [Row(**row) for row in data["row"]]))
    return out


def ids():
    """Every id there must be a row for."""
    return (HERE / "rows" / "ids.txt").read_text().split()


def identifier(row_id):
    return re.sub(r"[^A-Za-z0-9]", "_", row_id)


def row_of(test_name, known):
    """The id a test is about, the longest that fits; None when it is about none."""
    fitting = [i for i in known if test_name.startswith(f"test_{identifier(i)}_")]
    return max(fitting, key=len, default=None)


def tests():
    """(file name, test name) of every test of this directory that has an id in its name."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and re.match(r"test_(D\d|R\d|PBA)", node.name):
                yield path.name, node.name
