"""Models as ONNX files for onnxruntime."""
