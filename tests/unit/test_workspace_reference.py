"""`reference/*.csv` and `*.yaml`: every wrong file is named with its line, what is wrong and the cure."""

from pathlib import Path

import msgspec
import pytest

from control_plane.workspace.reference import TABLE_BYTES_MAX, TABLE_ROWS_MAX
from tests.unit.workspace_world import SOUND, flaws_of, read

SITES = "site,region,lat:number,floors:int,open:bool\nnorth,eu,59.4,3,true\n"
SITES_YAML = """\
reference: sites
key: site
rows:
- {site: north, region: eu, lat: 59.4}
- {site: south, region: af}
"""

CSV: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "1:1: it has no header. Begin it with the names of its columns, the key first: site,region."),
    "a header alone": ("site,region\n", " the table sites has no rows. Put at least one in it, or take it out."),
    "a column of another form": (
        SITES.replace("region", "The region"),
        "1:1: a column cannot be called 'The region'. Write a name: lower case, digits and underscores.",
    ),
    "a column twice": (SITES.replace("region", "site"), "1:1: the column site stands here a second time. Rename one"),
    "an unknown type": (
        SITES.replace("lat:number", "lat:numer"),
        "1:1: the column lat cannot hold 'numer'. Did you mean number?",
    ),
    "a key that is a number": (
        SITES.replace("site,", "site:number,"),
        "1:1: the key site cannot be a number. The first column is text or int.",
    ),
    "too few cells": (
        SITES + "south,af\n",
        "3:1: the row has 2 cells, and the table has 5 columns. Put text that holds a comma in quotes.",
    ),
    "a comma in text": (
        SITES + "south,Africa, the south,1,2,true\n",
        "3:1: the row has 6 cells, and the table has 5 columns. Put text that holds a comma in quotes.",
    ),
    "no number": (SITES + "south,af,far,2,true\n", "3:1: lat cannot be 'far'. Write a number, or nothing."),
    "an endless number": (SITES + "south,af,inf,2,true\n", "3:1: lat cannot be 'inf'. Write a number, or nothing."),
    "no whole number": (SITES + "south,af,1,2.5,true\n", "3:1: floors cannot be '2.5'. Write a whole number of at"),
    "too large a number": (SITES + f"south,af,1,{2**63},true\n", f"3:1: floors cannot be '{2**63}'. Write a whole"),
    "no truth": (SITES + "south,af,1,2,yes\n", "3:1: open cannot be 'yes'. Write true or false, or nothing."),
    "a key twice": (
        SITES + "\nnorth,af,1,2,true\n",
        "4:1: the key 'north' stands here a second time; it is on line 2 already. Take one of the rows out.",
    ),
    "no key": (SITES + ",af,1,2,true\n", "3:1: the row has no site. Give each row a key of its own."),
    "an open quote": (SITES + 'south,"af,1,2,true\n', "3:1: this is no CSV: unexpected end of data. Check the quotes"),
    "text after a quote": (SITES + 'south,"af"rica,1,2,true\n', "3:1: this is no CSV: ',' expected after '\"'. Check"),
    "a long cell": (SITES + f"south,{'x' * 1001},1,2,true\n", "3:1: region cannot be 'xxxx"),
    "too many columns": (",".join(f"c{n}" for n in range(65)), "1:1: it has 65 columns, more than 64. Divide it into"),
    "no text": (b"site\0", "1:5: it is no text: it holds a zero byte. Save it as text, or take it out."),
    "another encoding": ("site\nnørth\n".encode("latin-1"), "2:2: it is no text in UTF-8. Save it as UTF-8"),
    "too many rows": (
        "site\n" + "".join(f"s{n}\n" for n in range(TABLE_ROWS_MAX + 1)),
        f" the table sites has {TABLE_ROWS_MAX + 1} rows, more than {TABLE_ROWS_MAX}. Divide it into several tables.",
    ),
    "too many bytes": (
        "site,a,b\n" + "".join(f"s{n},{'x' * 400},{'y' * 400}\n" for n in range(1_150)),
        f" the table sites takes 978785 bytes, more than {TABLE_BYTES_MAX}. Divide it into several tables, or leave",
    ),
}  # fmt: skip

IN_YAML: dict[str, tuple[str, str]] = {
    "no key": (SITES_YAML.replace("key: site\n", ""), "1:1: key is missing. Add `key:` with text"),
    "no rows": (SITES_YAML.split("-")[0] + "  []\n", "4:3: rows is empty. Put at least one thing in it"),
    "a misspelt key": (SITES_YAML.replace("rows:", "row:"), "3:1: there is no key row here. Did you mean rows?"),
    "rows that are no list": (
        "reference: sites\nkey: site\nrows: {north: eu}\n",
        "3:7: rows cannot be {'north': 'eu'}. Write a list",
    ),
    "a row that is no mapping": (
        SITES_YAML + "- west\n",
        "6:3: rows cannot be 'west'. Write a mapping",
    ),
    "a row without the key": (
        SITES_YAML + "- {region: eu}\n",
        "6:3: the row has no site. Give each row a site of its own: text or a whole number.",
    ),
    "a key that is none": (
        SITES_YAML + "- {site: 1.5}\n",
        "6:10: the row has 1.5 for its site. Give each row a site of its own: text or a whole number.",
    ),
    "a key twice": (
        SITES_YAML + "- {site: north}\n",
        "6:3: the key 'north' stands here a second time; it is on line 4 already. Take one of the rows out.",
    ),
    "a value in a value": (SITES_YAML + "- {site: west, at: {lat: 1}}\n", "6:20: at cannot be {'lat': 1}. Write text"),
    "a field of another form": (
        SITES_YAML + "- {site: west, The region: eu}\n",
        "6:16: rows cannot have a key 'The region'. A key is text: Lower case, digits and underscores.",
    ),
    "a list": ("- north\n", "1:1: ['north'] stands where a mapping belongs. Write `key: value` lines."),
    "itself in itself": ("reference: &sites [*sites]\n", "1:20: *sites refers to nothing before it, or to itself."),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), CSV.values(), ids=CSV)
