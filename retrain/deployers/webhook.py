"""Tells a service over HTTP which version to serve."""

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import msgspec

from retrain.base import Deployed, DeployError, DeployReason
from retrain.deployers.settings import DeployerSettings
from retrain.registry import read_manifest

ATTEMPTS: Final = 4
FIRST_WAIT_SECONDS: Final = 0.5
"""Doubled after each attempt."""
LONGEST_WAIT_SECONDS: Final = 30.0
ATTEMPT_SECONDS: Final = 30.0
ANSWER_BYTES: Final = 300
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""


class WebhookDeployer:
    """Posts ``{"model", "version", "path", "model_hash", "files"}`` as JSON; any answer of 200 to 299 is success.

    Of a version that was not made here and is to be served again there is only the name: the other three are null.
    With a token the request carries it as bearer, and in ``X-Driftd-Signature`` the HMAC-SHA256 of the body under it,
    as ``sha256=HEX``. ``Idempotency-Key`` is the same for each attempt: an answer may be lost. Redirects are refused,
    so that the token goes nowhere else. No error text holds the address' path, query or password, or the token.
    """

    name = "webhook"

    def __init__(self, settings: DeployerSettings, *, wait: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(settings.url or "")
        if settings.url is None or parts.scheme not in {"http", "https"} or not parts.hostname:
            message = "the deployer webhook needs an http or https address"
            raise DeployError(DeployReason.BAD_SETTING, message, "set DRIFTD_DEPLOY__URL")
        self._url, self._host, self._token = settings.url, parts.hostname, settings.token
        self._seconds = settings.timeout_seconds
        self._wait = wait

    def deploy(self, model: str, version: str, path: Path) -> Deployed:
        """See ``Deployer``."""
        manifest = read_manifest(path)
        told = {"path": str(path.resolve()), "model_hash": manifest.model_hash, "files": manifest.files}
        return self._tell(model, version, told, key=f"{manifest.model_hash}-{version}")

    def given(self, model: str) -> None:
        """See ``Deployer``."""
        del model

    def restore(self, model: str, version: str, given: str | None) -> Deployed:
        """See ``Deployer``."""
        del given
        return self._tell(model, version, {"path": None, "model_hash": None, "files": None}, key=f"external-{version}")

    def _tell(self, model: str, version: str, told: Mapping[str, Any], key: str) -> Deployed:
        body = msgspec.json.encode({"model": model, "version": version, **told})
        return Deployed(model, version, self._host, changed=True, detail=self._send(self._request(body, key)))

    def _request(self, body: bytes, key: str) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "driftd"}
        if self._token:
            signature = hmac.new(self._token.encode(), body, hashlib.sha256).hexdigest()
            headers |= {"Authorization": f"Bearer {self._token}", "X-Driftd-Signature": f"sha256={signature}"}
        return urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 (http only)

    def _send(self, request: urllib.request.Request) -> str:
        deadline = time.monotonic() + self._seconds
        failure: DeployError | None = None
        for attempt in range(ATTEMPTS):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                return _post(request, min(ATTEMPT_SECONDS, left))
            except urllib.error.HTTPError as error:
                failure = self._refused(error)
                if error.code not in PASSING:
                    raise failure from None
                wait = _retry_after(error) or FIRST_WAIT_SECONDS * 2**attempt
            except (OSError, http.client.HTTPException) as error:
                failure = self._unreachable(error)
                wait = FIRST_WAIT_SECONDS * 2**attempt
            if attempt + 1 < ATTEMPTS:
                self._wait(min(wait, LONGEST_WAIT_SECONDS, max(deadline - time.monotonic(), 0)))
        if failure is None:
            failure = DeployError(DeployReason.TIMED_OUT, f"no time to reach {self._host}", "raise the time limit")
        raise failure from None

    def _refused(self, error: urllib.error.HTTPError) -> DeployError:
        text = error.read(ANSWER_BYTES).decode(errors="replace").strip()
        message = f"{self._host} answered {error.code} {error.reason}" + (f": {self._hidden(text)}" if text else "")
        hint = "check DRIFTD_DEPLOY__TOKEN" if error.code in {401, 403} else "see what the service logged"
        if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
            hint = "set DRIFTD_DEPLOY__URL to where it redirects"
        return DeployError(DeployReason.REFUSED, message, hint)

    def _unreachable(self, error: Exception) -> DeployError:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        timed_out = isinstance(cause, TimeoutError)
        message = f"cannot reach {self._host}: {'no answer in time' if timed_out else self._hidden(str(cause))}"
        reason = DeployReason.TIMED_OUT if timed_out else DeployReason.UNREACHABLE
        return DeployError(reason, message, "check DRIFTD_DEPLOY__URL and that the service runs")

    def _hidden(self, text: str) -> str:
        """``text`` without what a careless service may echo."""
        for secret in (self._token, self._url):
            if secret:
                text = text.replace(secret, "[hidden]")
        return text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _post(request: urllib.request.Request, seconds: float) -> str:
    opener = urllib.request.build_opener(_NoRedirect)
    answer: IO[bytes]
    with opener.open(request, timeout=seconds) as answer:
        return answer.read(ANSWER_BYTES).decode(errors="replace").strip()


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None
