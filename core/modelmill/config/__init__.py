"""build.toml as typed, frozen values."""

from modelmill.config.check import check_names
from modelmill.config.faults import faults_error
from modelmill.config.profiles import offered, profile_files, profile_text, profile_texts
from modelmill.config.read import parse, read
from modelmill.config.records import COMPOSED, Build, Defaults, Project, Sign, SourceTable, Target

__all__ = [
    "COMPOSED",
    "Build",
    "Defaults",
    "Project",
    "Sign",
    "SourceTable",
    "Target",
    "check_names",
    "faults_error",
    "offered",
    "parse",
    "profile_files",
    "profile_text",
    "profile_texts",
    "read",
]
