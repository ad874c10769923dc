"""What the ONNX files say about themselves, and ``cdp export``."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from cdp.bundle import Bundle, BundleError
from cdp.bundle.policy import load_policy
from cdp.cli import main
from cdp.config import to_mapping
from cdp.runtime.openvino_core import openvino_core

ROOT = Path(__file__).parents[3]
MODELS = ("encoder", "denoiser")


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def overwrite(folder, name, content):
    """Change a file and its hash, as a bundle that was damaged before it was hashed."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("model", MODELS)
def test_each_model_carries_the_policy_and_the_hash_of_its_weights(tiny_bundle, tiny_policy, model):
    session = onnxruntime.InferenceSession(str(tiny_bundle / f"{model}.onnx"), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    assert found["cdp.model"] == model and found["cdp.format"] == "cdp-bundle-1"
    assert found["cdp.weights_sha256"] == hashlib.sha256((tiny_bundle / "weights.safetensors").read_bytes()).hexdigest()
    assert json.loads(found["cdp.policy"]) == json.loads(json.dumps(to_mapping(tiny_policy.description)))
    assert set(json.loads(found["cdp.inputs"])) == {each.name for each in session.get_inputs()}
    assert set(json.loads(found["cdp.outputs"])) == {each.name for each in session.get_outputs()}
    onnx.checker.check_model(str(tiny_bundle / f"{model}.onnx"))
    read = openvino_core().read_model(str(tiny_bundle / f"{model}.onnx")).get_rt_info()
    assert read["framework"]["cdp.model"].value == model


@pytest.mark.parametrize("model", MODELS)
def test_no_model_names_a_folder_of_the_machine_that_made_it(tiny_bundle, model):
    for folder in (tiny_bundle, ROOT / "models" / "slide"):
        content = (folder / f"{model}.onnx").read_bytes()
        assert b"cdp.policy" in content
        assert b".py" not in content and b"stack_trace" not in content, f"{folder.name} says where it was exported"


def test_export_writes_the_models_anew_and_nothing_else_of_the_policy(copy, capsys):
    before = contents(copy)
    stripped = onnx.load(str(copy / "denoiser.onnx"))
    del stripped.metadata_props[:]
    overwrite(copy, "denoiser.onnx", stripped.SerializeToString())
    assert main(["export", str(copy)]) == 0
    assert "openvino" in capsys.readouterr().out
    after = contents(copy)
    assert {name for name in before if before[name] != after[name]} <= {"encoder.onnx", "denoiser.onnx", "report.json", "manifest.json"}
    assert {each.key for each in onnx.load(str(copy / "denoiser.onnx")).metadata_props} >= {"cdp.model", "cdp.policy"}
    load_policy(Bundle.open(copy))


def test_networks_of_other_weights_are_found_and_mended(copy, capsys):
    model = onnx.load(str(copy / "denoiser.onnx"))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array((1.1 * values).astype(np.float32), tensor.name))
    overwrite(copy, "denoiser.onnx", model.SerializeToString())
    assert main(["export", "--check", str(copy)]) == 1
    assert "differs from torch's" in capsys.readouterr().err
    with pytest.raises(BundleError, match="cdp export"):
        load_policy(Bundle.open(copy))
    assert main(["export", str(copy)]) == 0
    assert main(["export", "--check", str(copy)]) == 0


def test_a_failed_export_leaves_the_bundle_as_it_was(copy, capsys):
    overwrite(copy, "config.yaml", (copy / "config.yaml").read_bytes().replace(b"width: ", b"width: 1"))
    before = contents(copy)
    assert main(["export", str(copy)]) == 1
    assert "cdp:" in capsys.readouterr().err
    assert contents(copy) == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]
