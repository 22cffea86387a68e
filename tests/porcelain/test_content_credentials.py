import io
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from porcelain.cli.main import build_app
from porcelain.content_credentials import claims_synthetic, load_signing, read_credentials
from porcelain.demo_certificate import demo_certificate
from porcelain.errors import UserError
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.synthetic_picture import MEDIA_TYPES, Provenance, encode_synthetic, read_provenance
from porcelain.verification import examine
from tests.training.data.folders import encoded, jpeg_of, vessel

pytest.importorskip("c2pa")
PIXELS = np.asarray(vessel(0, 128, 128))
MADE = Provenance("sha256:0", "a bowl", 7, 20, 5.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("signer")


@pytest.fixture(scope="module")
def signing(folder):
    return load_signing(None, None, folder)


@pytest.mark.parametrize("kind", list(MEDIA_TYPES))
def test_a_signed_picture_says_who_made_it_and_is_otherwise_the_same(kind, signing, folder):
    signed, plain = (encode_synthetic(PIXELS, kind, MADE, by) for by in (signing, None))
    read = read_credentials(signed)
    assert (read.state, read.synthetic, read.signer) == ("valid", True, "porcelain demo signer")
    assert read_credentials(signed, (folder / "certificate.pem").read_bytes()).state == "trusted"
    assert claims_synthetic(signed)
    assert is_marked_synthetic(signed)
    assert read_provenance(signed) == MADE
    one, other = (Image.open(io.BytesIO(data)) for data in (signed, plain))
    assert np.array_equal(np.asarray(one), np.asarray(other))
    assert read_credentials(plain).state == "none"
    assert encode_synthetic(PIXELS, kind, MADE) == plain


def test_a_changed_picture_is_told(signing):
    data = bytearray(encode_synthetic(PIXELS, "jpeg", MADE, signing))
    data[-40] ^= 1
    read = read_credentials(bytes(data))
    assert read.state == "invalid"
    assert "assertion.dataHash.mismatch" in read.problems


def test_damage_never_raises(signing):
    whole = encode_synthetic(PIXELS, "png", MADE, signing)
    for end in range(0, len(whole), 997):
        assert read_credentials(whole[:end]).state in ("none", "invalid")


def test_the_demo_certificate_is_made_once_and_its_key_is_private(folder, signing):
    certificate, key = demo_certificate(folder)
    assert certificate.read_bytes() == signing.certificate
    assert key.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in repr(signing).encode()


def test_what_cannot_sign_is_refused(folder, signing, tmp_path):
    certificate, key = demo_certificate(folder)
    (tmp_path / "bad.pem").write_text("nothing")
    for given in (
        (certificate, None),
        (certificate, tmp_path / "none.pem"),
        (certificate, tmp_path / "bad.pem"),
        (certificate, key, folder),
    ):
        with pytest.raises(UserError):
            load_signing(*given)
    assert load_signing(None, None) is None


def test_verify_tells_each_sign_and_ends_with_its_status(tmp_path, signing):
    files = {
        "photograph.jpg": jpeg_of(vessel(1)),
        "made.png": encode_synthetic(PIXELS, "png", MADE, signing),
    }
    files["resaved.jpg"] = jpeg_of(Image.open(io.BytesIO(files["made.png"])), quality=75)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    def run(*names):
        paths = [str(tmp_path / name) for name in names]
        return CliRunner().invoke(build_app(), ["verify", *paths, "--json"])

    assert run("photograph.jpg").exit_code == 0
    result = run(*files)
    assert result.exit_code == 1
    photograph, made, resaved = json.loads(result.stdout)
    assert photograph["evidence"] == []
    assert made["evidence"] == ["metadata", "content credentials", "watermark"]
    assert made["content_credentials"]["state"] == "valid"
    assert resaved["evidence"] == ["watermark"]
    assert resaved["watermark"]["false_alarm"] < 1e-5
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert run("broken.jpg").exit_code == 2
    assert (
        "no mark"
        in CliRunner().invoke(build_app(), ["verify", str(tmp_path / "photograph.jpg")]).stdout
    )


def test_a_plain_picture_tells_nothing():
    found = examine(encoded(vessel(2), "PNG"))
    assert not found.synthetic
    assert found.credentials.state == "none"
