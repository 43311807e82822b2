"""What most people write: OpenCV decodes and resizes, ONNX Runtime classifies. peer.py MODEL.onnx VIDEO FRAMES

Prints one line of JSON per frame, as hardnetd does. One inference thread; OpenCV's decoder as it comes.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def main():
    model, video, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    capture = cv2.VideoCapture(video)
    for seq in range(frames):
        read, picture = capture.read()
        if not read:
            sys.exit(f"the video ends after {seq} frames")
        height, width = picture.shape[:2]
        scale = 256 / min(height, width)
        picture = cv2.resize(picture, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA)
        top, left = (picture.shape[0] - 224) // 2, (picture.shape[1] - 224) // 2
        picture = cv2.cvtColor(picture[top:top + 224, left:left + 224], cv2.COLOR_BGR2RGB)
        tensor = ((picture.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]
        (logits,) = session.run(None, {name: np.ascontiguousarray(tensor)})
        scores = np.exp(logits[0] - logits[0].max())
        scores /= scores.sum()
        best = np.argsort(scores)[::-1][:5]
        print(json.dumps({"seq": seq, "top": [{"index": int(i), "score": float(scores[i])} for i in best]}))


if __name__ == "__main__":
    main()
