"""Instants in UTC and the wall clock of a time zone, as whole arrays of datetime64[us]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["UTC_NAMES", "to_utc", "to_wall"]

# Zones whose wall clock is UTC itself.
UTC_NAMES = (None, "UTC", "Etc/UTC", "Z")


def to_wall(times: npt.NDArray[np.datetime64], zone: str | None) -> npt.NDArray[np.datetime64]:
    """Turn instants in UTC into the wall clock of a zone.

    Args:
        times: datetime64[us], any shape.
        zone: an IANA name; None and `UTC` change nothing.

    Returns:
        datetime64[us] of the same shape.

    Example:
        >>> to_wall(np.array(["2024-07-01T12:00"], dtype="datetime64[us]"), "Europe/Berlin")
        array(['2024-07-01T14:00:00.000000'], dtype='datetime64[us]')
    """
    if zone in UTC_NAMES:
        return times
    utc = pl.Series(times.ravel()).dt.replace_time_zone("UTC")
    wall = utc.dt.convert_time_zone(str(zone)).dt.replace_time_zone(None)
    return wall.to_numpy().astype("datetime64[us]").reshape(times.shape)


def to_utc(wall: npt.NDArray[np.datetime64], zone: str | None) -> npt.NDArray[np.datetime64]:
    """Turn a wall clock into instants in UTC.

    An hour that the clock shows twice in autumn is taken as the earlier one; an hour that spring leaves out
    is taken as one hour later.

    Args:
        wall: datetime64[us], any shape.
        zone: an IANA name; None and `UTC` change nothing.

    Returns:
        datetime64[us] of the same shape.

    Example:
        >>> to_utc(np.array(["2024-07-01T14:00"], dtype="datetime64[us]"), "Europe/Berlin")
        array(['2024-07-01T12:00:00.000000'], dtype='datetime64[us]')
    """
    if zone in UTC_NAMES:
        return wall
    flat = wall.ravel()

    def instants(values: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
        series = pl.Series(values).dt.replace_time_zone(str(zone), ambiguous="earliest", non_existent="null")
        return (
            series.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        )

    utc = instants(flat)
    lost = np.isnat(utc)
    if lost.any():
        utc[lost] = instants(flat[lost] + np.timedelta64(1, "h"))
    return utc.reshape(wall.shape)
