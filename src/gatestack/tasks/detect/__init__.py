"""Anomaly detection: from a table of series to alarms that say what, where and how rare.

Example:
    >>> from gatestack.tasks.detect.nab_score import PROFILES
    >>> sorted(PROFILES)
    ['few_false_alarms', 'few_misses', 'standard']
"""
