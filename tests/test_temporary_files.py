"""A program of the course says in one sentence what it cannot do without."""

import tempfile

from kubeflow_workshop.errors import exit_with_one_sentence


def test_without_a_place_for_temporary_files_a_command_is_not_begun(monkeypatch, capsys):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    begun = []
    assert exit_with_one_sentence(lambda: begun.append(True)) == 2
    assert not begun
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no temporary file can be written")
    assert "TMPDIR" in line
