"""One sentence for what a user can mend, and a traceback for what only we can."""

import os
import subprocess
import sys

import pytest

from kubeflow_workshop.errors import CourseError, CourseParser, exit_with_one_sentence


def stop(error: BaseException):
    def command():
        raise error

    return command


def test_a_command_that_works_exits_with_0_and_says_nothing(capsys):
    assert exit_with_one_sentence(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_the_user_is_one_line_on_stderr_and_exit_code_2(capsys):
    assert (
        exit_with_one_sentence(stop(CourseError("mine.csv,\n  row 3: close is 0;\tmend it."))) == 2
    )
    assert capsys.readouterr() == ("", "error: mine.csv, row 3: close is 0; mend it.\n")


def test_ctrl_c_exits_as_a_shell_expects(capsys):
    assert exit_with_one_sentence(stop(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "stopped.\n")


def test_a_bug_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_with_one_sentence(stop(ZeroDivisionError()))


def test_a_notebook_shows_the_sentence_and_no_traceback():
    assert CourseError("x is 0; give 1.")._render_traceback_() == ["error: x is 0; give 1."]


def test_a_parser_says_what_is_wrong_in_one_sentence():
    parser = CourseParser(prog="workshop x")
    parser.add_argument("--count", type=int)
    with pytest.raises(
        CourseError, match=r"argument --count: invalid int value: 'two'; see workshop x --help\."
    ):
        parser.parse_args(["--count", "two"])


def without_a_reader(*words: str) -> subprocess.CompletedProcess:
    """Run Python with these words; its output is a pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    try:
        return subprocess.run(
            [sys.executable, *words], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(write)


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error on Windows")
@pytest.mark.parametrize(
    "command",
    [
        "lambda: print('one line, which waits until the end')",
        "lambda: [print('a line', flush=True) for _ in range(9)]",
    ],
)
def test_a_reader_that_has_gone_ends_a_command_without_a_word(command):
    words = "import sys; from kubeflow_workshop.errors import exit_with_one_sentence"
    ran = without_a_reader("-c", f"{words}; sys.exit(exit_with_one_sentence({command}))")
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error on Windows")
@pytest.mark.usefixtures("capfd")
def test_another_pipe_that_breaks_is_a_bug_of_ours():
    with pytest.raises(BrokenPipeError):
        exit_with_one_sentence(stop(BrokenPipeError()))
