"""What a step's child process runs: one job in on standard input, its outcome out on a descriptor of its own."""

from modelmill.step.check import InvalidResultError, validate
from modelmill.step.jobs import decode_job, encode_job, find

__all__ = ["InvalidResultError", "decode_job", "encode_job", "find", "validate"]
