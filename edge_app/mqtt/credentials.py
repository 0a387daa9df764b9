"""What the broker is shown, and whom it has to be: password, certificates, keys."""

from __future__ import annotations

import ssl

from edge_app.errors import ConfigError
from edge_app.settings import MqttConfig


def password(config: MqttConfig) -> str | None:
    """The first line of `mqtt.password_file`; None without one. ConfigError if there is nothing in it."""
    if config.password_file is None:
        return None
    try:
        lines = config.password_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"mqtt.password_file: {config.password_file} cannot be read ({error})."]) from error
    if not lines or not lines[0].strip():
        raise ConfigError(
            [f"mqtt.password_file: {config.password_file} has nothing in its first line; write the password there."]
        )
    return lines[0]


def tls_context(config: MqttConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer that checks certificate and host name, which a bare SSLContext() would not. ConfigError."""
    try:
        context = ssl.create_default_context(cafile=config.tls_ca_certs)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError([f"mqtt.tls_ca_certs: {config.tls_ca_certs} cannot be used ({error})."]) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.tls_client_cert:
        try:
            # An empty password makes an encrypted key an error; without it OpenSSL would ask on the terminal.
            context.load_cert_chain(config.tls_client_cert, config.tls_client_key, password="")
        except OSError as error:
            pair = f"{config.tls_client_cert} and tls_client_key {config.tls_client_key}"
            raise ConfigError([f"mqtt.tls_client_cert: {pair} cannot be used together ({error})."]) from error
    return context
