"""The exercise in which the learner writes the other branch of a gate: what it takes, and what it
says of the usual mistakes.
"""

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from kubeflow_workshop.learn import check

step = dsl.component(base_image="image", install_kfp_package=False)


@step
def fetch(ticker: str, prices: Output[Dataset]):
    pass


@step
def check_prices(prices: Input[Dataset]):
    pass


@step
def judge(prices: Input[Dataset], days: int) -> float:
    return 0.0


@step
def gate(skill: float, at_least: float) -> str:
    return "refused"


@step
def register(ticker: str, days: int):
    pass


@step
def announce(ticker: str, skill: float):
    pass


def pipeline(branches) -> object:
    """A pipeline whose end is `branches(verdict, skill)`."""

    @dsl.pipeline(name="gated")
    def gated(ticker: str, at_least: float, days: int = 2):
        fetched = fetch(ticker=ticker)
        checked = check_prices(prices=fetched.outputs["prices"])
        judged = judge(prices=fetched.outputs["prices"], days=days).after(checked)
        decided = gate(skill=judged.output, at_least=at_least)
        branches(decided.output, judged.output)

    return gated


def with_else(verdict, skill):
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)
    with dsl.Else():
        announce(ticker="IBM", skill=skill)


def with_two_ifs(verdict, skill):
    with dsl.If(verdict == "refused"):
        announce(ticker="IBM", skill=skill)
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)


def always(verdict, skill):
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)
    announce(ticker="IBM", skill=skill)


def within(verdict, skill):
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)
        announce(ticker="IBM", skill=skill)


def nowhere(verdict, skill):
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)


def never_registered(verdict, skill):
    with dsl.If(verdict == "refused"):
        announce(ticker="IBM", skill=skill)


def by_the_number(verdict, skill):
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)
    with dsl.If(skill < 0.5):
        announce(ticker="IBM", skill=skill)


def another_skill(verdict, skill):
    with dsl.If(verdict == "accepted"):
        register(ticker="IBM", days=2)
    with dsl.Else():
        announce(ticker="IBM", skill=0.5)


def said(answer: object, capsys: pytest.CaptureFixture) -> str:
    check("06-1", answer)
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("branches", [with_else, with_two_ifs])
def test_either_way_to_write_the_other_branch_is_right(branches, capsys):
    assert said(pipeline(branches), capsys).startswith("Right. ")


@pytest.mark.parametrize(
    ("branches", "hint"),
    [
        (always, "When the gate says accepted, announce would run, too."),
        (within, "When the gate says accepted, announce would run, too."),
        (nowhere, "There is no step announce yet; your pipeline has "),
        (never_registered, "The other steps should stay as they are, and register is gone."),
        (by_the_number, "The condition of announce should ask for the gate's word"),
        (another_skill, "Give announce the skill that judge has returned"),
    ],
)
def test_a_mistake_gets_its_hint(branches, hint, capsys):
    assert said(pipeline(branches), capsys).startswith(f"Not yet. {hint}")


def test_what_is_no_pipeline_is_told_so(capsys):
    for answer in (with_else, "gated", 3, None, announce):
        assert "The answer should be your pipeline" in said(answer, capsys)
