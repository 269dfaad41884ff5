"""Forecasts of series and their totals that add up."""
