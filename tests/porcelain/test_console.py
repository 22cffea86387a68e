"""Bars and words in turn, and options that become settings."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from porcelain.cli.console import Stages
from porcelain.cli.options import build_settings
from porcelain.errors import UserError


class Pot(BaseModel):
    height: Annotated[int, Field(ge=1)] = 20
    rim_width: Annotated[float, Field(gt=0)] = 0.5


def test_bars_and_words_come_one_after_the_other(capsys):
    with Stages() as stages:
        stages.report("Throwing", 1, 3)
        stages.report("Throwing", 3, 3, "dry")
        stages.say("Look at [this]")
        stages.report("Firing", 2, 5)
    told = capsys.readouterr().err
    assert told.index("Throwing") < told.index("Look at [this]") < told.index("Firing")
    assert "3/3" in told
    assert "dry" in told
    assert "2/5" in told


def test_a_mistake_before_the_first_report_leaves_no_bar(capsys):
    with pytest.raises(UserError), Stages():
        raise UserError("No clay.")
    assert capsys.readouterr().err == ""


def test_what_was_not_given_keeps_its_default():
    assert build_settings(Pot, height=None, rim_width=0.7) == Pot(rim_width=0.7)


def test_every_mistake_is_named_at_once_as_its_option():
    with pytest.raises(UserError, match=r"--height: .*; --rim-width: ") as caught:
        build_settings(Pot, height=0, rim_width=-1)
    assert "\n" not in str(caught.value)
