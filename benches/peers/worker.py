"""Runs one engine with one network: worker.py ENGINE FOLDER NAME INPUT HEIGHT WIDTH THREADS.

FOLDER has the network as NAME.onnx, NAME.ncnn.param, NAME.ncnn.bin and NAME.mnn; INPUT holds 32-bit floats in the order
[1, 3, HEIGHT, WIDTH]. The protocol is that of `hardnetd bench --slices`: a first line of JSON says what is loaded, and
every line `run N` is answered with {"ms": [...]}. Everything runs in 32-bit floating point. A run is timed from the
input, an array in memory, to the logits, also an array in memory.
"""

import json
import os
import sys
import time
from importlib.metadata import version

import numpy as np


def onnxruntime(path, image, threads):
    import onnxruntime as ort

    yield
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: image}
    yield lambda: session.run(None, feed)[0]


def openvino(path, image, threads):
    import openvino as ov

    yield
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # On processors with bfloat16, that would be the default.
        "INFERENCE_PRECISION_HINT": "f32",
        # The process is already pinned.
        "ENABLE_CPU_PINNING": False,
    }
    request = ov.Core().compile_model(f"{path}.onnx", "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(image, shared_memory=True))

    def run():
        request.infer()
        return request.get_output_tensor().data

    yield run


def ncnn(path, image, threads):
    import ncnn as library

    yield
    net = library.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for kind in ["fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"]:
        if hasattr(net.opt, f"use_{kind}"):
            setattr(net.opt, f"use_{kind}", False)
    for load, ending in [(net.load_param, "param"), (net.load_model, "bin")]:
        if load(f"{path}.ncnn.{ending}") != 0:
            raise RuntimeError(f"cannot load {path}.ncnn.{ending}")
    mat = library.Mat(image[0]).clone()

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", mat)
        code, output = extractor.extract("out0")
        if code != 0:
            raise RuntimeError(f"ncnn fails with {code}")
        return np.array(output)

    yield run


def mnn(path, image, threads):
    import MNN

    yield
    network = MNN.Interpreter(f"{path}.mnn")
    session = network.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})
    target, source = network.getSessionInput(session), network.getSessionOutput(session)
    kind, layout = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    host = MNN.Tensor(image.shape, kind, image, layout)
    shape = source.getShape()
    logits = MNN.Tensor(shape, kind, np.zeros(shape, np.float32), layout)

    def run():
        target.copyFromHostTensor(host)
        if network.runSession(session) != 0:
            raise RuntimeError("MNN fails")
        source.copyToHostTensor(logits)
        return logits.getNumpyData()

    yield run


# Engines and their packages.
ENGINES = {"onnxruntime": (onnxruntime, "onnxruntime"), "openvino": (openvino, "openvino"), "ncnn": (ncnn, "ncnn"),
           "mnn": (mnn, "MNN")}


def resident_mb():
    """The most memory that the process has held so far, in 10^6 bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def main():
    engine, folder, name, image, height, width, threads = sys.argv[1:]
    # Engines may print anything to standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    image = np.fromfile(image, np.float32).reshape(1, 3, int(height), int(width))
    start, package = ENGINES[engine]
    steps = start(os.path.join(folder, name), image, int(threads))
    next(steps)
    base_mb = resident_mb()
    begin = time.perf_counter()
    run = next(steps)
    load_ms = (time.perf_counter() - begin) * 1e3
    logits = np.array(run(), np.float32).reshape(-1).tolist()
    answer({"version": version(package), "base_mb": base_mb, "load_ms": load_ms, "logits": logits})
    for line in sys.stdin:
        command, runs = line.split()
        if command != "run":
            sys.exit(f"unknown command {command}")
        ms = []
        for _ in range(int(runs)):
            begin = time.perf_counter()
            run()
            ms.append((time.perf_counter() - begin) * 1e3)
        answer({"ms": ms})


if __name__ == "__main__":
    main()
