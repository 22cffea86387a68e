"""The reference: the same ONNX file behind FastAPI, as a good engineer would write it.

Uvicorn with two workers, uvloop and httptools; a plain `def` endpoint, so that decoding and
inference run in the thread pool beside the event loop; ONNX Runtime with one thread per worker,
since the workers are as many as the cores; only the outputs that are needed; Pillow with the
same letterbox or crop. It decodes at full size, as Pillow does by default.

Run by uvicorn: `uvicorn benchmarks.references.fastapi_app:app --workers 2`, with the bundle's
folder in the environment variable BUNDLE.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from PIL import Image, ImageOps, UnidentifiedImageError

SIDE = 224
LONGEST = {"letterbox": SIDE, "letterbox-crop": 256}

folder = Path(os.environ["BUNDLE"])
info = json.loads((folder / "bundle.json").read_text())["classifier"]
labels: dict[str, list[str]] = info["labels"]
rule: str = info["resize"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    folder / "model.onnx", options, providers=["CPUExecutionProvider"]
)
app = FastAPI()


def load(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode at full size and fit to uint8 [224, 224, 3] as the bundle's rule says."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    longest = LONGEST[rule]
    scale = longest / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    missing = [max(0, SIDE - side) for side in (height, width)]
    margins = [(gap // 2, gap - gap // 2) for gap in missing]
    pixels = np.pad(pixels, (*margins, (0, 0)), mode="edge")
    top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
    return pixels[top : top + SIDE, left : left + SIDE]


def predict(pixels: npt.NDArray[np.uint8], top_k: int) -> dict[str, Any]:
    """Top labels per task."""
    values = session.run(list(labels), {"image": pixels[np.newaxis]})
    answer = {}
    for (task, names), (row,) in zip(labels.items(), values, strict=True):
        best = np.argsort(-row)[:top_k]
        answer[task] = [{"label": names[i], "probability": float(row[i])} for i in best]
    return answer


@app.get("/readyz")
def readyz() -> dict[str, bool]:
    """Whether it answers."""
    return {"ready": True}


@app.post("/v1/classify")
def classify(
    image: Annotated[UploadFile, File()], top_k: Annotated[int, Form()] = 3
) -> dict[str, Any]:
    """Answer one picture."""
    try:
        pixels = load(image.file.read())
    except (UnidentifiedImageError, OSError) as error:
        raise HTTPException(422, "not a picture") from error
    return {"predictions": predict(pixels, top_k)}
