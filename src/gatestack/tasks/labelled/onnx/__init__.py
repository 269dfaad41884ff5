"""A fitted classifier or regressor as an ONNX graph: scaling, kernels, network and members inside it."""
