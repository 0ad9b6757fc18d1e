from __future__ import annotations

import pytest

from router.config import MinilmEncoder
from router.errors import ConfigError
from router.registry import ADAPTERS, Adapter, Registry

REGISTRY = Registry(
    {
        ("sink", "here"): Adapter("router.config.judgement", config="MinilmEncoder"),
        ("sink", "elsewhere"): Adapter("no.such.module", config="router.config.judgement:MinilmEncoder"),
        ("sink", "gone"): Adapter("no.such.module"),
        ("sink", "extra"): Adapter("no.such.module", extra="kafka"),
    }
)


def test_settings_come_from_the_adapters_module() -> None:
    """The strict model is found by name in the module that the table says."""
    assert REGISTRY.settings("sink", "here") is MinilmEncoder


def test_settings_elsewhere_need_no_import_of_the_adapter() -> None:
    """An adapter whose library is heavy can be checked without loading it."""
    assert REGISTRY.settings("sink", "elsewhere") is MinilmEncoder


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hree", "There is no sink adapter 'hree'. Did you mean 'here'?"),
        ("gone", "The sink adapter 'gone' cannot be loaded: the module no is not installed."),
        ("extra", "The sink adapter 'extra' needs more packages: pip install 'lockgate[kafka]'."),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(name: str, sentence: str) -> None:
    """Each says what to do."""
    with pytest.raises(ConfigError) as caught:
        REGISTRY.load("sink", name)
    assert str(caught.value) == sentence


def test_every_kind_that_configuration_names_has_an_adapter() -> None:
    """The default of every adapter block is in the table."""
    assert "http" in ADAPTERS.names("destination")
    assert "embedded" in ADAPTERS.names("policy engine")
    assert "minilm" in ADAPTERS.names("encoder")
