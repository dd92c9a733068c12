"""How a client reaches Kubeflow Pipelines and signs in, and one sentence for each way it fails.

Taught in notebook 06. There are three ways in, and environment variables say which. The names of
the first two are kfp's own; the others follow their pattern.

- In a Pod of the cluster, the API server's own address is used, and the service account's token
  that is mounted at /var/run/secrets/kubeflow/pipelines/token, or where KF_PIPELINES_SA_TOKEN_PATH
  says.
- Through a port-forward, KF_PIPELINES_ENDPOINT is http://localhost:8888, and Pipelines that were
  installed alone want no login.
- From outside, KF_PIPELINES_ENDPOINT is the address of the platform's dashboard with the path
  /pipeline, and KF_PIPELINES_SA_TOKEN_PATH names a file with a bearer token, such as
  `kubectl create token` prints. KF_PIPELINES_SSL_CA_CERT names the certificate authority of a
  server that signs for itself, and KF_PIPELINES_NAMESPACE your namespace, if it is another than
  that of the token's service account.

A token is read from its file before each request, so a renewed one counts at once. A browser's
cookie is never used: it may do all that the person may, it ends without notice, and a program
cannot renew it where a login asks for a second factor.
Source: https://www.kubeflow.org/docs/components/pipelines/user-guides/core-functions/connect-api/,
and for tokens at the gateway common/oauth2-proxy/ of kubeflow/community-distribution.
"""

import base64
import json
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.kube import ANSWER_WITHIN, AwayError, why_no_answer, why_no_trust
from kubeflow_workshop.objects import AbsentError

if TYPE_CHECKING:  # kfp takes seconds to import, and its generated client a quarter of one
    import kfp
    from kfp_server_api import ApiClient, ApiException, Configuration

ENDPOINT = "KF_PIPELINES_ENDPOINT"
TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
AUTHORITY = "KF_PIPELINES_SSL_CA_CERT"
NAMESPACE = "KF_PIPELINES_NAMESPACE"

PLATFORM = "kubeflow"
"""The namespace that Pipelines are installed in."""
IN_CLUSTER = f"http://ml-pipeline.{PLATFORM}.svc.cluster.local:8888"
MOUNTED = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where a Pod has the token that is meant for Pipelines."""
GATEWAY = "/pipeline"
"""The path of Pipelines behind the platform's gateway."""
AUDIENCE = "pipelines.kubeflow.org"
"""Whom Pipelines' API server wants a token to be for; the gateway does not ask."""
FORWARD = f"kubectl port-forward -n {PLATFORM} svc/ml-pipeline 8888:8888"
LAPTOP = "set WORKSHOP_TARGET=laptop to run here"

COOKIE = re.compile(
    r"^(cookie:|oauth2_proxy|authservice_session|_oauth2_proxy)|^[^=\s]+=[^;]+;", re.I
)
LOGIN = re.compile(r"/dex/|/oauth2/|/auth\b|\b(sign|log).?in\b|oauth2.?proxy", re.I)
"""What an address or a page of a login looks like: of Dex, oauth2-proxy and others."""


