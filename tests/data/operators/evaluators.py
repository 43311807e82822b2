"""The input of the networks, and what evaluates them."""

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

# Height and width of the input.
SIDE = 32


def seeded_input():
    """The seeded input of src/weights/seeded.rs."""
    name = np.uint64(0xCBF29CE484222325)
    with np.errstate(over="ignore"):
        for byte in b"input":
            name = (name ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        z = name + np.arange(1, 3 * SIDE * SIDE + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform = (z >> np.uint64(40)).astype(np.float64) / 2**24
    return ((2 * uniform - 1) * 2).astype(np.float32).reshape(1, 3, SIDE, SIDE)


INPUT = seeded_input()


def by_reference(model):
    try:
        return ReferenceEvaluator(model).run(None, {"x": INPUT})[0]
    except Exception as error:  # noqa: BLE001
        return error


def by_runtime(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": INPUT})[0]
    except Exception as error:  # noqa: BLE001
        return error


def later(model):
    """The same network of an operator set in which the reference knows the quantised operators."""
    later = onnx.ModelProto()
    later.CopyFrom(model)
    later.opset_import[0].version = 19
    return later


def difference(a, b):
    if a.shape != b.shape:
        return np.inf
    largest = float(np.abs(a).max(initial=1e-30))
    return float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) / largest
