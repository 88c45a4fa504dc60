from dataclasses import replace
from pathlib import Path

from modelmill import Format
from modelmill.artifact.usage import run_command

FORMAT = Format(
    name="pages",
    schemes=("plain",),
    detect=lambda path: path.is_dir(),
    facts=lambda path: (_ for _ in ()).throw(NotImplementedError(path)),
    validate=lambda path: None,  # noqa: ARG005
    usage="read {path}/{file}",
)


def test_the_command_names_the_folder_and_the_first_file_of_weights() -> None:
    assert run_command(FORMAT, ".", ["config.json", "b.gguf", "a.gguf"]) == "read ./a.gguf"


def test_a_file_of_the_artifact_chooses_among_commands() -> None:
    record = replace(FORMAT, usage={"talk.json": "talk {path}", "words.json": "embed {path}"})
    assert run_command(record, "x", ["model.onnx", "words.json"]) == "embed x"
    assert run_command(record, "x", ["model.onnx", "words.json", "talk.json"]) == "talk x"
    assert run_command(record, "x", ["model.onnx"]) == ""


def test_what_onnx_tells_of_an_encoder_gives_its_output(tmp_path: Path) -> None:
    from modelmill_onnx.offers import FORMAT as ONNX

    told = run_command(ONNX, str(tmp_path), ["model.onnx", "tokenizer.json"])
    assert f"InferenceSession('{tmp_path}/model.onnx')" in told
    assert "{i.name: np.array([a[i.name]])" in told
