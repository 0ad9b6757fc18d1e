"""all-MiniLM-L6-v2 as int8 ONNX with its tokenizer and digests. Data only; `manifest.json` says where it came from."""

from pathlib import Path

MODEL_DIR = Path(__file__).parent
