"""Builds the `lockgate-minilm` wheel (all-MiniLM-L6-v2 as int8 ONNX) without PyTorch: `python -m model.build --help`."""
