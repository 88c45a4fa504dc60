"""The source `azureml`: a model of a registry of Azure Machine Learning, such as the Azure AI Foundry catalogue.

`azureml://registries/REGISTRY/models/NAME/versions/VERSION[#FOLDER]`. Addresses, versions and bodies are those of
Azure's own SDK, azure-ai-ml 1.35.2: `_utils/_registry_utils.py` (discovery, model version, blob reference),
`_restclient/registry_discovery`, `operations/_model_operations.py` (`download`), `_azure_environments.py`; the
listing is the Blob service's List Blobs, as azure-storage-blob asks for it. It has never been run against Azure
itself: its tests have a server of their own that answers as these files expect.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from modelmill import Location, Opener, Resolution, Source, SourceError, SourceFile, Stream
from modelmill_sources.http import Address, RefusedError, document, open_at

_URI = re.compile(
    r"registries/(?P<registry>[\w.-]+)/models/(?P<name>[\w.-]+)/versions/(?P<version>[\w.-]+)(?:#(?P<folder>.+))?"
)
_API = "2021-10-01-dataplanepreview"
_DISCOVERY_API = "v1.0"
_STORAGE_API = "2021-12-02"
_DISCOVERY = {
    "AzureCloud": ("https://eastus.api.azureml.ms/", "https://ml.azure.com/.default"),
    "AzureChinaCloud": ("https://chinaeast2.api.ml.azure.cn/", "https://ml.azure.cn/.default"),
    "AzureUSGovernment": ("https://usgovarizona.api.ml.azure.us/", "https://ml.azure.us/.default"),
}
"""Where registries are looked up in each cloud, and what a token has to be for."""
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a URI names, and the folder of it whose files are the checkpoint."""

    registry: str
    name: str
    version: str
    folder: str

    @property
    def asset(self) -> str:
        """The identifier of the model in the registry."""
        return f"azureml://registries/{self.registry}/models/{self.name}/versions/{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A blob container that may be read: its address, a signature that says so, and where the model lies in it."""

    url: str
    signature: str
    prefix: str


