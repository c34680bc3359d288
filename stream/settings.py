"""Every setting, in one frozen model: from the environment (``LIVESEGMENTS_…``) and an optional file.

``livesegments settings`` prints this list; ``docs/settings.md`` is made from it.
"""

from __future__ import annotations

import difflib
import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from schemas.nesting import UNREADABLE, too_deep
from stream.core.config import SECOND, CoreSettings
from stream.core.decode import Limits

#: Seconds; no window of the worker is longer than ten years.
_YEARS = 10 * 365 * 86_400
#: Environment variable that names the settings file.
FILE_VARIABLE = "LIVESEGMENTS_SETTINGS_FILE"
#: A name, an IPv4 or a bracketed IPv6 address; the port is 9092 where there is none.
_SERVER = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+)(?::(\d{1,5}))?", re.ASCII)
#: How alike (of 1) a name is to that of a setting for which it may have been meant.
_NEAR = 0.85
#: Levels of lists and mappings in a settings file; those that we have take four.
_DEEPEST = 20
_REDIS = ("redis://", "rediss://", "unix://")


class SettingsUnusable(Exception):
    """A file that holds settings, or that one names, cannot be used.

    The message says which and why, and quotes nothing of it: it may hold secrets.
    """


class ForeignTopicSettings(BaseModel):
    """How the JSON of one foreign topic becomes our events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: str | None = Field(None, description="Type of all its records, unless a path is mapped to event_type.")
    fields: dict[str, str] = Field(
        description="Dotted path in the record (user.id, items.0.sku) to our field or properties.<name>."
    )
    event_types: dict[str, str] = Field({}, description="Their event types that nobody knows, to ours.")


class Settings(BaseSettings):
    """Settings of all commands. The environment wins over the file, a command line option over both."""

    model_config = SettingsConfigDict(
        env_prefix="LIVESEGMENTS_",
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a secret
    )

    kafka_bootstrap_servers: str = Field("localhost:9092", description="Brokers, host:port separated by commas.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_ssl_cafile: Path | None = Field(None, description="CA certificates (PEM); the system's where unset.")
    kafka_ssl_certfile: Path | None = Field(None, description="Client certificate (PEM) for mutual TLS.")
    kafka_ssl_keyfile: Path | None = Field(None, description="Key of the client certificate (PEM).")
    kafka_ssl_password: SecretStr | None = Field(None, description="Password of that key.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism, where the security protocol has SASL."
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user.")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_idempotence: bool = Field(
        True, description="Idempotent producer. Off only for brokers that do not know it (the embedded one)."
    )
    kafka_compression: Literal["none", "lz4"] = Field(
        "none",
        description="Of what the worker writes. lz4 saves network and disk, and costs a fifth of the throughput.",
    )
    topic_prefix: str = Field("", description="Put before every topic name, for several systems on one cluster.")
    partitions: int = Field(12, ge=1, description="Partitions of the customer log and of all that goes with it.")
    replication_factor: int = Field(1, ge=1, description="Replicas of the topics that `topics create` makes.")
    group: str = Field("livesegments", description="Consumer group of the workers.")
    instance_id: str | None = Field(
        None, description="Stable name of this worker, so that a restart rejoins at once (Kubernetes: the pod name)."
    )
    session_timeout_seconds: float = Field(10.0, gt=0, description="After this silence a worker counts as dead.")
    rebalance_timeout_seconds: float = Field(30.0, gt=0, description="Time a worker has to load new partitions.")

    stall_seconds: float = Field(
        60.0,
        gt=0,
        description="A worker that could read on and for so long does not, or hears nothing of its group, ends itself.",
    )
    fetch_wait_ms: int = Field(
        50, ge=1, description="Longest that a broker holds a fetch when there is nothing new. Embedded broker: 10."
    )
    foreign_topics: dict[str, ForeignTopicSettings] = Field(
        {}, description="Topics that are not in our words, with their mapping into `events` (environment: JSON)."
    )
    tick_seconds: float = Field(
        1.0, ge=0, description="How often a worker writes the time into its partitions; 0: somebody else does."
    )
    checkpoint_seconds: float = Field(5.0, gt=0, description="How often state is written.")
    dedup_hours: float = Field(
        24.0, gt=0, le=_YEARS / 3600, description="An event id is a duplicate for at least this long."
    )
    dedup_content_seconds: float = Field(
        10.0, ge=0, le=_YEARS, description="The same content without an event id is a duplicate for this long."
    )
    rate_limit: int = Field(300, ge=1, description="Events that one customer may have per rate window.")
    rate_window_seconds: float = Field(60.0, gt=0, le=_YEARS, description="Width of the rate window, in log time.")
    clock_skew_seconds: float = Field(
        5.0,
        ge=0,
        le=_YEARS,
        description="Without LogAppendTime: how far ahead of the last tick a timestamp may put the time.",
    )
    future_seconds: float = Field(
        300.0, ge=0, le=_YEARS, description="An event stamped further than this ahead of the log is rejected."
    )
    history_days: int = Field(
        400,
        ge=1,
        description="How far back a segment's window may reach; a longer one is refused when a book is checked.",
    )
    max_event_bytes: int = Field(256 * 1024, ge=1024, description="A larger event is rejected.")

    metrics_port: int = Field(9464, ge=0, le=65535, description="Port of Prometheus; 0: none.")
    metrics_host: str = Field("0.0.0.0", description="Address that Prometheus is served on.")
    destinations: Path = Field(Path("destinations.yaml"), description="Where `deliver` finds its destinations.")
    redis_url: SecretStr | None = Field(
        None,
        description="Redis for what deliverers share: the ledger of what was sent, and the platforms' limits "
        "(redis://host:port/db, rediss://, unix://). Unset: in memory, and there may be one deliverer only.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe log line.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then file. Raises ``SettingsUnusable``."""
        environment = Environment(settings_cls)
        named = os.environ.get(FILE_VARIABLE)
        if not named:
            return init_settings, environment
        return init_settings, environment, InitSettingsSource(settings_cls, _read(Path(named)))

    def core(self) -> CoreSettings:
        """What the core needs to know."""
        return CoreSettings(
            dedup_horizon=round(self.dedup_hours * 3600 * SECOND),
            content_horizon=round(self.dedup_content_seconds * SECOND),
            rate_limit=self.rate_limit,
            rate_width=round(self.rate_window_seconds * SECOND),
            clock_skew=round(self.clock_skew_seconds * SECOND),
            limits=Limits(max_bytes=self.max_event_bytes, future_us=round(self.future_seconds * SECOND)),
        )

    def kafka(self) -> dict[str, Any]:
        """Keyword arguments of any aiokafka client. Holds secrets: never log it.

        Reads the certificate files; raises ``SettingsUnusable`` where they cannot be used.
        """
        client: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in self.kafka_bootstrap_servers.split(",")],
            "security_protocol": self.kafka_security_protocol,
        }
        if self.kafka_security_protocol.endswith("SSL"):
            client["ssl_context"] = self._ssl_context()
        if self.kafka_security_protocol.startswith("SASL"):
            password = self.kafka_sasl_password
            client["sasl_mechanism"] = self.kafka_sasl_mechanism
            client["sasl_plain_username"] = self.kafka_sasl_username
            client["sasl_plain_password"] = password.get_secret_value() if password else None
        return client

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.kafka_ssl_cafile)
        except OSError as error:  # ssl.SSLError among them; it does not say which file
            raise SettingsUnusable(f"kafka_ssl_cafile: {self.kafka_ssl_cafile}: {_why(error)}") from None
        if self.kafka_ssl_certfile:
            password = self.kafka_ssl_password
            try:
                context.load_cert_chain(
                    self.kafka_ssl_certfile,
                    self.kafka_ssl_keyfile,
                    # Without one OpenSSL would ask for it at the terminal.
                    password.get_secret_value() if password else "",
                )
            except OSError as error:
                files = f"{self.kafka_ssl_certfile}, {self.kafka_ssl_keyfile or 'no key file'}"
                raise SettingsUnusable(f"kafka_ssl_certfile, kafka_ssl_keyfile: {files}: {_why(error)}") from None
        return context

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        for server in value.split(","):
            found = _SERVER.fullmatch(server.strip())
            if found is None or not 0 < int(found[2] or 9092) < 65536:
                raise ValueError(f"{server.strip()!r} is no host:port")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(_REDIS):
            raise ValueError(f"no URL of Redis: it begins with {', '.join(_REDIS[:-1])} or {_REDIS[-1]}")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(f"{self.kafka_security_protocol} needs kafka_sasl_username and kafka_sasl_password")
        return self


