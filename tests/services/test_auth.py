"""Bearer keys: their file, its hashes, and its changes while a service runs."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

import pytest

from porcelain.cli.main import main
from porcelain.errors import UserError
from services.auth import LOOK_SECONDS, BearerKeys, add_key, new_key
from services.problems import Problem


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def line_of(name: str, key: str) -> str:
    return f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"


def refused(keys: BearerKeys, key: str) -> bool:
    try:
        keys.check(key)
    except Problem as problem:
        challenge = (problem.headers or {})["WWW-Authenticate"]
        return problem.status_code == 401 and challenge.startswith("Bearer")
    return False


def test_each_key_of_the_file_is_admitted_by_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    digest = hashlib.sha256(b"second").hexdigest().upper()
    file.write_text("# ours\n\n" + line_of("museum", "first") + f"  dig\tsha256:{digest}  \n")
    keys = BearerKeys(file)
    assert keys.required
    assert keys.check("first") == "museum"
    assert keys.check(" second ") == "dig"
    hashes = [line.split()[1] for line in file.read_text().splitlines() if "sha256" in line]
    for wrong in ("", " ", "Bearer", "First", "é", *hashes):
        assert refused(keys, wrong)


def test_without_a_file_everyone_may_call() -> None:
    keys = BearerKeys(None)
    assert not keys.required
    assert keys.dependencies == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# none\n", "has no key"),
        ("", "has no key"),
        ("correct-horse-battery-staple\n", "Line 1"),
        ("museum sha256:abc\n", "Line 1"),
        ("\nmuseum md5:" + "a" * 64 + "\n", "Line 2"),
        ("a museum sha256:" + "a" * 64 + "\n", "Line 1"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_without_showing_it(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        BearerKeys(file)
    assert "horse" not in str(error.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        BearerKeys(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        BearerKeys(tmp_path / "binary")


def test_a_changed_file_is_in_force_within_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    file.write_text(line_of("museum", "first"))
    keys = BearerKeys(file, clock)
    file.write_text(line_of("museum", "first") + line_of("dig", "second"))
    clock.now += LOOK_SECONDS
    assert keys.check("second") == "dig"
    file.write_text(line_of("dig", "second"))
    clock.now += LOOK_SECONDS
    assert refused(keys, "first")
    assert keys.check("second") == "dig"


def test_a_secret_that_kubernetes_renews_is_noticed(tmp_path: Path) -> None:
    # As kubelet does it: keys -> ..data/keys, ..data -> a folder, swapped by one rename.
    clock = Clock()
    for name, key in (("1", "first"), ("2", "other")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(line_of("museum", key))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "keys").symlink_to("..data/keys")
    keys = BearerKeys(tmp_path / "keys", clock)
    assert keys.check("first") == "museum"
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    clock.now += LOOK_SECONDS
    assert keys.check("other") == "museum"
    assert refused(keys, "first")


def test_a_broken_new_file_leaves_the_keys_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "keys", Clock()
    file.write_text(line_of("museum", "first"))
    keys = BearerKeys(file, clock)
    for broken in ("a-plain-key-by-mistake\n", None):
        caplog.clear()
        if broken is None:
            file.unlink()
        else:
            file.write_text(broken)
        with caplog.at_level(logging.ERROR, "porcelain"):
            for _ in range(5):
                clock.now += LOOK_SECONDS
                assert keys.check("first") == "museum"
        assert len(caplog.records) == 1
        assert "stay in force" in caplog.text
        assert "mistake" not in caplog.text
    file.write_text(line_of("dig", "second"))
    clock.now += LOOK_SECONDS
    assert keys.check("second") == "dig"


def test_new_keys_are_long_and_never_the_same(tmp_path: Path) -> None:
    made = [new_key("museum") for _ in range(50)]
    assert len({key for key, _ in made}) == 50
    key, line = made[0]
    assert key.startswith("porcelain_")
    assert len(key) > 50
    assert key not in line
    file = tmp_path / "keys"
    add_key(file, line)
    add_key(file, new_key("dig")[1])
    assert BearerKeys(file).check(key) == "museum"
    with pytest.raises(UserError, match="of that name"):
        add_key(file, new_key("dig")[1])
    for bad in ("", "two words", "x" * 65, "a\nb"):
        with pytest.raises(UserError, match="cannot name a key"):
            new_key(bad)


def test_the_command_shows_a_key_once_and_keeps_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    monkeypatch.setattr(sys, "argv", ["porcelain", "serve", "key", "museum", "--add-to", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    key = capsys.readouterr().out.strip()
    assert key not in file.read_text()
    assert BearerKeys(file).check(key) == "museum"
