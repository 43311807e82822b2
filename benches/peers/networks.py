"""The networks of the comparison in the form of every engine, the input, and the reference values."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

# Time limit for one conversion in seconds.
LIMIT_S = 600


class Unavailable(Exception):
    """Something is not available here; the text says why."""


def call(command, folder):
    """Runs a program in `folder`, and raises Unavailable with the last line of its output if it fails."""
    try:
        outcome = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from error
    if outcome.returncode != 0:
        last = outcome.stdout.strip().splitlines()[-1:] or ["no message"]
        raise Unavailable(f"{Path(command[0]).name} fails with {outcome.returncode}: {last[0]}")


def package(name):
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise Unavailable(f"the package {name} is not installed") from error


def export(program, model, size, folder):
    """Writes the model as ONNX; returns the base name of its files."""
    name = f"{Path(model).stem}-{size[0]}x{size[1]}"
    call([program, "model", "export", model, "--force", "--size", f"{size[0]}x{size[1]}", "--output",
          str(folder / f"{name}.onnx")], ROOT)
    return name


def convert(engine, name, size, folder):
    """Makes the form that `engine` reads, unless it already exists for the same network and converter."""
    converters = {"ncnn": ("pnnx", to_ncnn, f"{name}.ncnn.bin"), "mnn": ("MNN", to_mnn, f"{name}.mnn")}
    if engine not in converters:
        return
    converter, make, product = converters[engine]
    digest = hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()
    source, stamp = f"{digest} {converter} {package(converter)}\n", folder / f"{name}.{engine}.source"
    if stamp.exists() and stamp.read_text() == source and (folder / product).exists():
        return
    make(name, size, folder)
    if not (folder / product).exists():
        raise Unavailable(f"{converter} makes no {product}")
    stamp.write_text(source)


def to_ncnn(name, size, folder):
    # The package's Python part needs PyTorch; the program in it does not.
    program = Path(importlib.util.find_spec("pnnx").submodule_search_locations[0]) / "pnnx"
    (folder / f"{name}.ncnn.bin").unlink(missing_ok=True)
    # fp16=0 keeps the weights unchanged.
    call([str(program), f"{name}.onnx", f"inputshape=[1,3,{size[0]},{size[1]}]", "fp16=0",
          f"ncnnparam={name}.ncnn.param", f"ncnnbin={name}.ncnn.bin"], folder)


def to_mnn(name, _size, folder):
    (folder / f"{name}.mnn").unlink(missing_ok=True)
    program = Path(sys.executable).with_name("mnnconvert")
    call([str(program), "-f", "ONNX", "--modelFile", f"{name}.onnx", "--MNNModel", f"{name}.mnn", "--bizCode",
          "hardnetd"], folder)


def seeded_input(size):
    """The reproducible input of src/weights/seeded.rs, [1, 3, height, width]."""
    name_hash = 0xCBF29CE484222325
    for byte in b"input":
        name_hash = ((name_hash ^ byte) * 0x100000001B3) % 2**64
    z = np.arange(1, 3 * size[0] * size[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(name_hash)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2**24
    return ((2.0 * u - 1.0) * 2.0).astype(np.float32).reshape(1, 3, *size)


def golden_logits(model, size):
    """The reference values for the model at this size, computed in 64-bit floating point; None if there are none."""
    path = ROOT / "tests" / "data" / "golden" / f"{model}.json"
    cases = json.loads(path.read_text())["cases"] if path.exists() else []
    fits = (case["logits"] for case in cases if [case["height"], case["width"]] == list(size))
    return next(fits, None)
