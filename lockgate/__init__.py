"""The product's name as an import: `python -m lockgate` is the command line. The code lives in `router`, `embeddings` and `adapters`."""
