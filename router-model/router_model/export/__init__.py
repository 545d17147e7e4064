"""An artifact: ONNX graphs, weights, manifest, golden values."""
