"""Every error a user can cause, each with the HTTP status that a service answers."""

from __future__ import annotations

from typing import ClassVar


class PorcelainError(Exception):
    """An error whose message is one clear sentence for the person who caused it.

    The command line prints the message and exits with status 2; a service answers
    `application/problem+json` with `status`.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Porcelain error"


class UserError(PorcelainError):
    """An option, path or combination of them that cannot work."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"


class DatasetError(UserError):
    """A dataset folder that breaks its contract (see `porcelain.dataset`)."""

    title: ClassVar[str] = "Bad dataset folder"


class BundleError(UserError):
    """A bundle that is missing, altered, of another kind, or of an unknown schema."""

    title: ClassVar[str] = "Bad bundle"


class ImageError(PorcelainError):
    """A picture that cannot be used. `reason` is a bounded label for metrics."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "Unusable image"
    reason: ClassVar[str] = "unusable"


class ImageTooLargeError(ImageError):
    """More bytes or pixels than the limits allow."""

    status: ClassVar[int] = 413
    title: ClassVar[str] = "Image too large"
    reason: ClassVar[str] = "too_large"


class UnsupportedImageError(ImageError):
    """Content in none of the formats we read, or in a layout of one that we do not decode."""

    status: ClassVar[int] = 415
    title: ClassVar[str] = "Unsupported image format"
    reason: ClassVar[str] = "unsupported"


class CorruptImageError(ImageError):
    """Content that starts like an image we read and then breaks or ends."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "Corrupt or truncated image"
    reason: ClassVar[str] = "corrupt"
