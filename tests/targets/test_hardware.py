import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.errors import ConfigError
from modelmill.hardware.schema import FIELDS, ancestors, load_profile

BASE = 'description = "a device"\nos = { family = "linux", arch = "arm64" }\n'


def test_fields_are_flat_and_inherited() -> None:
    texts = {
        "base": BASE + 'cpu = { features = ["asimd"], cores = 2 }\nevidence = { cpu = "a data sheet" }\n',
        "child": 'inherits = ["base"]\ndescription = "another"\ncpu = { features = ["bf16"], threads = 4 }\n',
    }
    assert load_profile("child", texts).fields == {
        "name": "child",
        "description": "another",
        "os.family": "linux",
        "os.arch": "arm64",
        "cpu.features": ["asimd", "bf16"],
        "cpu.cores": 2,
        "cpu.threads": 4,
        "evidence.cpu": "a data sheet",
    }


def test_a_diamond_is_no_cycle() -> None:
    texts = {
        "base": BASE,
        "left": 'inherits = ["base"]\ndescription = "l"\nmemory.total_mib = 1\n',
        "right": 'inherits = ["base"]\ndescription = "r"\nmemory.total_mib = 2\n',
        "tip": 'inherits = ["left", "right"]\ndescription = "t"\n',
    }
    assert load_profile("tip", texts).fields["memory.total_mib"] == 2
    assert ancestors("tip", texts) == ("left", "right", "base")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("=", r"^own.toml: not valid TOML"),
        (BASE + "memory.budget = 3", r"^own.toml: unknown field 'memory.budget'; did you mean 'memory.budget_mib'\?"),
        (BASE + "memory.budget_mib = 1.5", r"^own.toml: 'memory.budget_mib' must be a whole number"),
        (BASE + "memory.budget_mib = -1", "must be a whole number, not negative, not -1"),
        (BASE + "memory.budget_mib = true", "must be a whole number"),
        (BASE + "memory.bandwidth_gbps = inf", "must be a number"),
        (BASE + 'cpu.features = "avx"', "must be a list of strings"),
        (BASE + "cpu.features = [1]", "must be a list of strings"),
        (BASE + 'accelerator.kind = "gpu"', "'accelerator.kind' is 'gpu'; "),
        (BASE + 'inherits = ["gone"]', "inherits from 'gone', which is not there"),
        (BASE + 'inherits = ["own"]', r"inherits from itself: own → own"),
        (BASE + 'inherits = ["one"]', r"inherits from itself: own → one → two → own|one → two → own → one"),
        (BASE + 'inherits = ["amd"]', "'os.arch' is 'arm64', but 'amd' has 'amd64'"),
        ('os = { family = "linux", arch = "arm64" }', "'description' is missing"),
        ('description = "a"\nos.family = "linux"', "'os.arch' is missing"),
        (
            'inherits = ["board"]\nmemory.total_mib = 4096\ndescription = "the small one"',
            r"^own.toml: 'memory.budget_mib' is 6144, more than 'memory.total_mib' of 4096; state here what",
        ),
        (
            'inherits = ["board"]\naccelerator.memory_mib = 4096\ndescription = "with a card"',
            "'memory.budget_mib' is 6144, more than 'accelerator.memory_mib' of 4096",
        ),
        (BASE + "runtime.llamacpp.quick = []", r"unknown field 'runtime.llamacpp.quick'"),
    ],
)
def test_a_faulty_profile_is_one_sentence_with_the_files_name(text: str, sentence: str) -> None:
    texts = {
        "own": text,
        "one": 'inherits = ["two"]\n',
        "two": 'inherits = ["own"]\n',
        "amd": BASE.replace("arm64", "amd64"),
        "board": BASE + "memory = { total_mib = 8192, budget_mib = 6144 }\n",
    }
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_profile("own", texts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "memory",
    [
        "memory = { total_mib = 4096, budget_mib = 4096 }",
        "memory.budget_mib = 4096",
        "memory = { total_mib = 2048, budget_mib = 4096 }\naccelerator.memory_mib = 8192",
        "memory = { total_mib = 4096, budget_mib = 4096 }\naccelerator.memory_mib = 0",
    ],
)
def test_a_budget_is_of_the_memory_that_the_model_lies_in(memory: str) -> None:
    assert load_profile("own", {"own": BASE + memory}).fields["memory.budget_mib"] == 4096


def test_every_field_says_what_it_means() -> None:
    assert all(meaning and kind for kind, meaning in FIELDS.values())


@given(
    text=st.lists(
        st.sampled_from([*FIELDS, "=", "[", "]", "\n", '"a"', "1", "{", "}", ".", "inherits = ['own']\n"])
    ).map("".join)
)
@settings(max_examples=200, deadline=None)
def test_no_text_raises_anything_but_config_error(text: str) -> None:
    try:
        load_profile("own", {"own": BASE + text})
    except ConfigError as error:
        assert str(error).startswith("own.toml: ")  # noqa: PT017 - any other exception must fly
