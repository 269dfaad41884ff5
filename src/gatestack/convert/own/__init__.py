"""Layers of `gatestack.nn` as data, and as layers of a network, so that exports come back as they were."""
