"""Signing in to Kubeflow Pipelines, against a stand-in for their API server and its gateway."""

import json
import socket
import time
import warnings
from pathlib import Path

import pytest

from kubeflow_workshop.kube import AwayError
from kubeflow_workshop.objects import AbsentError
from kubeflow_workshop.pipelines import signin
from kubeflow_workshop.pipelines.signin import Connection, find
from tests.katib.stand_in import serving
from tests.pipelines.conftest import sentence, token
from tests.pipelines.stand_in import DASHBOARD, Handler, Pipelines

pytestmark = pytest.mark.usefixtures("at_home")

EDITOR = {"sub": "system:serviceaccount:team-a:default-editor"}
NEW_TOKEN = (
    "write a new one there with `kubectl create token default-editor -n {namespace} --duration 8h"
    " --audience pipelines.kubeflow.org > {file}`."
)


@pytest.fixture
def api(monkeypatch):
    with serving(Pipelines(), handler=Handler) as api:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{api.port}")
        yield api


@pytest.fixture
def signed(api, monkeypatch, tmp_path) -> Path:
    """The file of a token that is let in."""
    path = tmp_path / "token"
    path.write_text(token(**EDITOR) + "\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    api.tokens, api.multi_user = {token(**EDITOR)}, True
    return path


def asked() -> bool:
    return Connection(find()).multi_user()


def refusal() -> str:
    return sentence(asked)


# The ways in


def test_the_names_and_places_are_those_of_kfp_itself():
    from kfp import client
    from kfp.client.client import KF_PIPELINES_ENDPOINT_ENV, Client

    source = Path(signin.__file__).read_text()
    assert signin.ENDPOINT == KF_PIPELINES_ENDPOINT_ENV
    assert signin.TOKEN == client.KF_PIPELINES_SA_TOKEN_ENV
    assert f'MOUNTED = Path("{client.KF_PIPELINES_SA_TOKEN_PATH}")' in source
    assert f"http://{Client._IN_CLUSTER_DNS_NAME.format('kubeflow')}" == signin.IN_CLUSTER


def test_without_a_way_the_sentence_says_what_to_run_and_to_set():
    assert sentence(find) == (
        "no way to Kubeflow Pipelines is known here, because KF_PIPELINES_ENDPOINT is not set; run"
        " `kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888` in a terminal and set it to"
        " http://localhost:8888 or, on a platform with a login, set it to the address of its"
        " dashboard followed by /pipeline; or set WORKSHOP_TARGET=laptop to run here."
    )


def test_a_port_forward_needs_no_login(api):
    assert asked() is False
    assert api.asked[-1][3]["Authorization"] is None


def test_a_token_goes_with_each_request_as_it_is_in_its_file_then(api, signed):
    connection = Connection(find())
    assert connection.multi_user() is True
    renewed = token(**EDITOR, iat=2)
    signed.write_text(renewed)
    api.tokens = {renewed}
    assert connection.ask(
        runs(connection), namespace="team-a", sort_by="created_at desc", page_size=1
    ) == {"runs": []}
    assert [headers["Authorization"] for *_, headers, _ in api.asked] == [
        f"Bearer {token(**EDITOR)}",
        f"Bearer {renewed}",
    ]


def runs(connection):
    from kfp_server_api import RunServiceApi

    return RunServiceApi(connection.api).run_service_list_runs


def test_a_pod_finds_its_token_and_the_clusters_own_address(tmp_path):
    (tmp_path / "account").mkdir()
    (tmp_path / "account/token").write_text("kubernetes' own")
    assert find() == signin.Way("http://ml-pipeline.kubeflow.svc.cluster.local:8888", in_pod=True)
    signin.MOUNTED.parent.mkdir()
    signin.MOUNTED.write_text(token(**EDITOR))
    way = find()
    assert way.token == signin.MOUNTED
    assert way.account == ("team-a", "default-editor")


def test_the_namespace_is_the_chosen_then_the_environments_then_the_accounts(signed, monkeypatch):
    connection = Connection(find())
    assert connection.namespace() == "team-a"
    monkeypatch.setenv("KF_PIPELINES_NAMESPACE", "team-b")
    assert connection.namespace() == "team-b"
    assert connection.namespace("team-c") == "team-c"


def test_a_person_whose_token_names_no_account_is_asked_for_the_namespace(api, signed):
    signed.write_text(token(sub="me@example.com"))
    api.tokens = {token(sub="me@example.com")}
    assert sentence(Connection(find()).namespace) == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} serves several users, and nothing says"
        " which namespace is yours; set KF_PIPELINES_NAMESPACE to the one that the dashboard shows"
        " at the top."
    )


