"""A copy of the course in a folder with a space and an umlaut, stand-in programs that tell how they
were called, and a server for downloads.
"""

import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "install"))  # where cluster.py finds its parts
STAND_IN = (Path(__file__).parent / "stand_in.sh").read_text()
DRIVER = """
import os, sys
sys.path.insert(0, "install")
import cluster
from kubeflow_install import preflight, steps
steps.PAUSE = 0
preflight.DISK = {"workshop": 0, "full": 0}
preflight.PATIENCE = float(os.environ.get("PATIENCE", 60))
sys.exit(cluster.main(sys.argv[1:]))
"""
"""The real program. What needs time between two looks, and disk, is not what these tests are about.
"""
ENGINE = {
    "ServerVersion": "28.2.2",
    "NCPU": 8,
    "MemTotal": 16 * 10**9,
    "CgroupVersion": "2",
    "OSType": "linux",
    "KernelVersion": "6.1.0-28-amd64",
}
READY = {
    "items": [
        {
            "kind": "Deployment",
            "metadata": {"namespace": "kubeflow", "name": "katib-controller"},
            "status": {"conditions": [{"type": "Available", "status": "True"}]},
        },
        {
            "kind": "Job",
            "metadata": {"namespace": "kubeflow-workshop", "name": "load-datasets"},
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        },
    ]
}
PAGES = {
    "platform-agnostic": ("ml-pipeline-ui", "ml-pipeline-ui", [3000]),
    "example": ("istio-ingressgateway", "istio-proxy", [15021, 8080, 8443]),
}
"""The Deployments behind the first pages, where upstream has them: name, container, ports."""
ARGO = "applications/pipeline/upstream/third-party/argo/installs/namespace/kustomization.yaml"
"""Where upstream's Pipelines take Argo's bases from the network."""
REAL = ("sh", "cat", "sleep", "git", "perl", "env", "grep", "touch", "mv")


