"""The protocol of the forecasting benchmark: which data, which split, which origins, which score."""