def test_the_only_user_has_no_namespace(api):
    assert Connection(find()).namespace("team-a") is None


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("localhost:8888", "such as http://localhost:8888."),
        ("kubeflow.example.org", "begins with http:// or https://"),
        ("httpx://kubeflow.example.org", "begins with http:// or https://"),
        ("http://kubeflow:99999", "begins with http:// or https://"),
        ("https://me:secret@kubeflow.example.org", "has a user name in its address; leave it out"),
        (
            "https://kubeflow.example.org/_/pipeline/?ns=team-a#/runs",
            "is the address of a page; set it to that of the API, https://kubeflow.example.org/pipeline.",
        ),
        ("http://localhost:8888/apis/v2beta1/runs", "that of the API, http://localhost:8888."),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_before_anything_is_sent(monkeypatch, endpoint, said):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", endpoint)
    assert said in sentence(find)


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:8888/", "https://kubeflow.example.org/pipeline//"]
)
def test_a_slash_at_the_end_of_an_endpoint_does_not_matter(monkeypatch, endpoint):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", endpoint)
    assert find().endpoint == endpoint.rstrip("/")


# The token


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the token file {file} is empty; "),
        ("oauth2_proxy_kubeflow=abc123", "{file} holds a browser's cookie and not a token; "),
        ("Cookie: x", "{file} holds a browser's cookie and not a token; "),
        ("authservice_session=secret; path=/", "{file} holds a browser's cookie and not a token; "),
        ("Bearer abc", "what {file} holds is not one token and nothing else; "),
        ("error: no such account\nabc", "what {file} holds is not one token and nothing else; "),
        ("größe", "what {file} holds is not one token and nothing else; "),
        (token(exp=1764000000, **EDITOR), "the token in {file} expired at 2025-11-24 16:00 UTC; "),
        (token(exp=1.5), "the token in {file} expired at 1970-01-01 00:00 UTC; "),
    ],
)
def test_a_token_that_cannot_be_accepted_is_not_sent(api, signed, text, said):
    signed.write_text(text)
    namespace = "team-a" if "expired at 2025" in said else "NAMESPACE"  # where the token says it
    assert refusal() == (said + NEW_TOKEN).format(file=signed, namespace=namespace)
    assert api.asked == []


@pytest.mark.parametrize(
    "text",
    [
        "sha256~AbC-_9",
        "a.b.c",
        "a.bnVsbA.c",
        token(exp="soon"),
        token(exp=4e9),
        token(exp=float("inf")),
    ],
)
def test_a_token_of_another_kind_is_the_servers_to_judge(api, signed, text):
    signed.write_text(text)
    api.tokens = {text}
    assert asked() is True


def test_a_token_file_that_cannot_be_read_is_named(api, monkeypatch, tmp_path):
    file = tmp_path / "absent"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    assert refusal() == f"the token file {file} cannot be read (No such file or directory); " + (
        NEW_TOKEN.format(file=file, namespace="NAMESPACE")
    )
    file.write_bytes(b"\xff\xfe")
    assert "cannot be read (it is not text)" in refusal()
    file.unlink()
    file.mkdir()
    assert "cannot be read (Is a directory)" in refusal()


def test_a_token_that_expires_while_we_wait_is_told_so(api, signed):
    connection = Connection(find())
    assert connection.multi_user() is True
    signed.write_text(token(exp=time.time() - 1, **EDITOR))
    assert "expired at" in sentence(connection.ask, runs(connection))


def test_the_gateway_takes_a_token_for_any_audience_and_the_api_server_does_not():
    """As upstream's documents have it for each."""
    there, here = (
        signin.Way(at) for at in ("https://example.org/pipeline", "http://localhost:8888")
    )
    assert there.new_token() == (
        "write a token to a file with `kubectl create token default-editor -n NAMESPACE --duration"
        " 8h > FILE`, and name the file in KF_PIPELINES_SA_TOKEN_PATH"
    )
    assert "--audience pipelines.kubeflow.org > FILE" in here.new_token()


def test_in_a_pod_the_token_is_one_that_is_mounted(api, tmp_path):
    (tmp_path / "account").mkdir()
    (tmp_path / "account/token").write_text("kubernetes' own")
    api.tokens = {"one"}
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} wants a login, and we have none (it"
        " finds no user in our request); start this Pod with a service account's token for the"
        f" audience pipelines.kubeflow.org mounted at {signin.MOUNTED}, which on the platform a"
        ' notebook server has if "Allow access to Kubeflow Pipelines" was chosen among its'
        " configurations."
    )


