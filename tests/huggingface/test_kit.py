from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from huggingface_parts import GENERATION, TEMPLATE, make_adapter

from modelmill.testing import ConverterSuite, FormatSuite, make_checkpoint


class TestMergeLora(ConverterSuite):
    plugin = "modelmill_huggingface"
    name = "merge-lora"
    kills: ClassVar[int] = 1

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama", shards=2)

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        return {"adapter": make_adapter(folder / "adapter", make_checkpoint(folder.parent / "base", "llama"))}


class TestSetChatTemplate(ConverterSuite):
    plugin = "modelmill_huggingface"
    name = "set-chat-template"
    kills: ClassVar[int] = 1

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama")

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        return {"chat_template": one_file(folder / "template", "chat.jinja", TEMPLATE)}


class TestSetGenerationConfig(ConverterSuite):
    plugin = "modelmill_huggingface"
    name = "set-generation-config"
    kills: ClassVar[int] = 1

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama")

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        return {"generation_config": one_file(folder / "generation", "greedy.json", GENERATION)}


class TestPeftAdapter(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "peft-adapter"

    def make_sample(self, folder: Path) -> None:
        make_adapter(folder, make_checkpoint(folder.parent / "base", "llama"))

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "adapter_model.safetensors", range(9)


class TestChatTemplate(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "chat-template"
    knows_its_length = False

    def make_sample(self, folder: Path) -> None:
        (folder / "chat.jinja").write_text(TEMPLATE)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "chat.jinja", range(len(TEMPLATE))  # any byte that is not UTF-8


class TestGenerationConfig(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "generation-config"

    def make_sample(self, folder: Path) -> None:
        (folder / "greedy.json").write_text(GENERATION.strip())

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "greedy.json", range(len(GENERATION.strip()))


def one_file(folder: Path, name: str, text: str) -> Path:
    folder.mkdir()
    (folder / name).write_text(text)
    return folder
