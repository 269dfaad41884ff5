"""Intervals of a forecaster that are corrected by errors it made: conformal and adaptive."""
