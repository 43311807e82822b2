"""Processor time per frame from a video to results, beside Python with OpenCV and ONNX Runtime: `make bench-pipeline`.

Both programs take turns on the same cores and classify the same frames of one H.264 video with the same network. Each
turn runs a program twice, on few and on many frames; the difference of the two is free of the start. The time counts
all threads. The peak of resident memory is that of the longer run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Frames of the shorter run.
FEW = 30

# Time limit in seconds for one run.
LIMIT_S = 300


def encode(path, size, frames):
    """A picture that moves, as a camera's stream: H.264 main profile, a key frame every 2 s."""
    width, height = size.split("x")
    text = (
        f"videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width={width},height={height},framerate=25/1 "
        f"! x264enc bitrate=4000 speed-preset=veryfast key-int-max=50 bframes=0 ! video/x-h264,profile=main "
        f"! h264parse ! mp4mux ! filesink location={path}"
    )
    subprocess.run(["gst-launch-1.0", "-q", *text.split(" ")], check=True, timeout=LIMIT_S)


def timed(command, frames):
    """Processor seconds, wall seconds and the peak of resident memory in bytes of one run; checks that it has results."""
    with tempfile.TemporaryFile() as out:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.monotonic() - begun
        out.seek(0)
        lines = out.read().splitlines()
        if os.waitstatus_to_exitcode(status) or len(lines) != frames:
            said = process.stderr.read().decode(errors="replace")
            sys.exit(f"{command[0]}: {len(lines)} results of {frames}\n{said}")
    return usage.ru_utime + usage.ru_stime, elapsed, usage.ru_maxrss * 1024, json.loads(lines[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/hardnetd")
    parser.add_argument("--model", default="hardnet39ds")
    parser.add_argument("--size", default="1920x1080", help="columns and rows of the video [1920x1080]")
    parser.add_argument("--frames", type=int, default=300, help="frames that count [300]")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each program [5]")
    arguments = parser.parse_args()
    frames = arguments.frames
    with tempfile.TemporaryDirectory() as folder:
        video, model = f"{folder}/video.mp4", f"{folder}/model.onnx"
        encode(video, arguments.size, FEW + frames)
        subprocess.run([arguments.program, "model", "export", arguments.model, "--output", model], check=True,
                       stdout=subprocess.DEVNULL)
        empty = Path(folder, "empty.toml")
        empty.write_text("")
        ours = [arguments.program, "run", "--config", empty, "--model", arguments.model, "--source", video, "--sink",
                "stdout", "--frames"]
        theirs = [sys.executable, HERE / "peer.py", model, video]
        programs = {"hardnetd": ours, "OpenCV + ONNX Runtime": theirs}
        figures = {name: [] for name in programs}
        for _ in range(arguments.rounds):
            for name, command in programs.items():
                few = timed([*command, str(FEW)], FEW)
                many = timed([*command, str(FEW + frames)], FEW + frames)
                figures[name].append([(many[0] - few[0]) / frames * 1e3, (many[1] - few[1]) / frames * 1e3, many[2]])
                print(f"{name:24} {figures[name][-1][0]:.1f} ms", file=sys.stderr)
    print(f"{arguments.model}, {frames} frames of {arguments.size}, medians of {arguments.rounds} turns\n")
    print(f"{'':24} {'processor ms/frame':>20} {'elapsed ms/frame':>18} {'peak memory MB':>16}")
    medians = {}
    for name, runs in figures.items():
        processor, elapsed, memory = (statistics.median(run[index] for run in runs) for index in range(3))
        medians[name] = processor
        print(f"{name:24} {processor:20.1f} {elapsed:18.1f} {memory / 1e6:16.0f}")
    ratios = [ours[0] / theirs[0] for ours, theirs in zip(*figures.values())]
    print(f"\nratio of processor times, turn by turn: {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
