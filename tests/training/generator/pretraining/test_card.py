"""The commands that make a base again, through every base that it went on from."""

from training.generator.pretraining.report import commands
from training.generator.pretraining.settings import PretrainSettings

SETTINGS = PretrainSettings()
OLD = {
    "data": {"digest": "abc", "training_pictures": 4800},
    "autoencoder": {"steps": 10225, "perceptual_loss": "none"},
    "diffusion": {"steps": 4618},
}
"""What a base has beside it that is older than the decoder's own training."""


def test_a_base_of_old_had_no_training_of_its_decoder_alone() -> None:
    (command,) = commands(SETTINGS, OLD)
    assert "# DATA: 4800 pictures to learn from, SHA-256 abc\n" in command
    assert "--autoencoder-steps 10225 " in command
    assert "--decoder-steps 0 " in command
    assert "--base" not in command


def test_every_base_on_the_way_is_made_first() -> None:
    recipe = "porcelain classifier train --data DATA --out features"
    second = {
        **OLD,
        "autoencoder": {"steps": 0, "perceptual_recipe": recipe},
        "decoder": {"steps": 9000},
        "diffusion": {"steps": 0},
        "start": {
            "name": "first",
            "digests": {"unet/x": "1"},
            "recipe": commands(SETTINGS, OLD),
        },
    }
    made, features, command = commands(SETTINGS, second)
    assert "--out first" in made
    assert features == recipe
    assert "--base first" in command
    assert "--decoder-steps 9000" in command
    assert "--autoencoder-steps" not in command
    third = {**second, "start": {**second["start"], "recipe": [made, features, command]}}
    third["start"]["name"] = "second"
    assert [text.count("classifier train") for text in commands(SETTINGS, third)] == [0, 1, 0, 0]
    assert "--out second" in commands(SETTINGS, third)[2]


def test_an_autoencoder_alone_says_nothing_of_how_it_was_made() -> None:
    borrowed = {**OLD, "start": {"name": "other", "digests": {"vae/x": "1"}, "recipe": []}}
    (command,) = commands(SETTINGS, borrowed)
    assert "--autoencoder other" in command
    assert "--decoder-steps" not in command