def unknown_variables(names: Iterable[str]) -> list[tuple[str, str | None]]:
    """Which names of environment variables look like settings and are none, each with the one that it is nearest to."""
    prefix = str(Settings.model_config["env_prefix"])
    known = [prefix + name.upper() for name in Settings.model_fields] + [FILE_VARIABLE]
    found: list[tuple[str, str | None]] = []
    for name in sorted(names):
        upper = name.upper()  # as the settings read them
        near = difflib.get_close_matches(upper, known, 1, _NEAR)
        if upper in known or not (upper.startswith(prefix) or near):
            continue
        found.append((name, near[0] if near else None))
    return found


class Environment(EnvSettingsSource):
    """The environment's variables; pydantic-settings names it where a value of one cannot be read."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON. Raises ``ValueError``, also for what is nested more deeply than Python's reader of JSON goes."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _read(file: Path) -> dict[str, Any]:
    """The settings in a YAML file. A file that is named and not there is a mistake, and not an empty one."""
    try:
        text = file.read_text("utf-8")
        if too_deep(text, _DEEPEST) is not None:
            raise SettingsUnusable(f"{file} is nested too deeply")
        content = yaml.safe_load(text)
    except OSError as error:
        raise SettingsUnusable(f"{file}: {_why(error)}") from None
    except UnicodeDecodeError:
        raise SettingsUnusable(f"{file} is not UTF-8") from None
    except (yaml.YAMLError, RecursionError, *UNREADABLE) as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsUnusable(f"{file} is not YAML" + (f", line {mark.line + 1}" if mark else "")) from None
    if not isinstance(content or {}, dict) or not all(isinstance(name, str) for name in content or {}):
        raise SettingsUnusable(f"{file} does not consist of lines `name: value`")
    return content or {}


def _why(error: OSError) -> str:
    """``SSLError`` has its words in other places than the rest."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
