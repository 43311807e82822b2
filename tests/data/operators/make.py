"""Writes the networks of this folder and the values that they compute: see README.md.

pip install onnx numpy onnxruntime
python make.py            all networks, and expected.json
python make.py resize     prints what computes each network whose name begins like this; writes nothing
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from arithmetic import products, shapes, sums
from arrangements import arrangements, resizes
from evaluators import by_reference, by_runtime, difference, later
from functions import functions, logic, norms, reductions
from network import CASES, Net
from quantised import quantised
from windows import windows

FOLDER = Path(__file__).parent
# Largest difference of both evaluators, of the largest value.
AGREE = 1e-4

# Networks that the two evaluators compute differently, by a part of their names: which of them does what the
# specification says, and what the other one does. The reference is that of onnx 1.23, the runtime onnxruntime 1.32.
DECIDED = {
    "batch_normalization": ("runtime", "the reference updates the statistics before operator set 14, as in training"),
    "hardmax_11_": ("runtime", "the reference takes one axis before operator set 13, too, instead of all from it on"),
    "log_softmax_11_": ("runtime", "the same"),
    "softmax_11_": ("runtime", "the same"),
    "lp_normalization_": ("runtime", "the reference sums the values of the first norm with their signs"),
    "lrn_": ("runtime", "the reference leaves out the last channel of each region"),
    "averagepool_ceil_wide": (
        "runtime",
        "the reference moves the windows that reach over the end, as if there was padding",
    ),
    "maxpool_same_lower_strides": ("runtime", "the reference makes a smaller map"),
    "maxpool_indices": ("runtime", "the reference finds other positions than those of its maxima"),
    "global_max_pool_of_row": ("runtime", "the reference takes the maximum of all channels"),
    "align_corners": ("runtime", "the length of the resized axis is a whole number"),
    "log_softmax_large": ("runtime", "the reference takes the logarithm of zero"),
}


def values_of(name, model):
    """What the network computes, and a problem if that is not certain."""
    reference, runtime = by_reference(model), by_runtime(model)
    if isinstance(reference, Exception) and "DequantizeLinear" in str(reference):
        reference = by_reference(later(model))
    unknown = [isinstance(found, Exception) for found in (reference, runtime)]
    if all(unknown):
        return None, f"neither runs it: {str(reference)[:200]}, {str(runtime)[:200]}"
    if any(unknown):
        print(f"{name}: only by {'reference' if unknown[1] else 'runtime'}")
        return (reference if unknown[1] else runtime), None
    if difference(reference, runtime) <= AGREE:
        return reference, None
    for part, (right, _) in DECIDED.items():
        if part in name:
            return {"reference": reference, "runtime": runtime}[right], None
    return None, f"{difference(reference, runtime)}\n  {reference.ravel()[:12]}\n  {runtime.ravel()[:12]}"


def archive(files, method=zipfile.ZIP_DEFLATED):
    """An archive, the same each time."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, file in files.items():
            archive.writestr(zipfile.ZipInfo(name), file, method, compresslevel=9)
    return written.getvalue()


def main(start=None):
    for add in (functions, sums, logic, reductions, norms, windows, arrangements, resizes, products, shapes, quantised):
        add()
    networks, expected, problems = {}, {}, []
    for name, (opset, build, equal) in sorted(CASES.items()):
        if start is not None and not name.startswith(start):
            continue
        net, known = Net(name, opset), Net(name, max(opset, 22) if equal else opset)
        try:
            known, shape = known.finish((equal or build)(known))
            onnx.checker.check_model(known)
            network, _ = net.finish(build(net), shape)
            values, problem = values_of(name, known)
        except Exception as error:  # noqa: BLE001
            values, problem = None, f"{type(error).__name__}: {str(error)[:300]}"
        if problem is None and (not np.isfinite(values).all() or np.abs(values).max() < 1e-6):
            problem = f"poor values: {values.ravel()[:8]}"
        if problem is not None:
            problems.append(f"{name}: {problem}")
            continue
        networks[name] = network.SerializeToString()
        expected[name] = [float(f"{value:.6g}") for value in np.asarray(values, np.float32).ravel()]
        if start is not None:
            print(name, expected[name])
    for problem in problems:
        print(problem)
    print(len(expected), "of", len(CASES), "networks")
    if start is None and not problems:
        (FOLDER / "networks.zip").write_bytes(archive({"networks": archive(networks, zipfile.ZIP_STORED)}))
        lines = (f' "{name}": {json.dumps(values)}' for name, values in expected.items())
        (FOLDER / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
