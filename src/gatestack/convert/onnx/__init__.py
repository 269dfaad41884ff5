"""ONNX: graphs out of layers and models, and files checked before anything reads them."""
