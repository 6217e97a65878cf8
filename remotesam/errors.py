"""Every error a user can meet, as one tree.

```
RemotesamError
├── InputError (ValueError)             the raster or the request holds nothing to work on
├── RasterError (OSError)               the raster cannot be opened or read
├── ConfigError (ValueError)            a setting is unknown, out of range or contradicts another
├── CheckpointError (ValueError)        a model file is corrupt, truncated or of another architecture
├── ModelUnavailableError (OSError)     a model is not on this machine and cannot be fetched
├── DeviceError (RuntimeError)          the requested device is missing or broke down
├── StoreError (OSError)                the run directory cannot be read or written
├── ResumeError (ValueError)            the run directory belongs to another raster, model or setting
├── OutputError (OSError)               the result cannot be written
├── TileError (RuntimeError)            one tile failed; the others are on disk
├── ClusterError (RuntimeError)         the scheduler or a worker is unusable
└── Cancelled                           the user stopped the run; finished tiles are on disk
```

Each message is one line: which file or setting, what is wrong, what to do. The command line prints it and
exits with `exit_code`; nothing else of the program's inner life reaches the user.
"""


class RemotesamError(Exception):
    """Root of all errors raised on purpose; its text is meant for the user."""

    exit_code = 1


class InputError(RemotesamError, ValueError):
    """The raster, extent or request leaves nothing to segment."""


class RasterError(RemotesamError, OSError):
    """The raster cannot be opened or one of its windows cannot be read."""


class ConfigError(RemotesamError, ValueError):
    """A setting is unknown, out of range, or contradicts another setting."""

    exit_code = 2


class CheckpointError(RemotesamError, ValueError):
    """A checkpoint file is corrupt, truncated, or holds another architecture."""


class ModelUnavailableError(RemotesamError, OSError):
    """A named model is not on this machine and cannot be fetched."""


class DeviceError(RemotesamError, RuntimeError):
    """The requested device does not exist or stopped working."""


class StoreError(RemotesamError, OSError):
    """The run directory cannot be read or written."""


class ResumeError(RemotesamError, ValueError):
    """The run directory was made from another raster, model or setting."""


class OutputError(RemotesamError, OSError):
    """The result cannot be written where it was asked for."""


class TileError(RemotesamError, RuntimeError):
    """A tile could not be segmented; the rest of the run is unharmed."""


class ClusterError(RemotesamError, RuntimeError):
    """The Dask scheduler or one of its workers cannot be used."""


class Cancelled(RemotesamError):  # noqa: N818 (what the user wanted is no error)
    """The user asked to stop; everything finished is on disk and can be resumed."""

    exit_code = 3


FATAL = (CheckpointError, ConfigError, DeviceError, ModelUnavailableError, StoreError)
"""Errors that every further tile would meet too: no model, no device, no space."""
