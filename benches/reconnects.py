"""What many reconnects of a camera leave behind: `python3 benches/reconnects.py`.

A small built-in RTSP server sends a few pictures and hangs up, and the program reopens it repeatedly. Prints resident memory,
open file descriptors and threads as curves over the number of connections. Each figure is of a number of connections in a
row: the median of the memory, and the least of descriptors and threads, of which a connection has some of its own while it
lasts.

Before and after these connections, a reload takes the camera away and the program rests, for longer than libraries keep
threads that are idle. These two figures have marks: memory grows by less than 5 MB, and descriptors and threads are back
where they were. The exit status is 1 if they are not. The first connections come before all figures: they load libraries.

A set of environment variables given by `--with` can hold glibc's settings (see mallopt(3) and "Memory Allocation Tunables");
several sets take turns, so that other activity on the machine affects all of them.
"""

import argparse
import base64
import os
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# Maximum bytes of a NAL unit per packet.
PACKET = 1400

# Most megabytes by which the memory may grow.
MOST_MB = 5

# Seconds without a reconnect after which a run is aborted.
LIMIT_S = 60

# Seconds of rest. GLib keeps idle threads for 15 s.
REST_S = 20

# What the program plays while it rests.
REST = '[[stream]]\nname = "rest"\nsource = "test:ball?size=64x64&fps=1"\n'


def encode(path, size, frames):
    """An H.264 byte stream in which every picture starts with an access unit delimiter."""
    width, height = size.split("x")
    text = (
        f"videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width={width},height={height},framerate=30/1 "
        f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 aud=true "
        f"! video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline "
        f"! filesink location={path}"
    )
    subprocess.run(["gst-launch-1.0", "-q", *text.split()], check=True)


def pictures(data):
    """The NAL units of every picture."""
    starts = [match.end() for match in re.finditer(b"\0\0\1", data)]
    result = []
    for start, end in zip(starts, starts[1:] + [None]):
        nal = data[start : end and end - 3].rstrip(b"\0")
        if nal[0] & 31 == 9:
            result.append([])
        else:
            result[-1].append(nal)
    return result


def packets(nal):
    """One NAL unit, or its fragments (RFC 6184, 5.6 and 5.8)."""
    if len(nal) <= PACKET:
        return [nal]
    parts = [nal[at : at + PACKET] for at in range(1, len(nal), PACKET)]
    flags = [0x80] + [0] * (len(parts) - 2) + [0x40]
    return [bytes([nal[0] & 0xE0 | 28, flag | nal[0] & 31]) + part for flag, part in zip(flags, parts)]