def resolve(location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - listed, not fetched
    """The model's files, and one digest over their sizes and tags as the revision. SourceError says what Azure says."""
    model = _model(location)
    if location.revision is not None:
        raise SourceError(f"{model.asset}: the version is in the URI; remove `revision`")
    container = _container(model)
    files, tags = [], {}
    for name, size, tag in _listing(model, container):
        path = _below(name, container.prefix, model.folder)
        if path:
            files.append(SourceFile(path=path, size=size))
            tags[path] = [size, tag]
    if not files:
        raise SourceError(f"{model.asset}: has no files{f' below {model.folder}' if model.folder else ''}")
    digest = hashlib.sha256(json.dumps(tags, sort_keys=True).encode()).hexdigest()
    return Resolution(revision=f"listing:{digest}", files=tuple(files), mixed=True)


@contextmanager
def connect(location: Location, scratch: Path) -> Iterator[Opener]:  # noqa: ARG001
    """Opens blobs; a signature that has run out is asked for anew."""
    model = _model(location)
    lock = threading.Lock()
    known = [_container(model)]

    def open_file(file: SourceFile, start: int) -> Stream:
        container = known[-1]
        try:
            return open_at(_blob(model, container, file.path), start)
        except RefusedError as error:
            if error.status != _FORBIDDEN:
                raise
        with lock:
            if known[-1] is container:
                known.append(_container(model))
        return open_at(_blob(model, known[-1], file.path), start)

    yield open_file


def _model(location: Location) -> Model:
    match = _URI.fullmatch(location.uri)
    if not match:
        raise SourceError(
            f"azureml://{location.uri}: is not azureml://registries/REGISTRY/models/NAME/versions/VERSION"
        )
    return Model(
        registry=match["registry"],
        name=match["name"],
        version=match["version"],
        folder=(match["folder"] or "").strip("/"),
    )


def _container(model: Model) -> Container:
    """Ask the registry where the model lies, and for leave to read it there."""
    cloud = os.environ.get("AZUREML_CURRENT_CLOUD", "AzureCloud")
    if cloud not in _DISCOVERY:
        raise SourceError(f"AZUREML_CURRENT_CLOUD is {cloud!r}; known are {', '.join(_DISCOVERY)}")
    discovery, scope = _DISCOVERY[cloud]
    discovery = os.environ.get("REGISTRY_DISCOVERY_ENDPOINT_URL", discovery)
    headers = {"Authorization": f"Bearer {_token(scope)}", "Accept": "application/json"}

    def ask(url: str, body: Mapping[str, str] | None = None) -> Any:
        if not url.startswith("https://") and not discovery.startswith("http://127.0.0.1:"):
            raise SourceError(f"{model.asset}: Azure names an address without https; no token is sent there")
        sent = None if body is None else json.dumps(body).encode()
        more = {} if body is None else {"Content-Type": "application/json"}
        try:
            return json.loads(document(Address(url=url, shown=model.asset, headers={**headers, **more}), sent))
        except ValueError:
            raise SourceError(
                f"{model.asset}: {urlsplit(url).hostname} answers with something else than JSON"
            ) from None

    found = ask(
        f"{discovery}registrymanagement/v1.0/registries/{model.registry}/discovery?api-version={_DISCOVERY_API}"
    )
    try:
        base = (
            f"{found['primaryRegionResourceProviderUri']}mferp/managementfrontend/subscriptions/"
            f"{found['subscriptionId']}/resourceGroups/{found['resourceGroup']}"
            f"/providers/Microsoft.MachineLearningServices/registries/{model.registry}"
        )
        version = ask(f"{base}/models/{model.name}/versions/{model.version}?api-version={_API}")
        uri = str(version["properties"]["modelUri"])
        reference = ask(
            f"{base}/datarefs/{model.name}/versions/{model.version}?api-version={_API}",
            {"assetId": model.asset, "blobUri": uri},
        )["blobReferenceForConsumption"]
        credential = reference["credential"]
        address = str(credential.get("sasUri") or reference["blobUri"])
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{model.asset}: Azure's answer lacks {error}") from None
    parts, place = urlsplit(address), urlsplit(uri)
    name, _, prefix = place.path.strip("/").partition("/")
    return Container(url=f"{parts.scheme}://{parts.netloc}/{name}", signature=parts.query, prefix=unquote(prefix))


def _token(scope: str) -> str:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise SourceError("azureml:// needs azure-identity: pip install 'modelmill[azureml]'") from None
    try:
        with DefaultAzureCredential() as credential:
            return str(credential.get_token(scope).token)
    except ClientAuthenticationError:
        raise SourceError(
            "azureml:// finds no credentials; run `az login`, or set AZURE_CLIENT_ID and its like"
        ) from None


def _listing(model: Model, container: Container) -> Iterator[tuple[str, int, str]]:
    """Name, size and tag of every blob below the prefix (REST: List Blobs, version 2021-12-02)."""
    marker = ""
    while True:
        query = [("restype", "container"), ("comp", "list"), ("prefix", container.prefix), ("include", "metadata")]
        query += [("marker", marker)] * bool(marker) + parse_qsl(container.signature)
        url = f"{container.url}?{urlencode(query)}"
        body = document(Address(url=url, shown=model.asset, headers={"x-ms-version": _STORAGE_API}))
        try:
            found = ET.fromstring(body)  # noqa: S314 - expat bounds what entities expand to
        except ET.ParseError as error:
            raise SourceError(f"{model.asset}: the storage answers with something else than XML: {error}") from None
        for blob in found.iter("Blob"):
            if (blob.findtext("Metadata/hdi_isfolder") or "").lower() != "true":
                size = blob.findtext("Properties/Content-Length") or ""
                tag = blob.findtext("Properties/Content-MD5") or blob.findtext("Properties/Etag") or ""
                if not size.isdecimal():
                    raise SourceError(f"{model.asset}: the storage lists a file without a size")
                yield blob.findtext("Name") or "", int(size), tag
        marker = found.findtext("NextMarker") or ""
        if not marker:
            return


def _below(name: str, prefix: str, folder: str) -> str:
    """A blob's path in the checkpoint; nothing where it lies elsewhere. A model of one file is that file."""
    if name != prefix and not name.startswith(f"{prefix}/"):
        return ""
    inside = name.removeprefix(prefix).lstrip("/") or name.rpartition("/")[2]
    if folder:
        return inside.removeprefix(f"{folder}/") if inside.startswith(f"{folder}/") else ""
    return inside


def _blob(model: Model, container: Container, path: str) -> Address:
    alone = container.prefix.rpartition("/")[2] == path and not model.folder
    place = container.prefix if alone else "/".join(filter(None, (container.prefix, model.folder, path)))
    url = f"{container.url}/{quote(place)}?{container.signature}"
    return Address(url=url, shown=f"{model.asset}: {path}", headers={"x-ms-version": _STORAGE_API})


SOURCE = Source(name="azureml", resolve=resolve, connect=connect, requirement="modelmill[azureml]")
