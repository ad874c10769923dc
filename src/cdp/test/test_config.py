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


@dataclass(frozen=True)
class Circle:
    radius_m: float = setting(1.0, low=0.0, high=10.0)
    kind: str = setting("circle", choices=("circle",))


@dataclass(frozen=True)
class Square:
    side_m: float = setting(1.0, low=0.0, high=10.0)
    kind: str = setting("square", choices=("square", "tile"))


@dataclass(frozen=True)
class Drawing:
    shape: Circle | Square = field(default_factory=Circle)
    other: Circle | Square | None = None


def test_the_kind_chooses_among_dataclasses_and_the_first_goes_without():
    made = config.from_mapping(Drawing, {"shape": {"kind": "tile", "side_m": 2}})
    assert made == Drawing(Square(2.0, "tile"))
    assert config.from_mapping(Drawing, {"shape": {"radius_m": 3}}).shape == Circle(3.0)
    assert config.from_mapping(Drawing, {"shape": {}, "other": None}) == Drawing()
    assert config.from_mapping(Drawing, {"shape": Square()}).shape == Square()
    assert config.from_mapping(Drawing, config.to_mapping(made)) == made


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"kind": "oval"}, r"^shape\.kind: 'oval' is not one of 'circle', 'square', 'tile'$"),
        ("square", r"^shape: 'square' is not a mapping of keys to values, kind one of 'circle', 'square', 'tile'$"),
        # The mistake of the kind that was chosen, not of one that was not.
        ({"kind": "square", "side_m": 11}, r"^shape\.side_m: 11\.0 is outside \[0\.0, 10\.0\]$"),
        ({"kind": "square", "radius_m": 1}, r"^shape\.radius_m: unknown key; allowed here: side_m, kind$"),
        ({"side_m": 1}, r"^shape\.side_m: unknown key; allowed here: radius_m, kind$"),
    ],
)
def test_mistakes_in_a_choice_by_kind_are_named(shape, message):
    with pytest.raises(ConfigError, match=message):
        config.from_mapping(Drawing, {"shape": shape})