@dataclass(frozen=True)
class Way:
    """A way to Kubeflow Pipelines.

    Attributes:
        endpoint: address of the API server, without a slash at its end.
        token: file with the bearer token that goes with each request; None without a login.
        authority: file with the certificate authority to trust; None for those that all trust.
        in_pod: whether this is a Pod of the cluster.
    """

    endpoint: str
    token: Path | None = None
    authority: Path | None = None
    in_pod: bool = False

    @property
    def name(self) -> str:
        """What sentences call the other end."""
        return f"Kubeflow Pipelines at {self.endpoint}"

    @property
    def account(self) -> tuple[str, str] | None:
        """Namespace and name of the service account that the token is for, as the token itself
        says; None if it does not, or cannot be read.
        """
        try:
            text = self.token.read_text(encoding="utf-8") if self.token else ""
        except (OSError, ValueError):
            return None
        subject = claims(text.strip()).get("sub")
        match = re.fullmatch(r"system:serviceaccount:([\w.-]+):([\w.-]+)", str(subject))
        return (match[1], match[2]) if match else None

    def bearer(self) -> str | None:
        """The token as it is in its file now; None without a login.

        Raises:
            CourseError: if the file cannot be read, holds no token, or one that has expired.
        """
        if self.token is None:
            return None
        try:
            text = self.token.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise CourseError(
                f"the token file {self.token} cannot be read ({reason}); {self.new_token()}."
            ) from None
        if not text:
            raise CourseError(f"the token file {self.token} is empty; {self.new_token()}.")
        if COOKIE.search(text):
            raise CourseError(
                f"{self.token} holds a browser's cookie and not a token; {self.new_token()}."
            )
        if not re.fullmatch(r"[\w.~+/=-]+", text, re.ASCII):
            raise CourseError(
                f"what {self.token} holds is not one token and nothing else; {self.new_token()}."
            )
        end = claims(text).get("exp")
        if isinstance(end, int | float) and end <= time.time():
            when = datetime.fromtimestamp(max(0, end), UTC)
            raise CourseError(
                f"the token in {self.token} expired at {when:%Y-%m-%d %H:%M} UTC;"
                f" {self.new_token()}."
            )
        return text

    def new_token(self) -> str:
        """What to do for a token that is accepted, as the end of a sentence."""
        if self.in_pod and self.token in (None, MOUNTED):
            return (
                "start this Pod with a service account's token for the audience"
                f" {AUDIENCE} mounted at {MOUNTED}, which on the platform a notebook server has if"
                ' "Allow access to Kubeflow Pipelines" was chosen among its configurations'
            )
        namespace, name = self.account or ("NAMESPACE", "default-editor")
        audience = "" if urlsplit(self.endpoint).path == GATEWAY else f" --audience {AUDIENCE}"
        command = (
            f"`kubectl create token {name} -n {namespace} --duration 8h{audience} >"
            f" {self.token or 'FILE'}`"
        )
        if self.token:
            return f"write a new one there with {command}"
        return f"write a token to a file with {command}, and name the file in {TOKEN}"


def find() -> Way:
    """The way that the environment says, or that a Pod has. Nothing is sent yet.

    Taught in notebook 06.

    Raises:
        CourseError: if no way is known, or the environment says what cannot be.
    """
    from kubernetes.config import incluster_config

    in_pod = Path(incluster_config.SERVICE_TOKEN_FILENAME).is_file()
    named = os.environ.get(TOKEN)
    token = Path(named).expanduser() if named else MOUNTED if MOUNTED.is_file() else None
    authority = Path(path).expanduser() if (path := os.environ.get(AUTHORITY)) else None
    if authority:
        try:
            ssl.create_default_context(cafile=authority)
        except OSError as error:  # an SSLError is one, too
            empty = isinstance(error, ssl.SSLError)
            raise CourseError(
                f"the file {authority}, which {AUTHORITY} names, cannot be used"
                f" ({'it holds no certificate' if empty else error.strerror}); name the PEM file of"
                " the server's certificate authority there, or unset it."
            ) from None
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint and not in_pod:
        raise CourseError(
            f"no way to Kubeflow Pipelines is known here, because {ENDPOINT} is not set; run"
            f" `{FORWARD}` in a terminal and set it to http://localhost:8888 or, on a platform with"
            f" a login, set it to the address of its dashboard followed by {GATEWAY}; or {LAPTOP}."
        )
    return Way(_checked(endpoint) if endpoint else IN_CLUSTER, token, authority, in_pod)


def _checked(endpoint: str) -> str:
    """The endpoint without a slash at its end, if it is one."""
    text = endpoint.strip()
    parts = SplitResult("", "", "", "", "")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        seen = text if "@" not in text else "an address with a password"
        raise CourseError(
            f'{ENDPOINT} is "{seen}"; it must be an address that begins with http:// or https://,'
            " such as http://localhost:8888."
        )
    if parts.username is not None:
        raise CourseError(
            f"{ENDPOINT} has a user name in its address; leave it out, and name a file with a token"
            f" in {TOKEN}."
        )
    path = re.sub(
        r"^/_/|(/apis(/.*)?)?/*$", lambda found: "/" if found[0] == "/_/" else "", parts.path
    )
    meant = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    if meant != text.rstrip("/"):
        raise CourseError(
            f'{ENDPOINT} is "{text}", which is the address of a page; set it to that of the API,'
            f" {meant}."
        )
    return meant