@pytest.fixture(scope="session")
def distribution(tmp_path_factory):
    """A git repository with the folders of kubeflow/community-distribution that the profiles name,
    and its commit.
    """
    place = tmp_path_factory.mktemp("distribution")
    for base in sorted(
        {
            line.split("../../../")[1].strip()
            for file in ROOT.glob("install/profiles/*/*/kustomization.yaml")
            for line in _bases(file)
        }
    ):
        (place / base).mkdir(parents=True)
        kustomization = "resources: [thing.yaml]\n"
        thing = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": base.replace("/", "-").lower(), "namespace": "kubeflow"},
        }
        if base.endswith("kserve"):
            thing["metadata"]["name"] = "inferenceservice-config"
            thing["data"] = {
                "deploy": '{"defaultDeploymentMode": "Knative"}',
                "ingress": "{}",
                "logger": "{}",
            }
        if base == "example":
            kustomization = "resources: [thing.yaml, password.yaml]\n"
            (place / base / "password.yaml").write_text(
                "{apiVersion: v1, kind: Secret, metadata: {name: dex-passwords, namespace: auth},"
                " stringData: {known: word}}\n"
            )
        for end, (name, container, ports) in PAGES.items():
            if base.endswith(end):
                kustomization = kustomization.replace("thing.yaml", "thing.yaml, page.yaml")
                (place / base / "page.yaml").write_text(
                    json.dumps(_deployment(name, container, ports))
                )
        (place / base / "kustomization.yaml").write_text(kustomization)
        (place / base / "thing.yaml").write_text(json.dumps(thing))
    argo = json.loads((ROOT / "install/versions.json").read_text())["argo"]
    (place / ARGO).parent.mkdir(parents=True)
    (place / ARGO).write_text(
        f"resources:\n- ../../base\n- {argo['address']}manifests/namespace-install/"
        f"workflow-controller-rbac?ref={argo['version']}\n"
    )
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        [*who, "commit", "--quiet", "--message", "All"],
    ):
        subprocess.run(["git", "-C", place, *words], check=True)
    commit = subprocess.run(
        ["git", "-C", place, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return place, commit


def _deployment(name: str, container: str, ports: list[int]) -> dict:
    """As upstream's: it is replaced bit by bit, and names its ports."""
    pod = {
        "containers": [
            {
                "name": container,
                "image": "upstream",
                "ports": [{"containerPort": port} for port in ports],
            }
        ]
    }
    content = {
        "selector": {"matchLabels": {"app": name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "kubeflow"},
        "spec": content,
    }


def _bases(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.startswith("- ../../../")]


@pytest.fixture(scope="session")
def downloads():
    """A server on the loopback address. `files[path]` is what it sends; `cut` and `on_request`
    change how.
    """
    served = SimpleNamespace(files={}, cut=set(), on_request={}, asked=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(self.path)
            body = served.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = self.path in served.cut or self.path in served.on_request
            self.wfile.write(body[: len(body) // 2] if half else body)
            if self.path in served.on_request:
                self.wfile.flush()
                served.on_request[self.path]()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()


class Machine:
    """A machine with the course on it: `run("up", "demo")` gives the answer, `calls` what the
    stand-ins were asked.
    """

    def __init__(self, folder: Path, downloads: SimpleNamespace, distribution: tuple[Path, str]):
        self.course, self.home, self.stand, self.bin = (
            folder / name for name in ("Kurs über Kubeflow", "Zuhause für mich", "stand", "bin")
        )
        for place in (self.home, self.stand, self.bin, self.course):
            place.mkdir()
        skip = shutil.ignore_patterns("__pycache__", "image", "windows")
        shutil.copytree(ROOT / "install", self.course / "install", ignore=skip)
        shutil.copy(ROOT / "pyproject.toml", self.course)
        self.version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        self.data = self.home / ".local/share/kubeflow-workshop"
        for name in REAL:
            (self.bin / name).symlink_to(shutil.which(name))
        for name in ("docker", "sysctl", "sudo", "apt-get", "usermod"):
            self.stand_in(name)
        self.tell("docker.json", ENGINE)
        self.tell("objects.json", READY)
        self.downloads, self.rules = downloads, {}
        downloads.cut, downloads.on_request, downloads.asked[:] = set(), {}, []
        self.pins = json.loads((ROOT / "install/versions.json").read_text())
        for name in ("kind", "kubectl", "kustomize", "multikf"):
            self.serve(name)
        repository, commit = distribution
        self.pins["distribution"] |= {"repository": str(repository), "commit": commit}
        self.pin()

    def stand_in(self, name: str) -> None:
        (self.bin / name).write_text(STAND_IN)
        (self.bin / name).chmod(0o755)

    def tell(self, name: str, value: object) -> None:
        (self.stand / name).write_text(json.dumps(value))

    def serve(self, name: str) -> None:
        """Serve the stand-in for a pinned program, kustomize packed as upstream packs it, and pin
        what is served.
        """
        body, path = STAND_IN.encode(), f"/{name}"
        if name == "kustomize":
            packed, path = io.BytesIO(), "/kustomize.tar.gz"
            with tarfile.open(fileobj=packed, mode="w:gz") as tar:
                entry = tarfile.TarInfo("kustomize")
                entry.size = len(body)
                tar.addfile(entry, io.BytesIO(body))
            body = packed.getvalue()
        self.downloads.files[path] = body
        self.pins[name]["files"] = {
            system: {"url": self.downloads.url + path, "sha256": hashlib.sha256(body).hexdigest()}
            for system in ("linux/amd64", "linux/arm64")
        }

    def pin(self) -> None:
        (self.course / "install/versions.json").write_text(json.dumps(self.pins))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "USER": "learner",
            "STAND": str(self.stand),
            "PYTHONDONTWRITEBYTECODE": "1",
        } | self.rules

    def start(self, *words: str) -> subprocess.Popen:
        pipes = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        return subprocess.Popen(
            [sys.executable, "-I", "-c", DRIVER, *words],
            cwd=self.course,
            env=self.environment,
            **pipes,
        )

    def run(self, *words: str) -> SimpleNamespace:
        running = self.start(*words)
        out, err = running.communicate(timeout=60)
        return SimpleNamespace(code=running.returncode, out=out, err=err)

    @property
    def calls(self) -> list[str]:
        """One line for each call of a stand-in, with the folders of this machine written short."""
        file = self.stand / "calls"
        text = file.read_text() if file.exists() else ""
        return text.replace(str(self.data), "DATA").replace(str(self.course), "COURSE").splitlines()

    def forget(self) -> None:
        (self.stand / "calls").unlink(missing_ok=True)

    def called(self, *beginnings: str) -> list[str]:
        return [call for call in self.calls if call.startswith(beginnings)]

    @property
    def clusters(self) -> set[str]:
        file = self.stand / "clusters"
        return set(file.read_text().split()) if file.exists() else set()

    @property
    def kept(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))


@pytest.fixture
def machine(tmp_path, downloads, distribution):
    """A machine that has all that a cluster needs."""
    return Machine(tmp_path, downloads, distribution)


@pytest.fixture
def kill():
    return lambda process: os.kill(process.pid, signal.SIGKILL)
