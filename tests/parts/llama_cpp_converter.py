"""Runs llama.cpp's own convert_hf_to_gguf.py over several checkpoints in one process, for comparison.

Its argument is a JSON list of {"model", "out", "type", "pre"}. The script knows a pre-tokenizer by a hash of the
ids that a tokenizer gives, so that it knows none of a vocabulary made for a test: it is told the answer (`pre`).
The working directory is llama.cpp's source tree.
"""

import json
import runpy
import sys

sys.path.insert(0, ".")
base = __import__("conversion.base").base

for run in json.loads(sys.argv[1]):
    if run["pre"]:
        base.TextModel.get_vocab_base_pre = lambda _self, _tokenizer, pre=run["pre"]: pre
    sys.argv = ["convert_hf_to_gguf.py", "--outtype", run["type"], "--outfile", run["out"], run["model"]]
    runpy.run_path("convert_hf_to_gguf.py", run_name="__main__")