# Turned away

REASONS = {
    "api": "it finds no user in our request",
    "redirect": "it leads to the login page /dex/auth",
    "page": 'it shows the login page "dex"',
    "forbidden page": 'it shows the login page "Sign In"',
    "mesh": "403: RBAC: access denied",
    "jwt": "401: Jwt verification fails",
}


@pytest.mark.parametrize(("gate", "reason"), REASONS.items())
def test_without_a_token_each_gate_wants_one(api, gate, reason):
    api.tokens, api.gate = {"another"}, gate
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} wants a login, and we have none"
        f" ({reason}); write a token to a file with `kubectl create token default-editor -n"
        " NAMESPACE --duration 8h --audience pipelines.kubeflow.org > FILE`, and name the file in"
        " KF_PIPELINES_SA_TOKEN_PATH."
    )
    assert not api.methods("/dex/")


@pytest.mark.parametrize(("gate", "reason"), REASONS.items())
def test_a_token_that_is_not_accepted_is_told_with_the_gates_reason(api, signed, gate, reason):
    api.tokens, api.gate = {"another"}, gate
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} does not accept the token in {signed}"
        f" ({reason}); " + NEW_TOKEN.format(file=signed, namespace="team-a")
    )


def test_a_token_of_an_issuer_that_the_gateway_does_not_know_names_the_issuer(api, signed):
    """What kubeflow/pipelines#11025 is about."""
    signed.write_text(token(iss="https://kubernetes.default.svc", **EDITOR))
    api.refuse("GET", "healthz", 401, b"Jwt issuer is not configured")
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} does not know who issued the token in"
        f" {signed} (https://kubernetes.default.svc); take one from an issuer that it trusts, or ask"
        " its administrator for a RequestAuthentication for this one."
    )


def test_a_token_for_another_audience_is_told(api, signed):
    api.refuse("GET", "healthz", 403, b"Audiences in Jwt are not allowed")
    assert f"the token in {signed} (403: Audiences in Jwt are not allowed);" in refusal()


def test_an_older_servers_500_for_no_user_is_a_login_that_is_wanted(api):
    """As KFP 1 answers (kubeflow/pipelines#6726)."""
    api.refuse(
        "GET",
        "healthz",
        500,
        "Internal error: Unauthenticated: Request header error: there is no user identity header.",
    )
    assert "wants a login, and we have none (it finds no user in our request)" in refusal()


def test_in_a_pod_the_pages_address_is_closed_and_the_api_servers_is_open(api, tmp_path):
    """What kubeflow/website#3407 is about."""
    (tmp_path / "account").mkdir()
    (tmp_path / "account/token").write_text("kubernetes' own")
    api.tokens, api.gate = {"another"}, "mesh"
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} is closed to this Pod (403: RBAC:"
        " access denied); unset KF_PIPELINES_ENDPOINT, so that Pipelines' own address"
        " http://ml-pipeline.kubeflow.svc.cluster.local:8888 is used."
    )


def test_a_namespace_that_is_not_yours_or_is_not_there_names_the_right_that_lacks(api, signed):
    connection = Connection(find())
    assert sentence(connection.ask, runs(connection), namespace="team-z") == (
        'system:serviceaccount:team-a:default-editor may not list runs in namespace "team-z" of'
        f" Kubeflow Pipelines at http://127.0.0.1:{api.port}, or there is no such namespace; ask"
        " its owner for a RoleBinding to ClusterRole kubeflow-view there (the dashboard's Manage"
        " Contributors makes one), or choose a namespace of yours."
    )


def test_a_namespace_that_kubernetes_does_not_have_is_named(api):
    api.refuse("GET", "/runs", 500, 'Failed to create a workflow: namespaces "team-z" not found')
    connection = Connection(find())
    assert sentence(connection.ask, runs(connection)) == (
        'there is no namespace "team-z" on the cluster of Kubeflow Pipelines at'
        f" http://127.0.0.1:{api.port}; choose one of yours, which the dashboard lists at the top."
    )


# A wrong address


def test_the_platforms_dashboard_is_not_the_api(api):
    api.path = "/pipeline"
    assert refusal() == (
        f"what is at http://127.0.0.1:{api.port} is not the API of Kubeflow Pipelines (it shows the"
        ' web page "Kubeflow Central Dashboard"); behind the platform\'s gateway set'
        f" KF_PIPELINES_ENDPOINT to http://127.0.0.1:{api.port}/pipeline."
    )


