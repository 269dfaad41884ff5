"""A fitted forecaster as an ONNX graph: scaling, calendar, network, states and sampled paths inside it."""
