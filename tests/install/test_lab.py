"""`install/lab.py` installs by uv, hands on what pip is set to, and falls back to pip."""

import ast
import json
import sys
import zipfile

import pytest

from tests.install.conftest import ROOT

import lab  # isort: skip  the line above makes it known

STAND_IN = f"""#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
if words[:4] == ["-m", "pip", "config", "list"]:
    print("global.index-url='https://wheels.example.com/simple'")
    sys.exit()
set_for_uv = {{name: value for name, value in os.environ.items() if name.startswith("UV_")}}
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([words, set_for_uv]) + chr(10))
tool = "pip-uv" if any(word.startswith("uv==") for word in words) else words[1]
sys.exit(1 if tool in os.environ.get("FAILING", "").split() else 0)
"""


@pytest.fixture
def python(tmp_path, monkeypatch):
    """An environment's Python that writes down what it is asked; `FAILING` names what fails."""
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "FAILING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    program = tmp_path / "python"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return program


def calls(python):
    return [json.loads(line) for line in (python.parent / "calls").read_text().splitlines()]


def test_an_old_python_can_read_it_and_say_that_it_is_too_old():
    ast.parse((ROOT / "install/lab.py").read_text(), feature_version=(3, 6))


def locked_uv():
    (pin,) = [
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("uv==")
    ]
    return pin


def test_uv_comes_with_pip_at_the_locks_version_and_as_a_wheel_only(python):
    assert lab.bring_uv(python)
    ((words, _),) = calls(python)
    assert words[:3] == ["-m", "pip", "install"]
    assert words[-3:] == ["--only-binary", ":all:", locked_uv()]


def test_uv_installs_with_the_index_that_pip_is_set_to(python, capfd):
    assert lab.packages(python, "all of it", ["--requirement", "lock"], True)
    ((words, said),) = calls(python)
    assert words == ["-m", "uv", "pip", "install", "--python", str(python), "--requirement", "lock"]
    assert said["UV_DEFAULT_INDEX"] == "https://wheels.example.com/simple"
    assert capfd.readouterr().out == "Installing all of it\n"


def test_what_is_set_for_uv_itself_wins(python, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example.com/simple")
    lab.packages(python, "all of it", ["six"], True)
    assert calls(python)[0][1]["UV_DEFAULT_INDEX"] == "https://mine.example.com/simple"


def test_where_uv_fails_pip_installs_and_a_word_says_so(python, monkeypatch, capfd):
    monkeypatch.setenv("FAILING", "uv")
    assert not lab.packages(python, "all of it", ["six"], True)
    assert [words[1] for words, _ in calls(python)] == ["uv", "pip"]
    assert calls(python)[1][0][-1] == "six"
    said = capfd.readouterr().out
    assert "uv could not do it" in said
    assert "Installing all of it with pip" in said


def test_where_uv_does_not_come_a_word_says_so_and_pip_installs(python, monkeypatch, capfd):
    monkeypatch.setenv("FAILING", "pip-uv")
    assert not lab.packages(python, "all of it", ["six"], lab.bring_uv(python))
    assert [words[1] for words, _ in calls(python)] == ["pip", "pip"]
    assert "uv did not come" in capfd.readouterr().out


def test_where_pip_fails_too_it_is_one_sentence(python, monkeypatch):
    monkeypatch.setenv("FAILING", "uv pip")
    with pytest.raises(lab.Unfit, match=r"failed \(exit code 1\), and the lines above say why"):
        lab.packages(python, "all of it", ["six"], True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, {}),
        ({"index-url": "https://a.example.com"}, {"UV_DEFAULT_INDEX": "https://a.example.com"}),
        (
            {"extra-index-url": "https://b.example.com\nhttps://c.example.com"},
            {
                "UV_INDEX": "https://b.example.com https://c.example.com",
                "UV_INDEX_STRATEGY": "unsafe-best-match",
            },
        ),
        ({"find-links": "/one /two"}, {"UV_FIND_LINKS": "/one,/two"}),
        ({"no-index": "true"}, {"UV_NO_INDEX": "1"}),
        ({"no-index": "false"}, {}),
        ({"trusted-host": "a.example.com b.example.com"}, {"UV_INSECURE_HOST": "a.example.com b.example.com"}),
        ({"cert": "/ca.pem", "client-cert": "/me.pem"}, {"SSL_CERT_FILE": "/ca.pem", "SSL_CLIENT_CERT": "/me.pem"}),
        ({"default-timeout": "180"}, {"UV_HTTP_TIMEOUT": "180"}),
        ({"constraint": "mine.txt"}, {"UV_CONSTRAINT": "mine.txt"}),
        (
            {"proxy": "proxy.example.com:3128"},
            dict.fromkeys(
                ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
                "http://proxy.example.com:3128",
            ),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_pips_settings_are_uvs(settings, said):
    assert lab.as_uv_says(settings) == {"UV_SYSTEM_CERTS": "1"} | said


def test_pips_settings_are_read_from_its_files_and_its_variables(tmp_path, monkeypatch):
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://file.example.com\nproxy = one:1\n"
        "[install]\nproxy = two:2\n[download]\nproxy = three:3\n"
    )
    for name in ("PIP_INDEX_URL", "PIP_PROXY", "PIP_CERT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example.com https://b.example.com")
    found = lab.pip_settings(sys.executable)
    assert found["index-url"] == "https://file.example.com"
    assert found["proxy"] == "two:2"
    assert found["extra-index-url"] == "https://a.example.com https://b.example.com"
    monkeypatch.setenv("PIP_INDEX_URL", "https://variable.example.com")
    assert lab.pip_settings(sys.executable)["index-url"] == "https://variable.example.com"


def test_the_real_uv_finds_what_pip_would_find(tmp_path, monkeypatch, capfd):
    with zipfile.ZipFile(tmp_path / "tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr(
            "tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n"
        )
        wheel.writestr(
            "tiny-1.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    words = ["--target", str(tmp_path / "there"), "tiny==1"]
    assert lab.packages(sys.executable, "a wheel", words, True), capfd.readouterr()
    assert (tmp_path / "there/tiny.py").exists()