def test_with_the_gateways_path_it_is(api, monkeypatch):
    api.path = "/pipeline"
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{api.port}/pipeline/")
    assert asked() is False


def test_the_gateways_path_is_wrong_where_pipelines_are_alone(api, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{api.port}/pipeline")
    assert refusal().endswith(
        '(it shows the web page "Kubeflow Central Dashboard"); leave /pipeline out where Pipelines'
        " are installed alone."
    )


@pytest.mark.parametrize(
    ("code", "answer", "said"),
    [
        (404, b"404 page not found\n", "(it has no Pipelines there (404: 404 page not found));"),
        (405, b"Method Not Allowed", "(it has no Pipelines there (405: Method Not Allowed));"),
        (200, {"status": "ok"}, "(it answers, but not as Pipelines do);"),
        (200, b"pong", "(it answers, but not as Pipelines do);"),
        (200, b'"text"', "(it answers, but not as Pipelines do);"),
        (200, b"", "(it answers, but not as Pipelines do);"),
        (200, DASHBOARD, '(it shows the web page "Kubeflow Central Dashboard");'),
        (200, b"<p>Logging, design inside</p>", "(it shows the web page);"),
        (301, b"", "(it leads on to nowhere);"),
    ],
)
def test_what_is_no_pipelines_api_is_told(api, code, answer, said):
    api.refuse("GET", "healthz", code, answer)
    assert said in refusal()


def test_a_server_that_has_moved_to_https_is_told(api):
    api.refuse("GET", "healthz", 301, b"", Location="https://kubeflow.example.org/pipeline/apis")
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} has moved to https; set"
        " KF_PIPELINES_ENDPOINT to https://kubeflow.example.org."
    )


def test_plain_http_to_a_tls_port_is_told(api):
    api.refuse("GET", "healthz", 400, b"Client sent an HTTP request to an HTTPS server.\n")
    assert refusal() == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} wants https; set KF_PIPELINES_ENDPOINT"
        f" to https://127.0.0.1:{api.port}."
    )


# No answer


def test_a_refused_connection_asks_for_the_port_forward(monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(AwayError) as caught:
        asked()
    assert str(caught.value) == (
        "Kubeflow Pipelines at http://127.0.0.1:1 does not answer (Connection refused); see whether"
        " the port-forward runs, such as `kubectl port-forward -n kubeflow svc/ml-pipeline"
        " 8888:8888`, or set WORKSHOP_TARGET=laptop to run here."
    )


def test_a_name_that_cannot_be_resolved_is_told(monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "https://kubeflow.invalid/pipeline")
    assert refusal() == (
        "Kubeflow Pipelines at https://kubeflow.invalid/pipeline does not answer (its name cannot"
        " be resolved); check KF_PIPELINES_ENDPOINT and your network, or set"
        " WORKSHOP_TARGET=laptop to run here."
    )


def test_in_a_pod_pipelines_may_be_in_another_namespace(monkeypatch, tmp_path):
    monkeypatch.setattr(signin, "IN_CLUSTER", "http://ml-pipeline.invalid:8888")
    (tmp_path / "account").mkdir()
    (tmp_path / "account/token").write_text("kubernetes' own")
    assert "set KF_PIPELINES_ENDPOINT if Pipelines are in another namespace than kubeflow" in (
        refusal()
    )


def test_a_server_that_is_silent_or_hangs_up_is_told(monkeypatch):
    monkeypatch.setattr(signin, "ANSWER_WITHIN", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", endpoint)
        assert "does not answer (no answer in time);" in refusal()


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_server_that_cannot_answer_now_may_later(api, code):
    api.refuse("GET", "healthz", code, b"no healthy upstream")
    with pytest.raises(AwayError) as caught:
        asked()
    assert str(caught.value) == (
        f"Kubeflow Pipelines at http://127.0.0.1:{api.port} cannot answer now ({code}: no healthy"
        " upstream); try again in a minute or, if it stays so, see `kubectl get pods -n kubeflow -l"
        " app=ml-pipeline`."
    )


@pytest.mark.parametrize(
    ("code", "answer", "said"),
    [
        (
            500,
            "Internal error: the database is full.",
            "failed (500: Internal error: the database is full); mend what it names",
        ),
        (500, "word " * 200 + "the cause", "the cause); mend"),
        (
            403,
            b"not from this country",
            "forbids it (403: not from this country); ask its administrator",
        ),
        (
            400,
            "The run name is empty.",
            "refuses it (400: The run name is empty); mend that, and try again.",
        ),
        (409, "Already exist", "refuses it (409: Already exist); mend that, and try again."),
    ],
)
def test_what_the_server_itself_says_is_passed_on(api, code, answer, said):
    api.refuse("GET", "healthz", code, answer)
    assert said in refusal()
    assert len(refusal()) < 600


def test_what_the_server_does_not_have_is_absent(api):
    api.refuse("GET", "healthz", 404, "Run 1 not found")
    with pytest.raises(AbsentError, match="does not have it: Run 1 not found"):
        asked()


# TLS


@pytest.fixture
def secure(certificate, monkeypatch):
    with serving(Pipelines(), certificate, Handler) as api:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"https://127.0.0.1:{api.port}")
        yield api


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(secure):
    assert refusal() == (
        f"Kubeflow Pipelines at https://127.0.0.1:{secure.port} cannot be trusted (certificate"
        " verify failed: self-signed certificate); name the PEM file of its certificate authority"
        " in KF_PIPELINES_SSL_CA_CERT, or mend the host in KF_PIPELINES_ENDPOINT."
    )
    assert secure.asked == []


def test_with_its_authority_it_is(secure, certificate, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_SSL_CA_CERT", str(certificate))
    assert asked() is False


def test_a_certificate_for_another_host_is_not_trusted(secure, certificate, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_SSL_CA_CERT", str(certificate))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"https://localhost:{secure.port}")
    assert "Hostname mismatch" in refusal()


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "No such file or directory"), ("none", "it holds no certificate")],
)
def test_an_authority_that_cannot_be_used_is_told(secure, monkeypatch, tmp_path, text, reason):
    file = tmp_path / "ca.pem"
    if text:
        file.write_text(text)
    monkeypatch.setenv("KF_PIPELINES_SSL_CA_CERT", str(file))
    assert refusal() == (
        f"the file {file}, which KF_PIPELINES_SSL_CA_CERT names, cannot be used ({reason}); name"
        " the PEM file of the server's certificate authority there, or unset it."
    )


