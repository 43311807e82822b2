"""Runs hardnetd for a while with cameras that fail: `make soak`, or `make soak MINUTES=30`.

Four streams: an RTSP camera served by VLC over UDP, one served by the small server of `reconnects.py` over TCP, a file that
is played again and again, and a test pattern. At random, every 20 s, a camera is killed, frozen, cut off or away for a
while, or the configuration is reloaded. In the last minute nothing happens. Then the program is stopped, and these must
hold: every stream has results again, the numbers of its frames never repeat and add up with `dropped`, the counts of
the log add up, and memory, file descriptors and threads are in the last fifth of the time what they were in the third one.
Before that, faults load their libraries and fill their pools, and the allocator finds its size.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from reconnects import Camera, encode, pictures

ROOT = Path(__file__).resolve().parent.parent

# Shares of the time at which the first figures of memory begin and end and the last ones begin, and seconds without faults
# at the end.
BEGIN, END, LAST, REST_S = 0.4, 0.6, 0.8, 60

# Seconds between two samples of memory, and in which a stream must have results at the end.
SAMPLE_S, ALIVE_S = 2, 20

# Growth of resident memory that counts as a leak.
LEAK_MB = 8

CONFIGURATION = """\
[device]
name = "soak"
stop_timeout_s = 10.0
[inference]
workers = 2
[[stream]]
name = "vlc"
source = "rtsp://127.0.0.1:{vlc}/camera"
stall_timeout_s = 5.0
retry_max_s = 2.0
weight = {weight}
[stream.rtsp]
transport = "udp"
[[stream]]
name = "small"
source = "rtsp://127.0.0.1:{small}/camera"
stall_timeout_s = 5.0
retry_max_s = 2.0
[[stream]]
name = "file"
source = "{file}"
at_end = "loop"
max_fps = 10
[[stream]]
name = "test"
source = "test:ball?size=320x240&fps=10"
"""


class LiveCamera(Camera):
    """Plays its pictures again and again, at 15 a second."""

    def __init__(self, clip):
        self.frozen_until = self.away_until = self.cut = 0
        super().__init__(clip)

    def serve(self, client):
        if time.monotonic() < self.away_until:
            client.close()
        else:
            super().serve(client)

    def play(self, client):
        number, index, cut = 0, 0, self.cut
        while self.cut == cut:
            number = self.send(client, index, number)
            index += 1
            time.sleep(max(1 / 15, self.frozen_until - time.monotonic()))


class Vlc:
    """VLC as a camera."""

    def __init__(self, clip, folder, port):
        self.folder = folder
        program = ["cvlc", "-q", "--no-audio", "--loop", str(clip)]
        program += ["--sout", f"#rtp{{sdp=rtsp://127.0.0.1:{port}/camera}}", "--sout-keep"]
        # VLC does not run as root.
        if os.geteuid() == 0:
            program = ["runuser", "-u", "nobody", "--", *program]
        self.program, self.process = program, None
        self.start()

    def start(self):
        with open(self.folder / "vlc.log", "ab") as log:
            self.process = subprocess.Popen(
                self.program,
                stdout=log,
                stderr=log,
                env=os.environ | {"HOME": str(self.folder)},
                start_new_session=True,
            )

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


class Results:
    """Reads the records and checks their numbers."""

    def __init__(self, process):
        self.count, self.next, self.at, self.wrong = {}, {}, {}, []
        self.thread = threading.Thread(target=self.read, args=(process.stdout,), daemon=True)
        self.thread.start()

    def read(self, lines):
        for line in lines:
            record = json.loads(line)
            stream, seq = record["stream"], record["seq"]
            if seq != self.next.get(stream, 0) + record["dropped"]:
                self.wrong.append(f"{stream}: frame {seq} after {self.next.get(stream)}, dropped {record['dropped']}")
            self.next[stream], self.at[stream] = seq + 1, time.monotonic()
            self.count[stream] = self.count.get(stream, 0) + 1


def sample(pid):
    """Resident memory in MB, file descriptors and threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    of = lambda name: int(re.search(rf"{name}:\s+(\d+)", status)[1])
    return of("VmRSS") / 1024, len(os.listdir(f"/proc/{pid}/fd")), of("Threads")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/hardnetd"))
    parser.add_argument("--minutes", type=float, default=30, help="at least 3 [30]")
    parser.add_argument("--every", type=float, default=20, help="seconds between two faults [20]")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults [the time]")
    parser.add_argument("--model", default="signal")
    options = parser.parse_args()
    if not shutil.which("cvlc"):
        sys.exit("VLC is missing: apt install vlc-bin vlc-plugin-base")
    seconds = max(options.minutes, 3) * 60
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o777)
        encode(folder / "clip.h264", "640x480", 30)
        clip = folder / "clip.mp4"
        text = (
            "videotestsrc pattern=ball num-buffers=250 ! video/x-raw,width=640,height=480,framerate=25/1 "
            f"! x264enc tune=zerolatency key-int-max=25 ! h264parse ! mp4mux ! filesink location={clip}"
        )
        subprocess.run(["gst-launch-1.0", "-q", *text.split()], check=True)
        small = LiveCamera(pictures((folder / "clip.h264").read_bytes()))
        vlc_port = small.port + 1
        vlc = Vlc(clip, folder, vlc_port)
        configuration = folder / "hardnetd.toml"

        def configure(weight):
            configuration.write_text(
                CONFIGURATION.format(vlc=vlc_port, small=small.port, file=clip, weight=weight)
            )

        configure(1)
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [options.program, "run", "-c", str(configuration), "--model", options.model],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        results = Results(process)

        def vlc_killed():
            vlc.kill()
            time.sleep(chance.uniform(0, 10))
            vlc.start()

        def vlc_frozen():
            vlc.signal(signal.SIGSTOP)
            time.sleep(chance.uniform(3, 12))
            vlc.signal(signal.SIGCONT)

        def small_cut():
            small.cut += 1

        def small_frozen():
            small.frozen_until = time.monotonic() + chance.uniform(3, 12)

        def small_away():
            small.away_until = time.monotonic() + chance.uniform(1, 10)
            small.cut += 1

        def reloaded():
            configure(chance.randint(1, 9))
            process.send_signal(signal.SIGHUP)

        faults = [vlc_killed, vlc_frozen, small_cut, small_frozen, small_away, reloaded]
        done = dict.fromkeys((fault.__name__ for fault in faults), 0)
        begun, samples, due = time.monotonic(), [], time.monotonic() + options.every
        try:
            while (now := time.monotonic()) < begun + seconds:
                if process.poll() is not None:
                    sys.exit(f"the program has ended with {process.returncode}\n{(folder / 'log').read_text()[-2000:]}")
                samples.append((now - begun, *sample(process.pid)))
                if now >= due and now < begun + seconds - REST_S:
                    fault = chance.choice(faults)
                    done[fault.__name__] += 1
                    fault()
                    due = now + options.every
                time.sleep(SAMPLE_S)
            stuck = [stream for stream, at in results.at.items() if time.monotonic() - at > ALIVE_S]
            stuck += [stream for stream in ("vlc", "small", "file", "test") if stream not in results.at]
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                status = "none: it did not end within 30 s"
        finally:
            process.kill()
            vlc.kill()
        results.thread.join(timeout=10)
        text = (folder / "log").read_text(errors="replace")
        problems = results.wrong[:5] + [f"{stream} has no results at the end" for stream in stuck]
        print(f"seed {options.seed}, {seconds / 60:.0f} minutes, {sum(done.values())} faults:", end=" ")
        print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in done.items()))
        ended = re.findall(r"stream ended.*", text)
        if len({re.search(r"stream=(\S+)", line)[1] for line in ended}) != 4:
            problems.append("not every stream tells its counts at the end")
        for line in ended:
            counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}
            stream = re.search(r"stream=(\S+)", line)[1]
            total = sum(counts[name] for name in ("classified", "carried", "dropped", "failed"))
            retries = len(re.findall(rf"will be reopened.* stream={stream}\b", text))
            print(f"  {stream:6} {counts['captured']} frames, {counts['classified']} classified, "
                  f"{counts['dropped']} dropped, reopened {retries} times")
            if total != counts["captured"]:
                problems.append(f"{stream}: {line}")
            if counts["classified"] + counts["carried"] != results.count.get(stream):
                problems.append(f"{stream}: {results.count.get(stream)} records of {counts['classified']} results")
        tenths = [[entry[1] for entry in samples if int(entry[0] / seconds * 10) == tenth] for tenth in range(10)]
        print("  MB resident, by tenths of the time: " + " ".join(f"{statistics.median(part):.0f}" for part in tenths))
        first = [entry for entry in samples if BEGIN * seconds <= entry[0] < END * seconds]
        last = [entry for entry in samples if entry[0] >= LAST * seconds]
        for column, (what, allowed) in enumerate((("MB resident", LEAK_MB), ("file descriptors", 2), ("threads", 2)), 1):
            before, after = (statistics.median(entry[column] for entry in part) for part in (first, last))
            most = max(entry[column] for entry in samples)
            print(f"  {what}: {before:.0f} in the third fifth, {after:.0f} in the last, at most {most:.0f}")
            if after - before > allowed:
                problems.append(f"{what}: {before:.0f} became {after:.0f}")
        if status != 0:
            problems.append(f"exit code {status}")
        if "panicked" in text:
            problems.append("a panic")
        if problems:
            keep = Path(tempfile.gettempdir()) / "hardnetd-soak.log"
            keep.write_text(text)
            sys.exit("\n".join(["failed:", *problems, f"the log is in {keep}"]))
        print("  no leak, no stuck stream, the counts add up")


if __name__ == "__main__":
    main()
