# SPDX-License-Identifier: BSD-3-Clause
"""The checklist is whole: no requirement is missing, and each has a test or says why not."""
import collections

import rows

ROWS = {row.id: row for section in rows.sections() for row in section.rows}


def test_every_requirement_has_one_row():
    counted = collections.Counter(row.id for section in rows.sections() for row in section.rows)
    assert [i for i, n in counted.items() if n > 1] == []
    assert sorted(rows.ids()) == sorted(counted)


def test_every_test_belongs_to_a_row():
    assert [(f, t) for f, t in rows.tests() if rows.row_of(t, rows.ids()) is None] == []


def test_every_row_has_a_test_or_says_why_not():
    tested = {rows.row_of(t, rows.ids()) for _, t in rows.tests()}
    for row in ROWS.values():
        assert all(other in ROWS for other in row.see), f"{row.id}: see: there is no such row"
        for path in row.elsewhere:
            assert (rows.HERE.parents[1] / path).is_file(), f"{row.id}: there is no {path}"
        shown = row.id in tested or row.elsewhere or any(other in tested for other in row.see)
        assert shown or row.deviation or row.not_done or row.open, f"{row.id}: no test, no reason"
        reasons = [r for r in (row.deviation, row.not_done, row.open) if r]
        assert len(reasons) <= 1, f"{row.id}: more than one reason"


def test_every_row_says_what_is_asked_and_what_is_done():
    for row in ROWS.values():
        assert row.level and row.requirement, row.id
        assert row.does or row.not_done or row.open, f"{row.id}: what does cgnatd do?"


def test_no_test_name_is_used_twice():
    counted = collections.Counter(t for _, t in rows.tests())
    assert [t for t, n in counted.items() if n > 1] == []