class Camera:
    """Counts the clients that have received their pictures."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.served = 0
        self.sets = {nal[0] & 31: nal for nal in pictures[0] if nal[0] & 31 in (7, 8)}
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            client, _ = self.socket.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def description(self):
        sets = ",".join(base64.b64encode(self.sets[kind]).decode() for kind in (7, 8))
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            "a=control:track1\r\n"
        )

    def serve(self, client):
        with client, client.makefile("rb") as lines:
            try:
                while True:
                    request = lines.readline().decode(errors="replace").split()
                    if not request:
                        return
                    number = "0"
                    for line in iter(lines.readline, b"\r\n"):
                        name, _, value = line.decode(errors="replace").partition(":")
                        if name.lower() == "cseq":
                            number = value.strip()
                    head = {
                        "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                        "DESCRIBE": "Content-Type: application/sdp\r\n",
                        "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
                    }.get(request[0], "Session: 1\r\n")
                    body = self.description() if request[0] == "DESCRIBE" else ""
                    text = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
                    client.sendall(text.encode())
                    if request[0] == "PLAY":
                        self.play(client)
                        self.served += 1
                        return
            except OSError:
                pass

    def play(self, client):
        number = 0
        for index in range(len(self.pictures)):
            number = self.send(client, index, number)
            time.sleep(0.005)

    def send(self, client, index, number):
        """Sends one picture, from packet `number` on; returns the number of the next packet."""
        picture = self.pictures[index % len(self.pictures)]
        for last, nal in enumerate(picture, 1 - len(picture)):
            parts = packets(nal)
            for more, part in enumerate(parts, 1 - len(parts)):
                marker = 0x80 if last == more == 0 else 0
                rtp = struct.pack(">BBHII", 0x80, marker | 96, number & 0xFFFF, index * 3000 & 0xFFFFFFFF, 7) + part
                client.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
                number += 1
        return number


def resident_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1000


def count(pid, folder):
    return len(os.listdir(f"/proc/{pid}/{folder}"))


def processor_seconds(pid):
    ticks = Path(f"/proc/{pid}/stat").read_text().split(") ")[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Figure(NamedTuple):
    """What the program takes during some connections in a row."""

    connections: int
    memory_mb: float
    descriptors: int
    threads: int


def figure(camera, process, target):
    """Watches the program until that many clients have been served."""
    samples = []
    seen, at = camera.served, time.monotonic()
    while camera.served < target:
        if process.poll() is not None:
            sys.exit(f"the program has ended with {process.returncode}")
        if camera.served != seen:
            seen, at = camera.served, time.monotonic()
        if time.monotonic() - at > LIMIT_S:
            sys.exit(f"no reconnect for {LIMIT_S} s after {seen}")
        samples.append(sample(process.pid))
        time.sleep(0.01)
    memory, descriptors, threads = zip(*samples)
    return Figure(target, statistics.median(memory), min(descriptors), min(threads))


def sample(pid):
    return resident_mb(pid), count(pid, "fd"), count(pid, "task")


def rest(process, config, connections):
    """Takes the cameras away for a while; the figure of that rest."""
    text = config.read_text()
    reload(process, config, REST)
    time.sleep(REST_S)
    samples = []
    for _ in range(100):
        samples.append(sample(process.pid))
        time.sleep(0.01)
    reload(process, config, text)
    return Figure(connections, *map(statistics.median, zip(*samples)))


def reload(process, config, text):
    log = config.with_name("log")
    done = log.read_text(errors="replace").count("reloaded: ")
    config.write_text(text)
    process.send_signal(signal.SIGHUP)
    end = time.monotonic() + LIMIT_S
    while log.read_text(errors="replace").count("reloaded: ") == done:
        if time.monotonic() > end:
            sys.exit("the reload did not come:\n" + log.read_text(errors="replace")[-2000:])
        time.sleep(0.05)


def measure(program, clip, settings, options, folder):
    """The figures before, during and after the connections of one run, and its processor seconds."""
    camera = Camera(clip)
    config = folder / "hardnetd.toml"
    stream = (
        '[[stream]]\nname = "camera-{}"\nsource = "rtsp://127.0.0.1:{}/{}"\n'
        "retry_first_s = 0.1\nretry_max_s = 0.1\nretry_jitter = 0.0\n[stream.rtsp]\nlatency_ms = 0\n"
    )
    config.write_text("".join(stream.format(number, camera.port, number) for number in range(options.streams)))
    environment = os.environ | dict(setting.split("=", 1) for setting in settings.split())
    targets = range(2 * options.every, options.connections + options.every + 1, options.every)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [program, "run", "-c", str(config)], env=environment, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            figure(camera, process, options.every)
            before = rest(process, config, 0)
            figures = [figure(camera, process, target)._replace(connections=target - options.every) for target in targets]
            after = rest(process, config, options.connections)
            return before, figures, after, processor_seconds(process.pid)
        finally:
            process.kill()
            process.wait()
            camera.socket.close()


def bar(value, values, width=30):
    """A point of a curve, as a line of text: from the least to the greatest of all."""
    least, span = min(values), max(values) - min(values)
    return "#" * (1 + round((value - least) / span * (width - 1))) if span else "#"


def show(figures):
    names = ("memory (MB)", "descriptors", "threads")
    columns = list(zip(*figures))[1:]
    print("  connections  " + "".join(f"{name:44}" for name in names))
    for row, (connections, *values) in enumerate(figures):
        cells = (f"{value:8.1f}  {bar(value, column):32}  " for value, column in zip(values, columns))
        print(f"  {connections:11}  " + "".join(cells).rstrip())


def within_marks(first, last):
    """Compares the rest after the connections with the one before; says what is beyond its mark."""
    growth = last.memory_mb - first.memory_mb
    marks = [
        (f"memory: {first.memory_mb:.1f} and {last.memory_mb:.1f} MB, {growth:+.1f} (mark: less than {MOST_MB})",
         growth < MOST_MB),
        (f"descriptors: {first.descriptors:.0f} and {last.descriptors:.0f} (mark: no more)",
         last.descriptors <= first.descriptors),
        (f"threads: {first.threads:.0f} and {last.threads:.0f} (mark: no more)", last.threads <= first.threads),
    ]
    for text, holds in marks:
        print(f"  {'ok  ' if holds else 'MISS'} {text}")
    return all(holds for _, holds in marks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/hardnetd"))
    parser.add_argument("--with", dest="settings", action="append", metavar="NAME=VALUE…", help="a set of variables")
    parser.add_argument("--connections", type=int, default=500, help="connections that count [500]")
    parser.add_argument("--every", type=int, default=100, help="connections in a figure [100]")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1, help="number of cameras that are reopened repeatedly")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=6, help="pictures before the camera hangs up")
    options = parser.parse_args()
    holds = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encode(folder / "clip.h264", options.size, options.frames)
        clip = pictures((folder / "clip.h264").read_bytes())
        for _ in range(options.rounds):
            for settings in options.settings or [""]:
                before, figures, after, seconds = measure(options.program, clip, settings, options, folder)
                print(f"{settings or 'as it is'}: {seconds:.1f} s of processor time")
                show(figures)
                print("  at rest, before and after these connections:")
                holds &= within_marks(before, after)
                sys.stdout.flush()
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