def test_https_to_a_plain_port_is_told(api, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"https://127.0.0.1:{api.port}")
    assert refusal() == (
        f"Kubeflow Pipelines at https://127.0.0.1:{api.port} does not speak TLS; set"
        f" KF_PIPELINES_ENDPOINT to http://127.0.0.1:{api.port}."
    )


# kfp's own client


@pytest.fixture(scope="module")
def kfp():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp

        yield kfp


@pytest.mark.filterwarnings("ignore")
def test_kfps_own_client_takes_a_login_page_for_an_empty_list(api, kfp):
    """Why the door asks by itself. Should this fail, upstream has mended it: then say so here."""
    api.tokens, api.gate = {"another"}, "redirect"
    answer = kfp.Client(host=f"http://127.0.0.1:{api.port}", namespace="team-a").list_runs()
    assert answer.runs is None
    assert api.methods("/dex/") == ["GET"]


@pytest.mark.filterwarnings("ignore")
def test_kfps_own_client_sends_a_cookie_that_an_old_file_holds_and_ours_does_not(
    api, signed, kfp, monkeypatch, tmp_path
):
    context = tmp_path / "context.json"
    context.write_text(json.dumps({"namespace": "", "client_authentication_cookie": "c=1"}))
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(context))
    kfp.Client(host=f"http://127.0.0.1:{api.port}", existing_token=signed.read_text().strip())
    assert api.asked[-1][3]["Cookie"] == "c=1"

    assert signin.client().list_runs(sort_by="created_at desc").runs == []
    method, path, query, headers, _ = api.asked[-1]
    assert (method, path, query["namespace"]) == ("GET", "/apis/v2beta1/runs", "team-a")
    assert headers["Authorization"] == f"Bearer {token(**EDITOR)}"
    assert headers["Cookie"] is None


@pytest.mark.filterwarnings("ignore")
def test_kfps_client_of_the_only_user_asks_for_no_namespace(api, kfp):
    assert signin.client().list_runs(sort_by="created_at desc").runs == []
    assert "namespace" not in api.asked[-1][2]


def test_our_way_to_kfps_client_refuses_what_it_would_take_for_an_empty_list(api, kfp):
    api.tokens, api.gate = {"another"}, "redirect"
    assert "it leads to the login page /dex/auth" in sentence(signin.client)
