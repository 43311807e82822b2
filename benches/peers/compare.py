"""Compares hardnetd with other engines on this machine: `make bench-peers`; see README.md next to this file.

Every engine is a separate process, pinned to the same cores and stopped between its turns. In each round every engine
gets a slice of time, in a different order every round.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import networks
from networks import ROOT, Unavailable
from report import markdown

PEERS = ["onnxruntime", "openvino", "ncnn", "mnn", "tract"]
OURS = "hardnetd"
FAMILY = ["hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85"]

# Time limit for an answer in seconds.
LIMIT_S = 300

# Runs of the first slice, which are not measured.
WARM_UP_RUNS = 3

# Maximum difference of a logit from the reference at which an engine still computes the same network.
TOLERANCE = 1e-3


class Worker:
    """An engine in a process that runs in its turns only."""

    def __init__(self, command, cores, log):
        self.log = log
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.rounds = []

    def answer(self):
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise Unavailable(f"no answer within {LIMIT_S} s")
        line = self.process.stdout.readline()
        if not line:
            words = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise Unavailable(f"ended with {self.process.wait()}: {words[0]}")
        return json.loads(line)

    def start(self):
        self.ready = self.answer()
        median = statistics.median(self.slice(WARM_UP_RUNS))
        self.estimate_ms = max(median, 1e-3)

    def slice(self, runs):
        """The milliseconds of each of `runs` runs; the process is stopped afterwards."""
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            # A process that has ended gives no answer; the missing answer is reported.
            self.process.stdin.write(f"run {runs}\n".encode())
            self.process.stdin.flush()
        times = self.answer()["ms"]
        self.process.send_signal(signal.SIGSTOP)
        return times

    def memory_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6

    def end(self):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            # The last data written may never have been read.
            self.process.stdin.close()
        self.process.stdout.close()


def command(engine, model, name, options, paths):
    if engine in (OURS, "tract"):
        backend = "auto" if engine == OURS else "tract"
        size = "x".join(map(str, options.size))
        return [options.program, "bench", "--model", model, "--size", size, "--threads", str(options.threads),
                "--backend", backend, "--slices"]
    networks.package({"mnn": "MNN"}.get(engine, engine))
    networks.convert(engine, name, options.size, paths["models"])
    height, width = map(str, options.size)
    worker = Path(__file__).with_name("worker.py")
    return [sys.executable, "-B", str(worker), engine, str(paths["models"]), name, str(paths["input"]), height, width,
            str(options.threads)]


def leave_out(left_out, engine, model, error):
    print(f"LEFT OUT: {engine} for {model}: {error}", file=sys.stderr)
    left_out[engine] = str(error)


def begin(model, name, options, paths):
    """Workers that are ready, and why others are not."""
    workers, left_out = {}, {}
    for engine in [OURS, *PEERS]:
        if engine == "tract" and OURS in workers and workers[OURS].ready["backend"] == "tract":
            left_out[engine] = "hardnetd runs on tract itself, which is no peer then"
            continue
        print(f"{model}: {engine}", file=sys.stderr)
        worker = None
        try:
            line = command(engine, model, name, options, paths)
            worker = Worker(line, options.cores, paths["logs"] / f"{name}-{engine}.log")
            worker.start()
            workers[engine] = worker
        except (Unavailable, OSError, ValueError) as error:
            leave_out(left_out, engine, model, error)
            if worker:
                worker.end()
        except BaseException:
            for started in [*workers.values(), *filter(None, [worker])]:
                started.end()
            raise
    return workers, left_out


def compare(model, options, paths):
    name = networks.export(options.program, model, options.size, paths["models"])
    workers, left_out = begin(model, name, options, paths)
    try:
        for index in range(options.rounds):
            order = list(workers)
            shift = index % max(len(order), 1)
            for engine in order[shift:] + order[:shift]:
                worker = workers[engine]
                runs = max(1, round(options.slice * 1e3 / worker.estimate_ms))
                try:
                    worker.rounds.append(worker.slice(runs))
                except (Unavailable, OSError, ValueError) as error:
                    workers.pop(engine).end()
                    leave_out(left_out, engine, model, error)
            print(f"{model}: round {index + 1} of {options.rounds}", file=sys.stderr)
        return figures(model, options, workers, left_out)
    finally:
        for worker in workers.values():
            worker.end()


def largest_difference(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def figures(model, options, workers, left_out):
    golden = networks.golden_logits(model, options.size)
    logits = {engine: worker.ready["logits"] for engine, worker in workers.items()}
    if golden is None and OURS in logits:
        golden = logits[OURS]
    engines = {}
    for engine, worker in workers.items():
        times = [time_ms for slice_ms in worker.rounds for time_ms in slice_ms]
        difference = largest_difference(logits[engine], golden) if golden else None
        # NaN is not below the tolerance either.
        same = difference is None or difference <= TOLERANCE
        engines[engine] = {
            "version": worker.ready.get("version") or worker.ready["backend"],
            "median_ms": statistics.median(times),
            "min_ms": min(times),
            "runs": len(times),
            "round_medians_ms": [statistics.median(slice_ms) for slice_ms in worker.rounds],
            "load_ms": worker.ready["load_ms"],
            "peak_memory_mb": worker.memory_mb(),
            "memory_before_loading_mb": worker.ready.get("base_mb"),
            "logits_difference": difference,
            "same_network": same,
        }
    peers = [engine for engine in engines if engine != OURS and engines[engine]["same_network"]]
    result = {"model": model, "engines": engines, "left_out": left_out, "ratio": None,
              "logits_between_engines": max((largest_difference(logits[a], logits[b]) for a in logits for b in logits),
                                            default=None)}
    if OURS in engines and peers:
        ours = engines[OURS]["round_medians_ms"]
        theirs = [min(engines[peer]["round_medians_ms"][index] for peer in peers) for index in range(len(ours))]
        ratios = [a / b for a, b in zip(ours, theirs)]
        result["ratio"] = {"median": statistics.median(ratios), "rounds": ratios}
        for peer in peers:
            pairs = zip(ours, engines[peer]["round_medians_ms"])
            engines[peer]["hardnetd_ratio"] = statistics.median(a / b for a, b in pairs)
    return result


def cpu_model():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, "unknown processor")


def arguments():
    parser = argparse.ArgumentParser(description="Compares hardnetd with other engines on this machine.")
    parser.add_argument("--program", default=str(ROOT / "target" / "release" / "hardnetd"))
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "peers")
    parser.add_argument("--models", default=" ".join(FAMILY), help="names, separated by spaces or commas")
    parser.add_argument("--size", default="224x224", help="rows and columns of the input")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slice", type=float, default=0.5, help="seconds per engine and round")
    parser.add_argument("--core", type=int, help="the first core; --threads of them are used [default: the last ones]")
    options = parser.parse_args()
    options.models = options.models.replace(",", " ").split()
    options.size = [int(side) for side in options.size.split("x")]
    allowed = sorted(os.sched_getaffinity(0))
    if min(options.threads, options.rounds) < 1 or options.threads > len(allowed):
        parser.error(f"threads must be from 1 to {len(allowed)}, and rounds 1 or more")
    core = allowed[-options.threads] if options.core is None else options.core
    options.cores = [other for other in allowed if other >= core][: options.threads]
    if core not in allowed or len(options.cores) < options.threads:
        parser.error(f"there are no {options.threads} cores from {core} on; this process may use {allowed}")
    return options


def main():
    options = arguments()
    paths = {"models": options.output / "models", "logs": options.output / "logs"}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    paths["input"] = options.output / "input.bin"
    networks.seeded_input(options.size).tofile(paths["input"])
    report = {"schema": "hardnetd.peers.v1", "cpu": cpu_model(), "cores": options.cores, "threads": options.threads,
              "size": options.size, "rounds": options.rounds, "slice_s": options.slice,
              "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "models": []}
    for model in options.models:
        try:
            report["models"].append(compare(model, options, paths))
        except Unavailable as error:
            sys.exit(f"{model}: {error}")
        # Results are saved at once, whatever happens to the models that follow.
        (options.output / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.output / "peers.md").write_text(markdown(report))
    print(markdown(report))
    without = [result["model"] for result in report["models"] if OURS not in result["engines"]]
    if without:
        sys.exit(f"hardnetd itself did not take part for {', '.join(without)}")


if __name__ == "__main__":
    main()
