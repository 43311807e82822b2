"""Measures the footprint of hardnetd on this machine: `make footprint`.

Reports the size of the program, the time from its start to the first result, and the memory and CPU time with one live
stream that is classified for a while.
"""

import argparse
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Time limit in seconds for a line, and for the end of the program.
LIMIT_S = 60

# Starts that are not measured: the first creates GStreamer's list of plugins.
WARM_UP_STARTS = 2


class Program:
    """The program with one stream; results are read line by line."""

    def __init__(self, program, model, source, *arguments):
        # Otherwise this machine's configuration would be measured.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HARDNETD_")}
        environment["HARDNETD_LOG"] = "error"
        with tempfile.NamedTemporaryFile(suffix=".toml") as empty:
            self.begun = time.monotonic()
            command = [program, "run", "--config", empty.name, "--model", model, "--source", source]
            self.process = subprocess.Popen([*command, "--sink", "stdout", *arguments], stdout=subprocess.PIPE,
                                            env=environment)
            # The program has read its configuration once there is a result.
            self.line()
            self.first_ms = (time.monotonic() - self.begun) * 1e3

    def line(self):
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            sys.exit(f"no result within {LIMIT_S} s")
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the program ended with {self.process.wait()}")
        return line

    def result(self):
        return json.loads(self.line())

    def status(self, name):
        """A value of /proc/PID/status in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        sys.exit(f"no {name} in /proc/{self.process.pid}/status")

    def processor_s(self):
        """Processor time of all threads so far (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.read()
        return self.process.wait(LIMIT_S)


def first_result_ms(program, model):
    run = Program(program, model, "test:ball?live=false", "--frames", "1")
    run.stop()
    return run.first_ms


def live(program, model, seconds):
    """Memory, processor time, results and drops of a live stream of 30 frames per second."""
    run = Program(program, model, "test:ball")
    begun, processor = time.monotonic(), run.processor_s()
    results = dropped = 0
    while time.monotonic() - begun < seconds:
        dropped += run.result()["dropped"]
        results += 1
    elapsed = time.monotonic() - begun
    figures = {
        "seconds": elapsed,
        "results": results,
        "dropped": dropped,
        "cores": (run.processor_s() - processor) / elapsed,
        "rss_bytes": run.status("VmRSS"),
        "rss_anonymous_bytes": run.status("RssAnon"),
        "rss_peak_bytes": run.status("VmHWM"),
    }
    if code := run.stop():
        sys.exit(f"the program ended with {code}")
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/hardnetd")
    parser.add_argument("--model", default="hardnet39ds")
    parser.add_argument("--starts", type=int, default=15, help="number of starts to measure [15]")
    parser.add_argument("--seconds", type=float, default=20, help="duration of the live stream [20]")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.program.is_file():
        sys.exit(f"no {arguments.program}: make it with `make build`")
    program = str(arguments.program)

    starts = [first_result_ms(program, arguments.model) for _ in range(WARM_UP_STARTS + max(arguments.starts, 1))]
    starts = sorted(starts[WARM_UP_STARTS:])
    report = {
        "schema": "hardnetd.footprint.v1",
        "model": arguments.model,
        "program_bytes": arguments.program.stat().st_size,
        "first_result_ms": {"median": statistics.median(starts), "min": starts[0], "max": starts[-1]},
        "live": live(program, arguments.model, arguments.seconds),
    }
    if arguments.json:
        print(json.dumps(report))
        return
    first, stream = report["first_result_ms"], report["live"]
    print(f"""\
program          {report["program_bytes"] / 1e6:.1f} MB
first result     {first["median"]:.0f} ms after the start ({first["min"]:.0f} to {first["max"]:.0f}, {len(starts)} starts)
resident memory  {stream["rss_bytes"] / 1e6:.1f} MB, {stream["rss_anonymous_bytes"] / 1e6:.1f} MB of it the process's own; \
{stream["rss_peak_bytes"] / 1e6:.1f} MB at most
processor        {stream["cores"] * 100:.0f} % of a core for {stream["results"] / stream["seconds"]:.1f} results/s, \
{stream["dropped"]} frames dropped in {stream["seconds"]:.0f} s""")


if __name__ == "__main__":
    main()
