"""The kernel table: cases, workers in turn, answers checked, statistics, aims, pages."""
