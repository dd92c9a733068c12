"""The pages that a person opens: what stands on them, and that nothing is loaded from elsewhere."""

import base64
import dataclasses
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from kubeflow_workshop.stock import evaluate, gate, plots, report, train
from kubeflow_workshop.stock.windows import windows

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # a figure without room for its names


class Page(HTMLParser):
    """What a browser would find: rows of tables, texts by tag, pictures, and every address."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: dict[str, list[str]] = {}
        self.pictures: list[dict] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        if tag == "img":
            self.pictures.append(given)
        elif tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in ("h1", "p", "title", "style"):
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            if tag in self.texts:
                self.texts[tag][-1] += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def svg(page: Page) -> str:
    (picture,) = page.pictures
    kind, _, data = picture["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode()


@pytest.fixture(scope="module")
def judged(version, frame) -> train.Judged:
    return train.judge(version, frame)


@pytest.fixture(scope="module")
def decision(judged) -> gate.Decision:
    return gate.decide(judged.scores)


@pytest.fixture(scope="module")
def text(judged, decision) -> str:
    return report.evaluation(judged.forecast, judged.windows, judged.scores, decision, judged.card)


def test_the_page_tells_decision_scores_data_and_hyperparameters(text, judged, decision):
    page, scores = Page(text), judged.scores
    assert page.texts["h1"] == page.texts["title"]
    assert page.texts["h1"][0] == (
        f"{'Accepted' if decision.accepted else 'Refused'}: MSFT (bundled), network relative"
    )
    assert page.texts["p"][0] == decision.why
    rows = {first: cells for first, *cells in page.rows}
    assert rows["mean absolute error, dollars"][:2] == [
        f"{scores.mae:.3f}",
        f"{scores.persistence_mae:.3f}",
    ]
    assert rows["skill (0 is persistence, 1 is perfect)"] == [
        f"{scores.skill:+.3f}",
        "+0.000",
        f"{scores.skill_low:+.3f} to {scores.skill_high:+.3f}",
    ]
    assert rows["days"] == ["121, 2012-09-05 to 2013-03-01"]
    assert rows["test days"] == ["12, 2013-02-13 to 2013-03-01"]
    assert rows["SHA-256 of the prices"] == [judged.card["data"]["sha256"]]
    assert (rows["units"], rows["epochs"]) == (["4"], ["12"])
    assert rows["tensorflow"] == [judged.card["libraries"]["tensorflow"]]


def test_the_figure_names_its_lines_and_says_what_it_shows(text, judged):
    page = Page(text)
    drawn = svg(page)
    ElementTree.fromstring(drawn)
    errors = (
        f"Over 12 days, the model is {judged.scores.mae:.2f} dollars off on average, persistence"
        f" {judged.scores.persistence_mae:.2f}"
    )
    for words in (errors, "price", "model", "persistence", "adjusted close, dollars"):
        assert f"<!-- {words} -->" in drawn  # matplotlib draws letters, and notes the text beside
    assert errors in page.pictures[0]["alt"]


def test_the_newest_sixty_test_days_are_drawn_and_no_more():
    """The errors in the title are those of the days that are shown."""
    made = windows(train.prices.load("FB")["adj_close"], 3)
    forecast = made.targets + np.where(np.arange(len(made)) < len(made) - 60, 50, 1)
    scores = evaluate.score(forecast, made, resamples=20)
    card = {
        "network": "talk",
        "hyperparameters": {},
        "libraries": {},
        "data": {"series": "FB", "rows": 196, "first_day": "", "last_day": "", "sha256": ""},
    }
    text = report.evaluation(forecast, made, scores, gate.decide(scores), card)
    assert "Over 60 days, the model is 1.00 dollars off on average" in text
    assert f"{scores.mae:.3f}" in text
    assert scores.mae > 30


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(text, judged, decision):
    for page in (text, report.comparison({"MSFT": (judged.scores, decision)})):
        assert all(address.startswith("data:") for address in Page(page).addresses)
        assert "http" not in page
        assert "url(" not in page
        assert "<script" not in page


def test_the_same_numbers_give_the_same_page(text, judged, decision):
    assert text == report.evaluation(
        judged.forecast, judged.windows, judged.scores, decision, judged.card
    )


def test_what_the_card_says_cannot_become_html(judged, decision):
    card = judged.card | {"data": judged.card["data"] | {"series": "<script>x</script> & co"}}
    page = report.evaluation(judged.forecast, judged.windows, judged.scores, decision, card)
    assert "<script>" not in page
    assert Page(page).texts["h1"][0].endswith("<script>x</script> & co, network relative")


def test_a_page_leaves_no_figure_and_no_style_behind(judged, decision):
    """In a notebook, a figure that stays open would be shown below the cell."""
    before = dict(mpl.rcParams)
    report.comparison({"MSFT": (judged.scores, decision)})
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


# Several tickers


@pytest.fixture
def several(judged) -> dict[str, tuple[evaluate.Scores, gate.Decision]]:
    made = {
        "IBM": (-0.037, -0.064, -0.014),
        "FB": (0.013, -0.129, 0.204),
        "NEW": (0.5, math.nan, math.nan),
    }
    scores = {
        ticker: dataclasses.replace(judged.scores, skill=skill, skill_low=low, skill_high=high)
        for ticker, (skill, low, high) in made.items()
    }
    return {ticker: (each, gate.decide(each)) for ticker, each in scores.items()}


def test_the_comparison_has_one_row_per_ticker_in_the_order_given(several, judged):
    table = report.comparison_table(several)
    assert table.index.tolist() == ["IBM", "FB", "NEW"]
    assert table["accepted"].tolist() == [True, False, False]
    assert table["skill_low"].tolist()[:2] == [-0.064, -0.129]
    assert set(table["mae"]) == {judged.scores.mae}
    assert table.columns.tolist() == [
        "days",
        "mae",
        "persistence_mae",
        "skill",
        "skill_low",
        "skill_high",
        "accepted",
    ]


def test_the_page_of_several_tickers_has_the_table_the_figure_and_every_reason(several):
    page = Page(report.comparison(several))
    assert page.texts["h1"] == ["1 of 3 models accepted"]
    assert [(row[0], *row[-3:]) for row in page.rows] == [
        ("ticker", "skill", "95 % interval", "gate"),
        ("IBM", "-0.037", "-0.064 to -0.014", "accepted"),
        ("FB", "+0.013", "-0.129 to +0.204", "refused"),
        ("NEW", "+0.500", "–", "refused"),
    ]
    drawn = svg(page)
    assert "<!-- 1 of 3 intervals begin at -0.1 or above -->" in drawn
    # rows in the order of the table: matplotlib writes the ticks from below
    assert re.findall(r"<!-- (IBM|FB|NEW) -->", drawn) == ["NEW", "FB", "IBM"]
    for ticker, (_, decision) in several.items():
        assert f"{ticker}. {decision.why}" in page.texts["p"]


def test_the_colours_of_the_decisions_are_those_of_the_course(several):
    style = Page(report.comparison(several)).texts["style"][0]
    assert f".accepted {{ border-color: {plots.GREEN}" in style
    assert f".refused {{ border-color: {plots.RED}" in style


def test_a_comparison_of_nothing_says_so():
    page = Page(report.comparison({}))
    assert page.texts["p"] == ["No model was judged."]
    assert report.comparison_table({}).empty
