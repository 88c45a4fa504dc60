"""A release goes to a real registry and comes back the same, or not at all."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from oci_parts.faults import Fault, FaultProxy
from oci_parts.registries import RegistryServer, call
from oci_parts.releases import LINUX_ARM, LINUX_X86, MAC, write_release

import modelmill_oci
from modelmill import Hardware, ModelmillError, Published, Pulled, RemoteError
from modelmill.delivery.remote import settings
from modelmill.errors import ConfigError
from modelmill.registry import Offer, Plugin
from modelmill.testing import RemoteSuite
from modelmill_oci.media import MANIFEST
from modelmill_oci.options import ImageOptions
from modelmill_signers import create, pem
from modelmill_signers.pem import PemSigner

Publish = Callable[..., Published]
Pull = Callable[..., Pulled]

INDEX = "application/vnd.oci.image.index.v1+json"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifests(registry: RegistryServer) -> set[str]:
    return {path.parent.name for path in (registry.config.parent / "data").rglob("revisions/sha256/*/link")}


def index_of(registry: RegistryServer, tag: str = "1.0.0") -> dict[str, object]:
    status, body = call(registry, "GET", f"/v2/team/smollm2/manifests/{tag}", {"Accept": INDEX})
    assert status == 200
    found: dict[str, object] = json.loads(body)
    return found


class TestOci(RemoteSuite):
    plugin = "modelmill_oci"
    scheme = "oci"

    @pytest.fixture(autouse=True)
    def served(self, registry: RegistryServer) -> None:
        self.host = registry.host

    def make_place(self, folder: Path) -> str:
        del folder
        return f"{self.host}/team/tiny"


@pytest.mark.parametrize("target", ["raspberry-pi-5", "laptop", "laptop-onnx"])
def test_a_release_comes_back_as_it_was(
    registry: RegistryServer, release: Path, publish_release: Publish, pull_release: Pull, tmp_path: Path, target: str
) -> None:
    published = publish_release(release, registry.host)
    assert published.reference == f"{registry.host}/team/smollm2:1.0.0@{published.digest}"
    pulled = pull_release(registry.host, tmp_path / "out", target=target)
    assert pulled.digest == published.digest
    wanted = {path: data for path, data in files(release).items() if path.startswith((target + "/", "release."))}
    assert files(tmp_path / "out") == wanted
    assert not list((tmp_path / "scratch").rglob("*.part"))
    assert pull_release(registry.host, tmp_path / "again", target=target, tag=f"@{published.digest}").target == target


def test_a_second_publish_gives_the_same_digests_and_moves_nothing(
    registry: RegistryServer, release: Path, publish_release: Publish, signer: PemSigner, tmp_path: Path
) -> None:
    first = publish_release(release, registry.host, images=True)
    assert first.bytes_moved > 3 * 300_000
    before, requests = manifests(registry), len(registry.requests())
    again = write_release(tmp_path / "elsewhere" / "1.0.0", signer)
    second = publish_release(again, registry.host, images=True)
    assert second.digest == first.digest
    assert second.bytes_moved == 0
    assert manifests(registry) == before
    writes = [method for method, _ in registry.requests()[requests:] if method in ("POST", "PUT", "PATCH")]
    assert writes == []


def test_a_version_never_changes(
    registry: RegistryServer, release: Path, publish_release: Publish, signer: PemSigner, tmp_path: Path
) -> None:
    first = publish_release(release, registry.host)
    other = write_release(tmp_path / "other", signer, size=1000)
    with pytest.raises(RemoteError, match=r":1\.0\.0 is published already with other content .* raise it"):
        publish_release(other, registry.host)
    assert index_of(registry)
    assert publish_release(release, registry.host).digest == first.digest


def test_two_versions_share_what_they_have_in_common(
    registry: RegistryServer, release: Path, publish_release: Publish, signer: PemSigner, tmp_path: Path
) -> None:
    publish_release(release, registry.host)
    weights = {name: next((release / name).glob("model[-.]*[fa]")) for name in ("laptop",)}
    newer = write_release(tmp_path / "newer", signer, version="1.1.0", weights=weights)
    assert publish_release(newer, registry.host).bytes_moved < 50_000


def test_blobs_of_another_repository_are_mounted(
    registry: RegistryServer, release: Path, publish_release: Publish
) -> None:
    first = publish_release(release, registry.host)
    second = publish_release(release, registry.host, repository="other/place", mount_from=("team/smollm2",))
    assert second.digest == first.digest
    # What is signed on a manifest names its repository; everything else is the same.
    assert second.bytes_moved < 20_000


def test_the_index_lists_every_form_of_every_target(
    registry: RegistryServer, release: Path, publish_release: Publish
) -> None:
    publish_release(release, registry.host, images=True, draft_annotations=True)
    listed = index_of(registry)["manifests"]
    assert isinstance(listed, list)
    seen = {(item["annotations"]["modelmill.form"], item["annotations"].get("modelmill.target")) for item in listed}
    assert seen == {
        ("model-image", "raspberry-pi-5"),
        ("model-image", "laptop"),
        ("model-image", "laptop-onnx"),
        ("modelpack", "raspberry-pi-5"),
        ("modelpack", "laptop"),
        ("modelpack", "laptop-onnx"),
        ("docker-model-runner", "raspberry-pi-5"),
        ("docker-model-runner", "laptop"),
        ("release", None),
    }
    pi = next(item for item in listed if item["annotations"].get("modelmill.target") == "raspberry-pi-5")
    assert pi["platform"] == {"os": "linux", "architecture": "arm64", "variant": "v8"}
    _, tags = call(registry, "GET", "/v2/team/smollm2/tags/list")
    names = {name for name in json.loads(tags)["tags"] if not name.startswith("sha256-")}
    assert names == {
        "1.0.0",
        *(f"1.0.0-{target}" for target in ("raspberry-pi-5", "laptop", "laptop-onnx")),
        *(f"1.0.0-{target}-modelpack" for target in ("raspberry-pi-5", "laptop", "laptop-onnx")),
        *(f"1.0.0-{target}-docker-model-runner" for target in ("raspberry-pi-5", "laptop")),
    }


def test_what_proves_an_artifact_is_attached_to_it(
    registry: RegistryServer, release: Path, publish_release: Publish, open_registry: Callable[..., object]
) -> None:
    publish_release(release, registry.host)
    client = open_registry(registry.host, "team/smollm2")
    (packed,) = (
        item
        for item in index_of(registry)["manifests"]  # type: ignore[attr-defined]
        if item["annotations"]["modelmill.form"] == "modelpack" and item["annotations"]["modelmill.target"] == "laptop"
    )
    found = client.referrers(packed["digest"])  # type: ignore[attr-defined]
    kinds = sorted(item["artifactType"] for item in found)
    bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert kinds == [
        "application/vnd.cyclonedx+json",
        bundle,
        f"{bundle};files=provenance",
        f"{bundle};files=signature",
    ]


def test_the_machine_decides_and_the_choice_is_explained(
    registry: RegistryServer, release: Path, publish_release: Publish, pull_release: Pull, tmp_path: Path
) -> None:
    publish_release(release, registry.host)
    arm = Hardware(fields={**LINUX_ARM, "cpu.features": ["asimd", "asimddp", "fphp"], "memory.total_mib": 8192})
    pulled = pull_release(registry.host, tmp_path / "arm", hardware=arm)
    assert pulled.target == "raspberry-pi-5"
    assert pulled.reason == (
        "raspberry-pi-5 fits this machine (linux arm64 8192 MiB): it needs linux arm64 asimd asimddp; "
        "not laptop (needs the architecture amd64), laptop-onnx (needs the architecture amd64)"
    )
    old = Hardware(fields={**LINUX_X86, "cpu.features": ["sse4_2"]})
    with pytest.raises(RemoteError, match=r"nothing in the release fits .*laptop: needs avx2, fma;"):
        pull_release(registry.host, tmp_path / "old", hardware=old)
    with pytest.raises(RemoteError, match=r"needs the operating system linux"):
        pull_release(registry.host, tmp_path / "mac", hardware=Hardware(fields=MAC))
    assert pull_release(registry.host, tmp_path / "onnx", profile="laptop-onnx").target == "laptop-onnx"
    with pytest.raises(RemoteError, match="nothing for 'tv'; there is laptop, laptop-onnx, raspberry-pi-5"):
        pull_release(registry.host, tmp_path / "tv", profile="tv")
    assert sorted(path.name for path in tmp_path.glob("*") if path.name in ("old", "mac", "tv")) == []


def test_a_release_of_another_signer_does_not_appear(
    registry: RegistryServer, release: Path, publish_release: Publish, pull_release: Pull, tmp_path: Path
) -> None:
    publish_release(release, registry.host)
    create.new(tmp_path / "stranger.pem")
    with pytest.raises(ModelmillError):
        pull_release(registry.host, tmp_path / "out", target="laptop", key=pem.open_file(tmp_path / "stranger.pem"))
    assert not (tmp_path / "out").exists()
    assert pull_release(registry.host, tmp_path / "out", target="laptop").bytes_moved == 0, "fetched blobs are kept"


def test_an_unsigned_release_is_published_but_not_accepted(
    registry: RegistryServer, publish_release: Publish, pull_release: Pull, tmp_path: Path
) -> None:
    unsigned = write_release(tmp_path / "unsigned", None)
    publish_release(unsigned, registry.host, signed=False)
    with pytest.raises(ModelmillError, match=r"release\.json\.sig"):
        pull_release(registry.host, tmp_path / "out", target="laptop")
    assert not (tmp_path / "out").exists()


def test_a_blob_that_rotted_in_the_registry_is_refused(
    registry: RegistryServer, release: Path, publish_release: Publish, pull_release: Pull, tmp_path: Path
) -> None:
    publish_release(release, registry.host)
    stored = next(
        path for path in registry.config.parent.rglob("data") if path.is_file() and path.stat().st_size > 250_000
    )
    data = bytearray(stored.read_bytes())
    data[1000] ^= 1
    stored.write_bytes(data)
    refused = 0
    for target in ("laptop", "laptop-onnx"):
        try:
            pull_release(registry.host, tmp_path / target, target=target)
        except RemoteError as error:
            assert "something other than sha256:" in str(error)  # noqa: PT017
            assert not (tmp_path / target).exists()
            refused += 1
    assert refused == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_publish_that_is_cut_anywhere_leaves_no_tag_or_a_whole_release(
    registry: RegistryServer,
    proxy: FaultProxy,
    release: Path,
    publish_release: Publish,
    pull_release: Pull,
    tmp_path: Path,
    seed: int,
) -> None:
    proxy.faults.append(Fault(when="HTTP/1.1", skip=seed * 28 + 3, cut_up=10, times=1000))
    with pytest.raises(RemoteError):
        publish_release(release, proxy.host, tries=2)
    status, _ = call(registry, "GET", "/v2/team/smollm2/manifests/1.0.0", {"Accept": INDEX})
    assert status == 404
    assert proxy.injected
    print(f"faults injected: {proxy.injected}")
    proxy.faults.clear()
    publish_release(release, proxy.host)
    pull_release(registry.host, tmp_path / "out", target="laptop")


@pytest.mark.parametrize("skip", range(0, 12, 3))
def test_a_pull_that_is_cut_anywhere_leaves_no_folder_and_goes_on(
    registry: RegistryServer,
    proxy: FaultProxy,
    release: Path,
    publish_release: Publish,
    pull_release: Pull,
    tmp_path: Path,
    skip: int,
) -> None:
    publish_release(release, registry.host)
    proxy.faults.append(Fault(when="GET /v2/", skip=skip, cut_down=200, times=1000))
    with pytest.raises(RemoteError):
        pull_release(proxy.host, tmp_path / "out", target="laptop", access={"tries": 2})
    assert not (tmp_path / "out").exists()
    print(f"faults injected: {proxy.injected}")
    proxy.faults.clear()
    pull_release(proxy.host, tmp_path / "out", target="laptop")
    assert files(tmp_path / "out" / "laptop") == files(release / "laptop")


def test_an_output_that_exists_is_left_alone(registry: RegistryServer, pull_release: Pull, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RemoteError, match="exists already"):
        pull_release(registry.host, tmp_path / "out")


def test_what_modelmill_did_not_publish_is_a_sentence(
    registry: RegistryServer, open_registry: Callable[..., object], pull_release: Pull, tmp_path: Path
) -> None:
    client = open_registry(registry.host, "team/smollm2")
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    client.put_manifest(body, INDEX, "1.0.0")  # type: ignore[attr-defined]
    with pytest.raises(RemoteError, match="not a release that modelmill published"):
        pull_release(registry.host, tmp_path / "out")
    with pytest.raises(RemoteError, match="has no 9"):
        pull_release(registry.host, tmp_path / "out", tag=":9")


def test_server_images_are_tagged_and_listed_like_model_images(
    registry: RegistryServer, release: Path, publish_release: Publish, pull_release: Pull, tmp_path: Path
) -> None:
    (tmp_path / "serve").write_bytes(b"#!\n")
    with tarfile.open(tmp_path / "rootfs.tar", "w") as tar:
        tar.add(tmp_path / "serve", "bin/serve")
    image = ImageOptions(base=f"rootfs:{tmp_path}/rootfs.tar", server=("/bin/serve", "{folder}", "{port}"))
    publish_release(release, registry.host, servers=("laptop*",), image=image, images=True)
    listed = {
        (item["annotations"].get("modelmill.form"), item["annotations"].get("modelmill.target")): item
        for item in index_of(registry)["manifests"]  # type: ignore[attr-defined]
    }
    for target, form in (
        ("laptop", "server-image"),
        ("laptop-onnx", "server-image"),
        ("raspberry-pi-5", "model-image"),
    ):
        status, body = call(registry, "GET", f"/v2/team/smollm2/manifests/1.0.0-{target}", {"Accept": MANIFEST})
        assert status == 200
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == listed[form, target]["digest"]
        status, config = call(
            registry, "GET", f"/v2/team/smollm2/blobs/{json.loads(body)['config']['digest']}", {"Accept": "*/*"}
        )
        entry = json.loads(config)["config"].get("Entrypoint")
        assert entry == (["/bin/serve", "/models", "8080"] if form == "server-image" else None)
    assert pull_release(registry.host, tmp_path / "out", target="laptop").target == "laptop"
    with pytest.raises(RemoteError, match=r"servers names 'desk\*', and the release has laptop, laptop-onnx"):
        publish_release(release, registry.host, servers=("desk*",), image=image)
    with pytest.raises(RemoteError, match=r"\[image\] table has no base"):
        publish_release(release, registry.host, servers=("laptop",))


def test_the_image_table_and_repeated_words_become_options() -> None:
    (record,) = modelmill_oci.modelmill_remotes()
    offer = Offer(record=record, plugin=Plugin(name="oci", module="modelmill_oci", distribution="m", version="1"))
    given = ("servers=laptop", "servers=desk*", "images=true")
    found = settings(offer, given, {"image": {"base": "rootfs:r.tar", "wheels": ["w.whl"]}, "deploy": {}})
    assert (found.servers, found.images) == (("laptop", "desk*"), True)
    assert (found.image.base, found.image.wheels) == ("rootfs:r.tar", ("w.whl",))
    with pytest.raises(ConfigError, match="unknown key 'bass'"):
        settings(offer, (), {"image": {"bass": "x"}})
