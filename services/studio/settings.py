"""Settings of the studio."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.settings import PREFIX


class StudioSettings(BaseSettings):
    """The studio's settings; each is read from `PORCELAIN_` + its name in capitals.

    Attributes:
        classifier_url: Where the classifier's service is.
        generator_url: Where the generator's service is.
        classifier_key: Bearer key for the classifier; none where it asks for none.
        generator_key: Bearer key for the generator.
        classifier_key_file: A file with that for the classifier, in place of `classifier_key`.
        generator_key_file: Likewise for the generator.
        studio_hosts: Names by which the studio is reached, separated by commas, beside IP
            addresses and localhost; requests by other names are refused.
        training_pictures: The classifier's dataset folder, to show its pictures where similar ones
            are listed and the bundle holds no copies; they go to whoever opens the page.
        review_folder: Where reviewed pictures are also saved as dataset folders; None offers the
            download alone.
        max_upload_bytes: Most bytes of one picture.
        max_pictures: Most pictures that one open page keeps.
        max_page_bytes: Most bytes of pictures that one open page keeps.
        service_seconds: How long the studio waits for a service's answer.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    classifier_url: str = "http://127.0.0.1:3000"
    generator_url: str = "http://127.0.0.1:3001"
    classifier_key: SecretStr | None = None
    generator_key: SecretStr | None = None
    classifier_key_file: Path | None = None
    generator_key_file: Path | None = None
    studio_hosts: str = ""
    training_pictures: Path | None = None
    review_folder: Path | None = None
    max_upload_bytes: int = Field(64 * 1024 * 1024, ge=1024)
    max_pictures: int = Field(100, ge=1)
    max_page_bytes: int = Field(256 * 1024 * 1024, ge=1024)
    service_seconds: float = Field(300.0, gt=0)

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names in `studio_hosts`."""
        return tuple(name.strip() for name in self.studio_hosts.split(",") if name.strip())

    @field_validator("classifier_url", "generator_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("give an address such as http://127.0.0.1:3000")
        return value.rstrip("/")
