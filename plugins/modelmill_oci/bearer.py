"""How to answer a registry's 401: Basic, or a token of its authorisation service."""

import json
import re
import urllib.parse
from typing import TYPE_CHECKING

from modelmill import RemoteError

if TYPE_CHECKING:
    from modelmill_oci.credentials import Credentials
    from modelmill_oci.transport import Transport

_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_TOKEN_BYTES = 1024 * 1024


def authorisation(transport: "Transport", scope: str, challenges: list[str], known: "Credentials | None") -> str:
    """The Authorization header that answers these WWW-Authenticate challenges.

    `scope` is blank-separated resource scopes. Protocol: distribution, "Token Authentication Specification"
    and "OAuth2 Token Authentication". Raises RemoteError where credentials are missing or refused.
    """
    offered = {text.partition(" ")[0].lower(): text.partition(" ")[2] for text in challenges}
    if "bearer" in offered:
        return "Bearer " + _token(transport, scope, offered["bearer"], known)
    if "basic" in offered:
        if known is None or not known.username:
            raise RemoteError(f"{transport.host} wants a user name and a password; {_HOW}")
        return known.basic()
    raise RemoteError(f"{transport.host} answers 401 and offers neither Basic nor Bearer authorisation")


_HOW = "docker login stores them, or the option username names one"


def _token(transport: "Transport", scope: str, challenge: str, known: "Credentials | None") -> str:
    from modelmill_oci.transport import Request, describe

    found = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(challenge)}
    realm, service = found.get("realm", ""), found.get("service", "")
    if not realm:
        raise RemoteError(f"{transport.host} names no token service in its 401")
    if transport.url("/").startswith("https:") and not realm.startswith("https:"):
        raise RemoteError(f"{transport.host} wants its tokens fetched without TLS from {realm!r}; refused")
    scopes = scope.split()
    if known and known.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": known.identity_token}
        form |= {"service": service, "client_id": "modelmill", "scope": scope}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode(form).encode()
        request = Request(method="POST", target=realm, scope="token", headers=headers, body=body)
    else:
        query = urllib.parse.urlencode([("service", service), *(("scope", one) for one in scopes)])
        headers = {"Authorization": known.basic()} if known and known.username else {}
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        request = Request(method="GET", target=url, scope="token", headers=headers)
    with transport.exchange_plain(request) as response:
        if response.status != 200:  # noqa: PLR2004
            raise RemoteError(f"the token service of {transport.host} answered {describe(response)}; {_HOW}")
        try:
            answer = json.loads(response.read(_TOKEN_BYTES))
            token = answer.get("token") or answer["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise RemoteError(f"the token service of {transport.host} answered without a token") from error
    return str(token)
