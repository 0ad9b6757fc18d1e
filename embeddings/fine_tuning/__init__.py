"""Adapts the encoder itself to a catalog's examples. Training needs PyTorch; what comes out is an ordinary encoder directory."""
