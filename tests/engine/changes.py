"""Kinds of change after a build, and what `modelmill explain` names for each."""

CHANGES: dict[str, tuple[tuple[str, str, str], str, list[str], list[str]]] = {
    # what: (edit, target to ask about, changes of steps, changes of the artifact's description)
    # No two edits make the same step: each has something to run.
    "an option": (
        ("build.toml", 'recipe = "short.toml"', 'recipe = "short.toml", length = 2'),
        "short",
        ["shorten short: option length changed: 4 → 2"],
        [],
    ),
    "an option of an earlier step": (
        ("build.toml", 'format = "loud"', 'format = "loud"\noptions = { repeat = 2 }'),
        "tiny",
        ["shout upper: option repeat changed: 1 → 2"],
        [],
    ),
    "an option of another target": (
        ("build.toml", 'recipe = "short.toml"', 'recipe = "short.toml", length = 3'),
        "tiny",
        [],
        [],
    ),
    "the recipe's file": (
        ("short.toml", "Q4_K", "Q6_K"),
        "short",
        ["shorten short: option recipe.default changed: Q4_K → Q6_K"],
        [],
    ),
    "a file that is read": (
        ("words/words.txt", "to be", "to do"),
        "plain",
        ["shout upper: source file words.txt changed"],
        ["sources model.files.words.txt changed"],
    ),
    "a file that no step reads": (
        ("words/unread.md", "word", "line"),
        "plain",
        [],
        ["sources model.files.unread.md changed"],
    ),
    "the plugin's code": (
        ("site/letters_plugin.py", "import time", "import time  # of day"),
        "plain",
        ["shout upper: plugin file letters_plugin.py changed"],
        [],
    ),
    "the plugin's version": (
        ("site/letters-1.0.dist-info/METADATA", "Version: 1.0", "Version: 1.0.1"),
        "plain",
        ["shout upper: plugin version changed: 1.0 → 1.0.1"],
        [],
    ),
    "the record's revision": (
        ("site/letters_plugin.py", 'name="shout",', 'name="shout", revision=2,'),
        "plain",
        ["shout upper: the record's revision changed: 1 → 2", "shout upper: plugin file letters_plugin.py changed"],
        [],
    ),
    "a tool's version": (
        ("site/typewriter-3.1.dist-info/METADATA", "Version: 3.1", "Version: 3.2"),
        "plain",
        ["shout upper: tool typewriter changed: 3.1 → 3.2"],
        [],
    ),
    "a hardware field that is used": (
        ("site/benches_plugin.py", '["sse2"]', '["avx2"]'),
        "tiny",
        ["shorten tiny: hardware field cpu.features.0 changed: sse2 → avx2"],
        ["hardware cpu.features.0 changed: sse2 → avx2"],
    ),
    "a hardware field that no step uses": (
        ("site/benches_plugin.py", "cpu.cores = 4", "cpu.cores = 8"),
        "tiny",
        [],
        ["hardware cpu.cores changed: 4 → 8"],
    ),
    "a hardware field that nothing uses": (
        ("site/benches_plugin.py", "split_mib = 9", "split_mib = 8"),
        "tiny",
        [],
        [],
    ),
    "another profile of the same device": (
        ("build.toml", 'hardware = "bench"', 'hardware = "other"'),
        "plain",
        [],
        ["hardware profile changed: bench → other"],
    ),
    "the project's version": (
        ("build.toml", 'version = "1.0"', 'version = "1.1"'),
        "plain",
        [],
        ["project version changed: 1.0 → 1.1"],
    ),
    "the project's description": (
        ("build.toml", 'license = "MIT"', 'license = "MIT"\ndescription = "words"'),
        "plain",
        [],
        ["project description is new (words)"],
    ),
    "the source's licence": (
        ("build.toml", 'uri = "words"', 'uri = "words"\nlicense = "MIT"'),
        "plain",
        [],
        ["sources model.licence is new (MIT)"],
    ),
    "the target's scheme": (
        ("build.toml", 'scheme = "tiny"', 'scheme = "short"'),
        "tiny",
        ["shorten short: scheme changed: tiny → short"],
        [],
    ),
    "the steps of a target": (
        ("build.toml", 'scheme = "tiny"', 'scheme = "upper"'),
        "tiny",
        [],
        [],
    ),
    "an option that says its default": (
        ("build.toml", 'scheme = "tiny"', 'scheme = "tiny"\noptions = { length = 4 }'),
        "tiny",
        [],
        ["target options.length is new (4)"],
    ),
    "the name of the step that runs anyway": (
        ("build.toml", 'scheme = "tiny"', 'scheme = "tiny"\nquantizer = "shorten"'),
        "tiny",
        [],
        ["target quantizer is new (shorten)"],
    ),
    "the command of a format": (
        ("site/benches_plugin.py", "cat {file}", "less {file}"),
        "plain",
        [],
        ["model usage changed: cat {file} → less {file}"],
    ),
    "the key": (
        ("build.toml", 'key = "release.pem"', 'key = "other.pem"'),
        "plain",
        [],
        ["sign key changed: release.pem → other.pem"],
    ),
    "a comment in the build file": (("build.toml", "[target.tiny]", "# a word\n[target.tiny]"), "tiny", [], []),
    "nothing": (("build.toml", "words", "words"), "plain", [], []),
}
REBUILDS_ANYWAY = {"the steps of a target"}
GONE = {"the steps of a target": ["shorten tiny"]}
