from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cdp import config
from cdp.config import ConfigError, setting


@dataclass(frozen=True)
class Inner:
    rate_hz: float = setting(10.0, low=0.1, high=100.0)
    keys: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = setting(3, low=1)
    solver: str = setting("ddim", choices=("ddim", "heun"))
    path: Path | None = None
    inner: Inner = field(default_factory=Inner)


def test_round_trip_is_complete(tmp_path):
    made = config.from_mapping(Outer, {"name": "x", "inner": {"rate_hz": 5, "keys": ["c"]}, "path": "p"})
    config.dump(made, tmp_path / "c.yaml")
    assert config.load(Outer, tmp_path / "c.yaml") == made
    assert made.inner.rate_hz == 5.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "steps": 0}, r"steps: 0 is outside \[1, inf\]"),
        ({"name": "x", "stepz": 1}, "stepz: unknown key"),
        ({}, "name: missing"),
        ({"name": "x", "steps": True}, "steps: True is not a whole number"),
        ({"name": "x", "solver": "rk"}, "solver: 'rk' is not one of 'ddim', 'heun'"),
        ({"name": "x", "inner": {"rate_hz": 1e9}}, r"inner.rate_hz: 1000000000.0 is outside \[0.1, 100.0\]"),
        ({"name": "x", "inner": {"rate_hz": float("nan")}}, "inner.rate_hz: nan is not finite"),
        ({"name": "x", "inner": {"keys": [1]}}, r"inner.keys\[0\]: 1 is not a text"),
        ({"name": 4}, "name: 4 is not a text"),
    ],
)
def test_a_bad_value_is_named(data, message):
    with pytest.raises(ConfigError, match=message):
        config.from_mapping(Outer, data)


def test_scientific_notation_without_a_dot_is_a_number(tmp_path):
    (tmp_path / "c.yaml").write_text("name: x\ninner: {rate_hz: 1e1}\n")
    assert config.load(Outer, tmp_path / "c.yaml").inner.rate_hz == 10.0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        config.load(Outer, tmp_path / "nope.yaml")
