"""What the owner of a format has to keep to: a suite that a plugin's tests subclass."""

import json
import math
import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from modelmill.errors import ConvertError
from modelmill.store.facts import decode_facts, encode_facts
from modelmill.testing import plugins
from modelmill.testing.folders import damaged, snapshot
from modelmill.testing.suite import Suite
from modelmill.types import Format, TensorData

FLIPS = 50
"""How many bits anywhere in a file are flipped, one at a time, to see that nothing but ConvertError comes of it."""


class FormatSuite(Suite):
    """Subclass it, name the plugin and the format, say how to make a sample, and which of its bytes are structure."""

    hook: ClassVar[str] = "formats"
    name: ClassVar[str]
    """The format's name."""
    reads_values: ClassVar[bool] = True
    """Whether the test may widen tensors to float32 (which needs numpy)."""
    knows_its_length: ClassVar[bool] = True
    """Whether a file that ends early can be told from a whole one: of a text it cannot."""

    def make_sample(self, folder: Path) -> None:
        """Put a small sound model of the format into an empty folder."""
        raise NotImplementedError("make a small model of the format: def make_sample(self, folder: Path) -> None")

    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        """The byte ranges of the sample's files in which any flipped byte must be found by `validate`."""
        raise NotImplementedError("say which bytes are structure: def structure(self, folder: Path) -> ...")

    @pytest.fixture
    def record(self) -> Format:
        """The format under test."""
        return plugins.owner(self.plugin, self.name)

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Path:
        """A folder with a sound model."""
        folder = tmp_path / "sample"
        folder.mkdir()
        self.make_sample(folder)
        return folder

    def test_detect_knows_its_own_and_nothing_else(self, record: Format, sample: Path, tmp_path: Path) -> None:
        with self._sound("detect"):
            found = record.detect(sample)
        assert found, f"{self}: detect does not know the sample"
        for name, content in {"empty": None, "text": b"hello\n", "noise": bytes(range(256)) * 16}.items():
            (tmp_path / name).mkdir()
            if content is not None:
                (tmp_path / name / "file.bin").write_bytes(content)
            with self._sound("detect"):
                found = record.detect(tmp_path / name)
            assert not found, f"{self}: detect takes a folder with {name} for its own"

    def test_facts_say_what_is_there_and_survive_json(self, record: Format, sample: Path) -> None:
        with self._sound("facts"):
            facts = record.facts(sample)
        assert facts.format == self.name, f"{self}: the facts say that the format is {facts.format!r}"
        is_known = facts.scheme is None or facts.scheme in record.schemes
        assert is_known, f"{self}: the facts name the scheme {facts.scheme!r}, which the record does not"
        sizes = {
            path.relative_to(sample).as_posix(): path.stat().st_size for path in sample.rglob("*") if path.is_file()
        }
        wrong = sorted(name for name, size in facts.files.items() if sizes.get(name) != size)
        assert wrong == [], f"{self}: the facts tell other sizes than the files have: {', '.join(wrong)}"
        again = decode_facts(json.loads(json.dumps(encode_facts(facts))))
        assert again == facts, f"{self}: the facts are not the same after JSON"

    def test_facts_do_not_depend_on_where_the_model_lies(self, record: Format, sample: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(sample, tmp_path / "another place" / "with ümlaut")
        with self._sound("facts"):
            found, wanted = record.facts(copy), record.facts(sample)
        assert found == wanted, f"{self}: the facts depend on where the model lies"

    def test_a_sound_model_is_valid_and_left_alone(self, record: Format, sample: Path) -> None:
        before = snapshot(sample)
        with self._sound("validate finds fault with the sample"):
            record.validate(sample)
        assert snapshot(sample) == before, f"{self}: validate changes the model"

    def test_tensors_are_those_of_the_facts(self, record: Format, sample: Path) -> None:
        if record.tensors is None:
            return
        found = []
        with self._sound("tensors"):
            for data in record.tensors(sample):
                found.append(data.tensor)
                self._check_values(data)
            facts = record.facts(sample)
        wanted = sorted(facts.tensors, key=lambda tensor: tensor.name)
        assert sorted(found, key=lambda tensor: tensor.name) == wanted, f"{self}: tensors gives others than the facts"

    def _check_values(self, data: TensorData) -> None:
        """See that a tensor has bytes, and as many float32 values as its shape says."""
        name = data.tensor.name
        if len(data.raw) == 0:
            pytest.fail(f"{self}: the tensor {name} has no bytes")
        if self.reads_values:
            values = data.values()
            if (str(values.dtype), math.prod(values.shape)) != ("float32", math.prod(data.tensor.shape)):
                pytest.fail(f"{self}: {name} {data.tensor.shape} has {values.dtype} values of shape {values.shape}")

    def test_validate_finds_a_flipped_byte_in_the_structure(self, record: Format, sample: Path) -> None:
        tried = 0
        for path, places in self.structure(sample):
            content = path.read_bytes()
            for place in places:
                path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
                assert self._is_refused(record, sample), f"{self}: {path.name}: a flipped byte {place} passes as sound"
            path.write_bytes(content)
            tried += len(places)
        assert tried, f"{self}: the suite's `structure` names no byte of the sample, so none was flipped"
        with self._sound("validate finds fault with the sample"):
            record.validate(sample)

    def test_validate_finds_a_file_cut_short(self, record: Format, sample: Path) -> None:
        if not self.knows_its_length:
            return
        largest = max((path for path in sample.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        content = largest.read_bytes()
        for size in {0, 1, 7, len(content) // 3, len(content) // 2, len(content) - 1}:
            largest.write_bytes(content[:size])
            told = f"{self}: {largest.name}: {size} of {len(content)} bytes pass as sound"
            assert self._is_refused(record, sample), told

    def test_damage_raises_convert_error_and_nothing_else(self, record: Format, sample: Path, tmp_path: Path) -> None:
        for damage in damaged(sample, tmp_path / "damaged"):
            self._check_errors(record, damage.folder, f"{damage.file} {damage.what}")
        chance = random.Random(4242)  # noqa: S311 - the same flips in every run
        for path in sorted(path for path in sample.rglob("*") if path.is_file()):
            content = path.read_bytes()
            for _ in range(FLIPS if content else 0):
                place = min(chance.randrange(len(content)), chance.randrange(len(content)))
                flipped = content[place] ^ 1 << chance.randrange(8)
                path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
                self._check_errors(record, sample, f"{path.name}: byte {place} is {flipped:#x}")
            path.write_bytes(content)

    def _is_refused(self, record: Format, folder: Path) -> bool:
        """Whether `validate` finds the folder not sound."""
        with self._sound("validate"):
            try:
                record.validate(folder)
            except ConvertError:
                return True
        return False

    def _check_errors(self, record: Format, folder: Path, what: str) -> None:
        """See that nothing but ConvertError comes of what may be damaged."""
        for ask in (record.detect, record.facts, record.validate):
            with self._sound(what):
                try:
                    ask(folder)
                except ConvertError as error:
                    if not str(error).strip():
                        pytest.fail(f"{self}: {what}: an error without a word")
