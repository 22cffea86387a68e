"""Reading one picture's bytes, from this machine or from an object store."""

from __future__ import annotations

import stat
from functools import cache
from pathlib import Path

import pyarrow.fs

from porcelain.errors import ImageError, ImageTooLargeError, UserError


class MissingImageError(ImageError):
    """Nothing is there."""

    title = "Missing image"
    reason = "missing"


class UnreadableImageError(ImageError):
    """Something is there that cannot be read: no permission, no file, no connection."""

    title = "Unreadable image"
    reason = "unreadable"


def is_url(location: str) -> bool:
    """Whether a location is an object store's or another URL."""
    return "://" in location


@cache
def open_filesystem(url: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system that a URL names, and the path in it.

    Arrow's own clients are used where there is one (s3, gs, abfs, hdfs, file); fsspec's for
    anything else, such as memory. Credentials come from where those look for them.

    Raises:
        UserError: There is no such kind of URL, or its options are wrong.
    """
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(url)
    except pyarrow.ArrowInvalid as error:
        if "Unrecognized filesystem" not in str(error):
            raise UserError(f"{url} cannot be used: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{url} cannot be opened: {_line(error)}") from error
    else:
        return filesystem, path
    import fsspec

    try:
        found, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(f"{url} cannot be opened: {_line(error)}") from error
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(found)), path


def url_of(url: str, path: str) -> str:
    """The location of `path` in the file system that `url` names."""
    return f"{url.partition('://')[0]}://{path}"


class Reader:
    """Reads locations: paths of this machine, and URLs."""

    def __init__(self, root: str | None, max_bytes: int) -> None:
        """Read whole files.

        Args:
            root: The URL that was listed, whose file system its locations are read from; None
                finds each URL's own.
            max_bytes: Most bytes of a file.
        """
        self._root = root
        self._max_bytes = max_bytes

    def read(self, location: str) -> bytes:
        """The content.

        Raises:
            MissingImageError: There is nothing.
            UnreadableImageError: It is not a file, or reading fails.
            ImageTooLargeError: It has more than the most bytes.
        """
        try:
            return self._read_url(location) if is_url(location) else self._read_path(location)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingImageError("There is no such file.") from error
        except (OSError, ValueError, UserError) as error:
            raise UnreadableImageError(f"It cannot be read: {_line(error)}") from error

    def _read_path(self, location: str) -> bytes:
        path = Path(location)
        # A pipe would be waited for without end.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("It is not a file.")
        self._check(status.st_size)
        with path.open("rb") as file:
            return file.read(self._max_bytes + 1)

    def _read_url(self, location: str) -> bytes:
        scheme, _, path = location.partition("://")
        if self._root is not None:
            filesystem = open_filesystem(self._root)[0]
        else:
            # One client per bucket, not per picture.
            bucket = path.partition("/")[0]
            filesystem = open_filesystem(f"{scheme}://{bucket or '/'}")[0]
        with filesystem.open_input_file(path) as file:
            self._check(file.size())
            content: bytes = file.read(self._max_bytes + 1)
        return content

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise ImageTooLargeError(
                f"The picture has {size:,} bytes; at most {self._max_bytes:,} are accepted."
            )


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().partition("\n")[0].rstrip(".") + "."
