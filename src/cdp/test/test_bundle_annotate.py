import json
import shutil

import pytest

from cdp.bundle import Bundle, BundleError
from cdp.bundle.annotate import annotate


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "policy")


def test_a_section_and_its_figures_are_added_and_the_bundle_stays_sound(bundle):
    annotate(bundle, "Evaluation", "14 of 20.", "evaluation", {"successes": 14})
    assert Bundle.open(bundle).name == "tiny"
    assert json.loads((bundle / "report.json").read_text())["evaluation"] == {"successes": 14}
    assert (bundle / "card.md").read_text().endswith("## Evaluation\n\n14 of 20.\n")


def test_the_same_section_is_replaced_and_others_are_kept(bundle):
    before = (bundle / "card.md").read_text()
    annotate(bundle, "Demonstrations", "Of a person.", "demonstrations", {"count": 3})
    annotate(bundle, "Evaluation", "1 of 2.", "evaluation", {"successes": 1})
    annotate(bundle, "Demonstrations", "Of a script.", "demonstrations", {"count": 4})
    card = (bundle / "card.md").read_text()
    assert card.startswith(before.rstrip())
    assert "Of a person." not in card and card.count("## Demonstrations") == 1
    assert card.index("Of a script.") < card.index("1 of 2.")
    Bundle.open(bundle)


def test_a_damaged_bundle_is_refused_and_left_alone(bundle):
    (bundle / "stats.json").write_text("{}")
    files = {p.name: p.read_bytes() for p in bundle.iterdir()}
    with pytest.raises(BundleError):
        annotate(bundle, "Evaluation", "", "evaluation", {})
    assert {p.name: p.read_bytes() for p in bundle.iterdir()} == files
    assert [p.name for p in bundle.parent.iterdir()] == ["policy"]