def test_a_wrong_csv_file_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    flaws = flaws_of(tmp_path, {"reference/sites.csv": text})

    assert any(flaw.startswith(f"reference/sites.csv:{said}") for flaw in flaws), flaws


@pytest.mark.parametrize(("text", "said"), IN_YAML.values(), ids=IN_YAML)
def test_a_wrong_yaml_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    flaws = flaws_of(tmp_path, {"reference/sites.yaml": text})

    assert any(flaw.startswith(f"reference/sites.yaml:{said}") for flaw in flaws), flaws


def test_a_table_that_is_declared_twice_is_named(tmp_path: Path) -> None:
    flaws = flaws_of(tmp_path, {"reference/sites.csv": SITES, "reference/more.yaml": SITES_YAML})

    assert flaws == [
        "reference/more.yaml:1:1: the table sites is declared a second time; it is in reference/sites.csv already. "
        "Rename one of them, or take it out."
    ]


def test_a_file_whose_name_is_none_is_named(tmp_path: Path) -> None:
    (flaw,) = flaws_of(tmp_path, {"reference/Our sites.csv": SITES})

    assert flaw.startswith("reference/Our sites.csv: a table cannot be called 'Our sites'. Name the file in lower case")


def test_policy_data_may_not_stand_in_the_place_of_tables(tmp_path: Path) -> None:
    (flaw,) = flaws_of(tmp_path, {"policies/data.yaml": "reference: {sites: {}}\n"})

    assert flaw.startswith("policies/data.yaml:1:1: policy data cannot be called reference here.")


def test_a_table_travels_with_its_rows_by_their_keys_and_empty_cells_left_out(tmp_path: Path) -> None:
    text = SITES + 'south,"af, the south",,,\n\n"7",us,-1e2,-4,false\n'

    (item,) = read(tmp_path, {"reference/sites.csv": text}).controls.of_kind("reference")

    assert (item.name, msgspec.json.decode(item.body)) == (
        "sites",
        {
            "reference": "sites",
            "key": "site",
            "rows": {
                "7": {"site": "7", "region": "us", "lat": -100.0, "floors": -4, "open": False},
                "north": {"site": "north", "region": "eu", "lat": 59.4, "floors": 3, "open": True},
                "south": {"site": "south", "region": "af, the south"},
            },
        },
    )


def test_the_same_table_in_another_order_or_form_has_the_same_revision(tmp_path: Path) -> None:
    texts = {
        "reference/sites.csv": "site,region,lat:number\nnorth,eu,59.4\nsouth,af,\n",
        "reference/other.csv": "site,lat:number,region\r\n\nsouth,,af\nnorth,59.4,eu",
        "reference/sites.yaml": SITES_YAML,
    }

    revisions = set()
    for number, (name, text) in enumerate(texts.items()):
        place = name.replace("other", "sites")
        (item,) = read(tmp_path / str(number), {place: text}).controls.of_kind("reference")
        revisions.add(item.revision)

    assert len(revisions) == 1


class TestExpressions:
    """What reads a table is checked against what the tables hold."""

    RULE = SOUND["agents/memory_guard.yaml"]

    def flaws(self, root: Path, when: str, **files: str) -> list[str]:
        rule = self.RULE.replace("data.rss_mb > 400.0", when)
        return flaws_of(root, {"agents/memory_guard.yaml": rule, "reference/sites.csv": SITES, **files})

    def test_an_unknown_table_is_named_with_the_nearest(self, tmp_path: Path) -> None:
        assert self.flaws(tmp_path, 'reference.site[data.site].region == "eu"') == [
            "agents/memory_guard.yaml:4:17: when reads the table site, which nothing declares. Did you mean sites?"
        ]

    def test_an_unknown_field_of_a_table_is_named_with_the_nearest(self, tmp_path: Path) -> None:
        (flaw,) = self.flaws(tmp_path, 'reference.sites[data.site].regions == "eu"')

        assert flaw.endswith("the table sites has no field regions. Did you mean region?")

    def test_a_table_that_is_not_read_by_key_is_named(self, tmp_path: Path) -> None:
        (flaw,) = self.flaws(tmp_path, "size(reference.sites) > 3")

        assert flaw.startswith("agents/memory_guard.yaml:4:12: when is no expression: reference.sites is read by table")

    def test_while_a_table_has_flaws_of_its_own_its_fields_are_not_judged(self, tmp_path: Path) -> None:
        (flaw,) = self.flaws(
            tmp_path, 'reference.sites[data.site].regions == "eu"', **{"reference/sites.csv": SITES + "south\n"}
        )

        assert flaw.startswith("reference/sites.csv:3:1:")

    def test_rows_rules_and_fleets_may_read_tables(self, tmp_path: Path) -> None:
        files = {
            "reference/sites.csv": SITES,
            "agents/memory_guard.yaml": self.RULE.replace(
                "data.rss_mb > 400.0", 'reference.sites[data.site].region == "eu"'
            ),
            "rows/place.yaml": """
                row: place
                on: [process.measured]
                fields: {at: {last: "reference.sites[data.site].lat"}}
                """,
            "fleets/eu.yaml": "fleet: eu\nmembers: reference.sites[subject.name].region == 'eu'\n",
        }

        assert len(read(tmp_path, files).controls.of_kind("reference")) == 1