def claims(token: str) -> dict:
    """What a JSON Web Token says of itself, read without verifying it, which is the server's part;
    empty for a token of another kind.

    Taught in notebook 06. Source: https://datatracker.ietf.org/doc/html/rfc7519.
    """
    try:
        _, middle, _ = token.split(".")
        said = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def client(namespace: str | None = None) -> "kfp.Client":
    """kfp's own client, signed in: for what the door has no method for, such as recurring runs.

    Taught in notebook 06. Its login is that of `find`, tried with one request, because kfp's client
    takes a login page for an empty list. It sends no cookie, not even the one that kfp's own file
    ~/.config/kfp/context.json may hold.

    Args:
        namespace: as for `Connection.namespace`.

    Raises:
        CourseError: if Kubeflow Pipelines cannot be reached, or do not let us in.
    """
    connection = Connection(find())
    there = connection.namespace(namespace)

    import kfp
    from kfp.client.token_credentials_base import TokenCredentialsBase

    class Credentials(TokenCredentialsBase):
        def refresh_api_key_hook(self, config: "Configuration") -> None:
            connection.sign(config)

    way = connection.way
    return kfp.Client(
        host=way.endpoint,
        namespace=there or PLATFORM,
        credentials=Credentials() if way.token else None,
        cookies="",
        ssl_ca_cert=str(way.authority) if way.authority else None,
    )


