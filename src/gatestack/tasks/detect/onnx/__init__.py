"""A fitted detector as an ONNX graph of one step: a value in, its score and alarm out, state in and out."""
