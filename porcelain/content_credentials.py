"""Signed content credentials (C2PA): who says that a model made a picture, and that it is intact.

A key and a certificate sign them; without these nothing is signed, and equal requests give equal
bytes. A signed picture's pixels and metadata are the same as of an unsigned one; its manifest has a
random identifier, so that its bytes differ from one signing to the next. Nothing is fetched from a
network: no time stamp, no revocation list, no remote manifest.

Sources: C2PA technical specification 2.2 (actions c2pa.created with digitalSourceType; certificate
profile in 14.5), by c2pa-python.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from porcelain import __version__
from porcelain.demo_certificate import demo_certificate
from porcelain.errors import UserError
from porcelain.image_formats import IMAGE_FORMATS, sniff

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_GENERATED: Final = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
_OFFLINE: Final[dict[str, Any]] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}

CredentialState = Literal["none", "trusted", "valid", "invalid", "unchecked"]
"""`trusted`: intact, by a signer whom the caller trusts; `valid`: intact, by a signer who is not
known; `invalid`: the picture or the credentials were changed; `unchecked`: c2pa-python is not
installed."""


@dataclass(frozen=True)
class Signing:
    """What signs; made by `load_signing`, and sent to other processes as it is.

    Attributes:
        certificate: The chain as PEM, the signer's certificate first.
        key: Its private key as PEM (PKCS #8).
        algorithm: C2PA's name of the key's algorithm.
    """

    certificate: bytes
    key: bytes
    algorithm: str

    def __repr__(self) -> str:
        """Without the key, which belongs in no log."""
        return f"Signing(algorithm={self.algorithm!r})"


@dataclass(frozen=True)
class Credentials:
    """What a picture's content credentials say.

    Attributes:
        state: Whether there are any, and whether they hold.
        synthetic: Whether they say that a model made the picture, or part of it.
        signer: Who signed, as the certificate has it.
        problems: C2PA's codes of what is wrong.
    """

    state: CredentialState
    synthetic: bool = False
    signer: str | None = None
    problems: tuple[str, ...] = ()


def load_signing(
    certificate: Path | None, key: Path | None, demo: Path | None = None
) -> Signing | None:
    """Read the signer's files; None where nothing is given.

    Args:
        certificate: The chain as PEM, the signer's certificate first.
        key: Its private key as PEM, not encrypted.
        demo: A folder with a chain of one's own, made there on first use, in place of the two.

    Raises:
        UserError: One without the other, files that cannot be read, or that cannot sign.
    """
    if find_spec("c2pa") is None and (certificate or key or demo):
        raise UserError("Signing needs c2pa; install it with pip install 'porcelain[credentials]'.")
    if demo is not None:
        if certificate is not None or key is not None:
            raise UserError("Sign with a certificate and key, or with the demo's; not with both.")
        certificate, key = demo_certificate(demo)
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("Signing needs a certificate and a key; give both, or neither.")
    try:
        chain, secret = certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; it is needed to sign.") from error
    signing = Signing(chain, secret, _algorithm(secret, key))
    _signer(signing)
    return signing


def sign_picture(data: bytes, media_type: str, signing: Signing, generator: str) -> bytes:
    """The picture with credentials: made by a trained model, the generator `generator`.

    Args:
        data: The encoded picture.
        media_type: `image/png`, `image/jpeg` or `image/webp`.
        signing: Who signs.
        generator: The digest of what made it.

    Raises:
        UserError: Key and certificate cannot sign; the message says why.
    """
    import c2pa

    action = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": "porcelain", "version": generator},
    }
    manifest = {
        "claim_generator_info": [{"name": "porcelain", "version": __version__}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    signed = io.BytesIO()
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(_OFFLINE))
        builder = c2pa.Builder(manifest, context=context)
        builder.sign(_signer(signing), media_type, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise UserError(
            f"The certificate and key cannot sign content credentials: {error}."
        ) from error
    return signed.getvalue()


def claims_synthetic(data: bytes) -> bool:
    """Whether there are credentials that say so; who signed, and whether they hold, is not asked.

    Searches the content without parsing it, so that it costs little and needs no library.

    Args:
        data: The file's content.
    """
    if b"jumb" not in data or b"c2pa" not in data:
        return False
    return any(f"digitalsourcetype/{word}".encode() in data for word in _GENERATED)


def read_credentials(data: bytes, trusted: bytes | None = None) -> Credentials:
    """What a picture's credentials say, and whether they hold; damaged content never raises.

    Args:
        data: The file's content.
        trusted: Certificates as PEM whose signatures are trusted.
    """
    kind = sniff(data[:256])
    if kind is None or b"jumb" not in data or b"c2pa" not in data:
        return Credentials("none")
    if find_spec("c2pa") is None:
        return Credentials("unchecked", claims_synthetic(data))
    import c2pa

    try:
        media_type = IMAGE_FORMATS[kind].media_type
        with c2pa.Reader(media_type, io.BytesIO(data), context=_context(trusted)) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        if str(error).startswith("ManifestNotFound"):
            return Credentials("none")
        return Credentials("invalid", problems=(str(error).split(":")[0],))
    return _credentials(report)


def _credentials(report: dict[str, Any]) -> Credentials:
    manifests = report.get("manifests", {})
    active = manifests.get(report.get("active_manifest"), {})
    said = json.dumps([manifest.get("assertions", []) for manifest in manifests.values()])
    states: dict[str, CredentialState] = {"Trusted": "trusted", "Valid": "valid"}
    signature = active.get("signature_info", {})
    return Credentials(
        states.get(report.get("validation_state", ""), "invalid"),
        any(f"digitalsourcetype/{word}" in said for word in _GENERATED),
        signature.get("common_name") or signature.get("issuer"),
        tuple(sorted({fault["code"] for fault in report.get("validation_status") or []})),
    )


@cache
def _context(trusted: bytes | None) -> Any:  # noqa: ANN401 - an untyped library's
    import c2pa

    settings = dict(_OFFLINE)
    if trusted is not None:
        settings["trust"] = {"trust_anchors": trusted.decode("ascii", "replace")}
    try:
        return c2pa.Context(c2pa.Settings.from_dict(settings))
    except c2pa.C2paError as error:
        raise UserError(f"The trusted certificates cannot be used: {error}.") from error


def _signer(signing: Signing) -> Any:  # noqa: ANN401 - an untyped library's
    import c2pa

    information = c2pa.C2paSignerInfo(
        signing.algorithm.encode(), signing.certificate, signing.key, None
    )
    try:
        return c2pa.Signer.from_info(information)
    except c2pa.C2paError as error:
        raise UserError(
            f"The certificate and key cannot sign content credentials: {error}."
        ) from error


def _algorithm(secret: bytes, path: Path) -> str:
    """C2PA's name for the algorithm of a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(secret, None)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not an unencrypted private key in PEM (PKCS #8).") from error
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "es256", 384: "es384", 521: "es512"}.get(key.curve.key_size, "es256")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise UserError(f"{path} has a key that C2PA does not sign with; use one on the curve P-256.")
