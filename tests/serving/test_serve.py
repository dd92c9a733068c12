"""`workshop serve`, as it is typed."""

import subprocess
import sys
from pathlib import Path

from kubeflow_workshop import cli

WORKSHOP = Path(sys.executable).with_name("workshop")


def test_its_help_says_how_to_ask_it():
    done = subprocess.run([WORKSHOP, "serve", "--help"], capture_output=True, text=True, check=True)
    assert "NAME=VERSION_DIR" in done.stdout
    assert "/v1/models/NAME:predict" in done.stdout
    assert "--grpc-port" in done.stdout


def test_what_cannot_be_served_is_told_in_one_line(tmp_path, capfd):
    assert cli.main(["serve", f"msft={tmp_path}", "--port", "0", "--grpc-port", "0"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"error: {tmp_path} holds no model version")
    assert err.count("\n") == 1
