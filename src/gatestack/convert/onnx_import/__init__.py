"""ONNX files as networks: `reader.read_onnx`.

`graph.py` keeps what is known of the graph while it is read; `recurrent.py`, `layers.py` and `moves.py` say
what its nodes become.
"""
