from dataclasses import replace
from pathlib import Path

from modelmill_artifacts import diff, release
from modelmill_artifacts.diff import Change
from modelmill_artifacts.manifest import File, Flags, Manifest, Tool


def test_a_manifest_does_not_differ_from_itself(manifest: Manifest) -> None:
    assert diff.manifests(manifest, manifest) == ()


def test_every_kind_of_change_is_told(manifest: Manifest) -> None:
    step, source = manifest.steps[0], manifest.sources[0]
    assert manifest.hardware is not None
    other = replace(
        manifest,
        version="1.0.1",
        licence=None,
        notes=(*manifest.notes, "It was made on a whim."),
        flags=Flags(requantized=True),
        hardware=replace(manifest.hardware, requires={"os.family": "linux", "os.arch": "amd64"}),
        files=(*manifest.files[1:], File(path="new", sha256="e" * 64, size=1)),
        sources=(replace(source, revision="other", files=source.files[:1]), *manifest.sources[1:]),
        steps=(replace(step, tools=(Tool(name="gguf", version="0.20.0"),), options={"split": 1}), *manifest.steps[1:]),
    )
    found = diff.manifests(manifest, other)
    assert [(change.kind, change.name) for change in found] == [
        ("field", "licence"),
        ("field", "notes"),
        ("field", "version"),
        ("flag", "requantized"),
        ("hardware", "cpu.features"),
        ("hardware", "os.arch"),
        ("file", "LICENSE"),
        ("file", "new"),
        ("source", "model base"),
        ("source", "model base: model.safetensors"),
        ("step", "1 huggingface-to-gguf"),
        ("tool", "gguf"),
        ("tool", "numpy"),
    ]
    assert Change(kind="tool", name="gguf", before="0.19.0", after="0.19.0, 0.20.0") in found
    assert Change(kind="file", name="new", before=None, after={"sha256": "e" * 64, "size": 1}) in found


def test_releases_differ_in_their_artifacts(artifact: Path) -> None:
    before = release.index(artifact.parent, [artifact.name])
    (entry,) = before.artifacts
    after = replace(before, version="2", artifacts=(entry, replace(entry, target="z", path="z")))
    found = diff.releases(before, after)
    assert [(change.kind, change.name) for change in found] == [("field", "version"), ("artifact", "z")]
