"""What hardware profiles have to keep to: a suite that a plugin's tests subclass."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from modelmill import registry
from modelmill.errors import ModelmillError
from modelmill.hardware.schema import load_profile
from modelmill.testing import plugins
from modelmill.testing.suite import Suite
from modelmill.types import HardwareProfile


class HardwareSuite(Suite):
    """Subclass it and name the plugin: every profile that it offers is tried."""

    hook: ClassVar[str] = "hardware"

    @classmethod
    def names(cls) -> Iterator[str]:
        """The names of the plugin's profiles."""
        yield from (offer.name for offer in plugins.offers(cls.plugin, "modelmill_hardware"))

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One test for every profile."""
        if "profile" in metafunc.fixturenames:
            offers: list[HardwareProfile] = list(importlib.import_module(cls.plugin).modelmill_hardware())
            metafunc.parametrize("profile", offers, ids=[offer.name for offer in offers])

    def fields(self, profile: HardwareProfile) -> Mapping[str, Any]:
        """The profile's fields; it may inherit from any profile of its plugin or of another that is installed."""
        installed = registry.load().hardware
        texts = {name: installed[name].record.toml for name in installed}
        own = {offer.name: offer.toml for offer in importlib.import_module(self.plugin).modelmill_hardware()}
        return load_profile(profile.name, {**texts, **own}).fields

    def _told(self, profile: HardwareProfile) -> str:
        """Whose fault a failure is."""
        return f"{self.plugin}: hardware {profile.name}"

    def test_profile_is_sound(self, profile: HardwareProfile) -> None:
        try:
            fields = self.fields(profile)
        except ModelmillError as error:
            pytest.fail(f"{self._told(profile)}: {error}")
        assert fields["description"], f"{self._told(profile)}: describes nothing"

    def test_name_can_stand_in_a_path(self, profile: HardwareProfile) -> None:
        told = f"{self._told(profile)}: lower-case letters, digits, dots and hyphens only"
        assert plugins.legal(profile.name), told

    def test_figures_say_where_they_come_from(self, profile: HardwareProfile) -> None:
        fields = self.fields(profile)
        tables = {name.split(".")[0] for name, value in fields.items() if type(value) in (int, float) and value} - {
            "workload"
        }
        evident = {name.split(".")[1] for name in fields if name.startswith("evidence.")}
        assert tables <= evident, f"{self._told(profile)}: has no [evidence] for {', '.join(sorted(tables - evident))}"

    def test_runtimes_are_said_to_run_schemes_that_exist(self, profile: HardwareProfile) -> None:
        """Of a runtime that no installed format names nothing is known."""
        formats = [offer.record for offer in registry.load().formats.all()]
        for name, schemes in self.fields(profile).items():
            table, _, rest = name.partition(".")
            runtime, _, word = rest.rpartition(".")
            loads = [record for record in formats if runtime in record.runtimes]
            if table == "runtime" and word != "min" and loads:
                unknown = set(schemes) - {scheme for record in loads for scheme in record.schemes}
                told = f"{name}: {', '.join(sorted(unknown))} is no scheme of a format for {runtime}"
                assert not unknown, f"{self._told(profile)}: {told}"