class Connection:
    """A connection to Pipelines' API: asks, and says in one sentence what went wrong.

    Args:
        way: where to, and with which login.

    Attributes:
        way: the same.
        api: kfp's generated client, for its `…ServiceApi` classes.
    """

    def __init__(self, way: Way):
        """Nothing is sent yet."""
        import kfp_server_api
        from urllib3 import Retry

        configuration = kfp_server_api.Configuration(host=way.endpoint)
        # A redirect is an answer, and not to be followed: it leads to a login page, which the
        # generated client would take for an empty list.
        configuration.retries = Retry(0, raise_on_redirect=False)
        configuration.ssl_ca_cert = str(way.authority) if way.authority else None
        if way.token:
            configuration.api_key["authorization"] = ""  # else `sign` is never called
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = self.sign
        self.way = way
        self.api: ApiClient = kfp_server_api.ApiClient(configuration)
        self._multi_user: bool | None = None

    def sign(self, configuration: "Configuration") -> None:
        """Put the token, as it is now, into a client's configuration."""
        configuration.api_key["authorization"] = self.way.bearer()

    def multi_user(self) -> bool:
        """Whether Pipelines serve several users there, each in a namespace; asked once."""
        from kfp_server_api import HealthzServiceApi

        if self._multi_user is None:
            health = self.ask(HealthzServiceApi(self.api).healthz_service_get_healthz)
            if health and "multi_user" not in health:
                raise self.elsewhere("answers, but not as Pipelines do")
            self._multi_user = bool(health.get("multi_user"))
        return self._multi_user

    def namespace(self, chosen: str | None = None) -> str | None:
        """The namespace of our runs where Pipelines serve several users; None where they serve one,
        who has no choice.

        Args:
            chosen: this one; None means the one in the environment or, without it, that of the
                token's service account.

        Raises:
            CourseError: as `ask`; and if nothing says which namespace.
        """
        if not self.multi_user():
            return None
        account = self.way.account
        named = chosen or os.environ.get(NAMESPACE) or (account[0] if account else None)
        if not named:
            raise CourseError(
                f"{self.way.name} serves several users, and nothing says which namespace is yours;"
                f" set {NAMESPACE} to the one that the dashboard shows at the top."
            )
        return named

    def ask(self, call: Callable, *arguments: object, **options: object) -> dict:
        """Ask one question, and return the answer's JSON as it is.

        Args:
            call: a method of one of the generated `…ServiceApi` classes.
            arguments: of the method.
            options: of the method.

        Raises:
            CourseError: if no answer comes, or a refusal: one sentence with what, where, and what
                to do. It is an `AwayError` if waiting may help, and an `AbsentError` if there is no
                such thing.
        """
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = call(
                *arguments, **options, _preload_content=False, _request_timeout=ANSWER_WITHIN
            )
            kind, text = answer.headers.get("Content-Type", ""), answer.data
        except ApiException as error:
            raise self._refusal(error) from None
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from None
        try:
            said = json.loads(text)
        except ValueError:
            said = None
        if isinstance(said, dict):
            return said
        if "html" in kind or text.lstrip()[:1] == b"<":
            raise self._page(text.decode("utf-8", errors="replace"))
        raise self.elsewhere("answers, but not as Pipelines do")

    def _refusal(self, error: "ApiException") -> CourseError:
        """What a status code means here. Pipelines say why in JSON, a gateway in a line of text."""
        name, text = self.way.name, error.body or ""
        headers = {key.lower(): value for key, value in dict(error.headers or {}).items()}
        try:
            status = json.loads(text)
            theirs = isinstance(status, dict) and isinstance(status.get("code"), int)
        except ValueError:
            status, theirs = {}, False
        said = (status.get("message") or status.get("error") or "") if theirs else ""
        said = _shortened(said or ("" if text.lstrip().startswith("<") else text) or error.reason)
        if 300 <= error.status < 400:
            return self._redirected(headers.get("location", ""))
        if "no user identity" in said or "Unauthenticated" in said:  # 401, and 500 before KFP 2
            return self._not_let_in("it finds no user in our request")
        if found := re.search(r'namespaces \\*"([^"\\]+)\\*" not found', text):
            return CourseError(
                f'there is no namespace "{found[1]}" on the cluster of {name}; choose one of yours,'
                " which the dashboard lists at the top."
            )
        if "HTTP request to an HTTPS server" in text:
            return CourseError(
                f"{name} wants https; set {ENDPOINT} to"
                f" {self.way.endpoint.replace('http:', 'https:', 1)}."
            )
        if "Jwt issuer is not configured" in text:
            return self._unknown_issuer()
        match error.status:
            case 401:
                return self._not_let_in(f"401: {said}")
            case 403 if "Audiences in Jwt are not allowed" in text:
                return self._not_let_in(f"403: {said}")
            case 403 if denied := re.search(
                r"User '(?P<user>[^']*)' is not authorized.*?Namespace:(?P<namespace>[^,}]*),"
                r"\s*Verb:(?P<verb>[^,}]*),.*?Resource:(?P<resource>[^,}]*)",
                text,
            ):
                return self._forbidden(**denied.groupdict())
            case 403 if not theirs and (LOGIN.search(text) or text.lstrip().startswith("<")):
                return self._page(text)
            case 403 if "RBAC: access denied" in text:
                return self._denied_by_mesh()
            case 403:
                return CourseError(
                    f"{name} forbids it (403: {said}); ask its administrator for the right."
                )
            case 404 if theirs:
                return AbsentError(f"{name} does not have it: {said}.")
            case 404 | 405:
                return self.elsewhere(f"has no Pipelines there ({error.status}: {said})")
            case code if code == 429 or code in (502, 503, 504):
                return AwayError(
                    f"{name} cannot answer now ({code}: {said}); try again in a minute or, if it"
                    f" stays so, see `kubectl get pods -n {PLATFORM} -l app=ml-pipeline`."
                )
            case code if code >= 500:
                return CourseError(
                    f"{name} failed ({code}: {said}); mend what it names or, if it is its own"
                    f" fault, see `kubectl logs -n {PLATFORM} deploy/ml-pipeline`."
                )
            case code:
                return CourseError(f"{name} refuses it ({code}: {said}); mend that, and try again.")

    def _redirected(self, location: str) -> CourseError:
        here, there = urlsplit(self.way.endpoint), urlsplit(location)
        if (here.scheme, there.scheme) == ("http", "https") and not LOGIN.search(location):
            return CourseError(
                f"{self.way.name} has moved to https; set {ENDPOINT} to"
                f" {urlunsplit(('https', there.netloc, here.path, '', ''))}."
            )
        where = urlunsplit((there.scheme, there.netloc, there.path, "", ""))  # no state, no code
        if LOGIN.search(location):
            return self._not_let_in(f"it leads to the login page {where}")
        return self.elsewhere(f"leads on to {where or 'nowhere'}")

    def _page(self, text: str) -> CourseError:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        named = f' "{_shortened(title[1])}"' if title and title[1].strip() else ""
        if LOGIN.search(text):
            return self._not_let_in(f"it shows the login page{named}")
        return self.elsewhere(f"shows the web page{named}")

    def _not_let_in(self, reason: str) -> CourseError:
        way = self.way
        if way.token:
            return CourseError(
                f"{way.name} does not accept the token in {way.token} ({reason});"
                f" {way.new_token()}."
            )
        return CourseError(
            f"{way.name} wants a login, and we have none ({reason}); {way.new_token()}."
        )

    def _unknown_issuer(self) -> CourseError:
        """Istio's words for a token of somebody that no RequestAuthentication names."""
        way = self.way
        issuer = claims(way.bearer() or "").get("iss", "it does not say")
        return CourseError(
            f"{way.name} does not know who issued the token in {way.token} ({issuer}); take one"
            " from an issuer that it trusts, or ask its administrator for a RequestAuthentication"
            " for this one."
        )

    def _forbidden(self, user: str, namespace: str, verb: str, resource: str) -> CourseError:
        role = "kubeflow-view" if verb in ("get", "list", "readArtifact") else "kubeflow-edit"
        return CourseError(
            f'{user} may not {verb} {resource} in namespace "{namespace}" of {self.way.name}, or'
            f" there is no such namespace; ask its owner for a RoleBinding to ClusterRole {role}"
            " there (the dashboard's Manage Contributors makes one), or choose a namespace of"
            " yours."
        )

    def _denied_by_mesh(self) -> CourseError:
        """Istio's words. It protects the UI's address within the cluster, and the gateway from
        requests whose token comes from nobody that it knows.
        """
        way = self.way
        if way.in_pod and way.endpoint != IN_CLUSTER:
            return CourseError(
                f"{way.name} is closed to this Pod (403: RBAC: access denied); unset {ENDPOINT},"
                f" so that Pipelines' own address {IN_CLUSTER} is used."
            )
        return self._not_let_in("403: RBAC: access denied")

    def elsewhere(self, what: str) -> CourseError:
        """The refusal of an answer that Pipelines do not give; `what` says what `it` does."""
        way = self.way
        parts = urlsplit(way.endpoint)
        meant = urlunsplit((parts.scheme, parts.netloc, GATEWAY, "", ""))
        do = (
            f"behind the platform's gateway set {ENDPOINT} to {meant}"
            if parts.path != GATEWAY
            else f"leave {GATEWAY} out where Pipelines are installed alone"
        )
        return CourseError(
            f"what is at {way.endpoint} is not the API of Kubeflow Pipelines (it {what}); {do}."
        )

    def _no_answer(self, error: Exception) -> CourseError:
        from urllib3.exceptions import MaxRetryError, SSLError

        way = self.way
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(cause, SSLError):
            said = str(cause)
            if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said:
                return CourseError(
                    f"{way.name} does not speak TLS; set {ENDPOINT} to"
                    f" {way.endpoint.replace('https:', 'http:', 1)}."
                )
            return CourseError(
                f"{way.name} cannot be trusted ({why_no_trust(said)}); name the PEM file of its"
                f" certificate authority in {AUTHORITY}, or mend the host in {ENDPOINT}."
            )
        host = urlsplit(way.endpoint).hostname or ""
        if host in ("localhost", "127.0.0.1", "::1"):
            do = f"see whether the port-forward runs, such as `{FORWARD}`"
        elif way.in_pod and way.endpoint == IN_CLUSTER:
            do = f"set {ENDPOINT} if Pipelines are in another namespace than {PLATFORM}"
        else:
            do = f"check {ENDPOINT} and your network"
        return AwayError(f"{way.name} does not answer ({why_no_answer(cause)}); {do}, or {LAPTOP}.")


def _shortened(text: str) -> str:
    """One line without its full stop, of something long the beginning and the end: the API server
    puts the cause last.
    """
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 300 else f"{line[:150]} … {line[-145:]}"
