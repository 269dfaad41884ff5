"""From the end of the fit on, without training: one step at a time, or a table of new rows."""
