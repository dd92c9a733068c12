"""What notebook 00 says is so."""

import re
from pathlib import Path

import nbformat
import pytest

from kubeflow_workshop import doctor
from tests.notebooks.claims import claim


@claim(
    "00", "So the year has 251 trading days, and the price stayed between 23.10 and 28.16 dollars."
)
def test_the_year_of_the_case_study(notebook):
    assert notebook("len(closes)") == 251
    assert notebook("[float(closes.min()), float(closes.max())]") == pytest.approx(
        [23.10, 28.16], abs=0.005
    )


@claim("00", "is off by 24 cents on the average day of that year, on a share of about 25 dollars")
def test_the_error_of_persistence_in_that_year(notebook):
    assert notebook("float(steps.mean())") == pytest.approx(0.24, abs=0.005)
    assert notebook("float(closes.mean())") == pytest.approx(25, abs=2)


@claim(
    "00",
    "at the end of the year the price is about a tenth lower than at its beginning, and it got"
    " there by many small steps up and down.",
)
def test_the_price_fell_by_a_tenth_in_small_steps(notebook):
    assert notebook("float(closes.iloc[-1] / closes.iloc[0] - 1)") == pytest.approx(-0.1, abs=0.02)
    assert notebook("float((closes.pct_change().abs() < 0.02).mean())") > 0.8
    assert 0.4 < notebook("float((closes.diff() > 0).mean())") < 0.6


@claim("00", "and by 1.21 dollars at worst")
def test_the_largest_step(notebook):
    assert notebook("float(steps.max())") == pytest.approx(1.21, abs=0.005)


@claim("00", "In 2008 the same rival was off by 43 cents on the average day")
def test_the_error_of_persistence_in_2008(notebook):
    year = 'prices.load("MSFT", start="2008-01-01", end="2008-12-31")'
    assert notebook(f'float({year}["adj_close"].diff().abs().mean())') == pytest.approx(
        0.43, abs=0.005
    )


@claim("00", "the fingerprints look nothing alike")
def test_one_cent_changes_the_fingerprint(notebook):
    same = notebook(
        "sum(a == b for a, b in zip(prices.fingerprint(msft), prices.fingerprint(altered)))"
    )
    assert same < 20  # of 64 digits, 4 fall together by chance


@claim("00", "This version holds notebooks 00 to 06")
@claim("00", "Notebooks 07 to 12 are coming.")
def test_the_map_says_which_notebooks_are_here(notebook):
    folder = Path(__file__).parents[2] / "tutorials"
    (path,) = folder.glob("00-*.ipynb")
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    rows = re.findall(r"\| (\d\d) \| .+ \| (you are here|here|coming) \|", text)
    here = {file.name[:2] for file in folder.glob("[0-9]*.ipynb")}
    assert {number for number, state in rows if state != "coming"} == here
    assert len(rows) == 13


@claim("00", "24.55 dollars. It became 24.68, so the forecast was 13 cents too low.")
def test_what_the_solution_says_of_the_last_day(notebook):
    assert notebook("[float(price) for price in closes.iloc[-2:]]") == pytest.approx(
        [24.55, 24.68], abs=0.005
    )
    assert notebook("float(closes.diff().iloc[-1])") == pytest.approx(0.13, abs=0.005)


@claim("00", "half of the year's days were off by less than 20 cents")
def test_the_median_error_of_the_year(notebook):
    assert notebook("float(steps.median())") == pytest.approx(0.2, abs=0.005)


@claim("00", "It needs Python 3.11 to 3.13, 4 GB of memory and 4 GB of disk.")
def test_the_laptop_track_is_what_the_doctor_looks_for(notebook):
    assert (doctor.OLDEST, doctor.NEWEST, doctor.LAPTOP_MEMORY, doctor.DISK) == (
        (3, 11),
        (3, 13),
        4,
        4,
    )


@claim("00", "4 cores and 8 GB of memory")
def test_the_cluster_track_is_what_the_installer_looks_for(notebook, monkeypatch):
    monkeypatch.syspath_prepend("install")
    from kubeflow_install import preflight

    assert (preflight.CORES["workshop"], preflight.MEMORY["workshop"]) == (4, 8)
