"""Looking into a network: gates, time-scales, gradient flow, the worth of each layer and of each input.

`model.inspect(data)` of an estimator, or of a network that was imported, makes a `Subject` of itself and
gives an `Inspection`. Nothing here knows a task.

Example:
    >>> import numpy as np
    >>> from gatestack import Classifier
    >>> waves = [np.sin(np.arange(20) * (1 + case % 2)) for case in range(24)]
    >>> model = Classifier(layers=1, hidden_size=4, max_steps=5).fit(waves, ["slow", "fast"] * 12)
    >>> found = model.inspect(waves, ["slow", "fast"] * 12)
    >>> sorted(found.tables)[:3]
    ['attributions', 'completeness', 'distributions']
"""

from gatestack.inspect.inspection import Inspection
from gatestack.inspect.run import inspect_subject
from gatestack.inspect.subject import Outcome, Subject, Truth

__all__ = ["Inspection", "Outcome", "Subject", "Truth", "inspect_subject"]
