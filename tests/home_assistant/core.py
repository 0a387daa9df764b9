"""A real Home Assistant with nothing but its MQTT integration, driven by lines of JSON.

    PYTHON core.py FOLDER BROKER_PORT HTTP_PORT

PYTHON is one that has the package `homeassistant`; nothing of the project's is imported here. Each line of
standard input is a command, answered by a line on standard output:

    {"do": "states"}                                    entity id -> state, attributes
    {"do": "registry"}                                  names of devices, entity id -> unique id, name, category
    {"do": "call", "service": "text.set_value", "data": {...}}
    {"do": "unknown_keys", "payload": {...}}            what the schemas of device discovery would drop
    {"do": "warnings"}                                  what the MQTT integration complains about
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeassistant import auth, bootstrap, config_entries, core, loader
from homeassistant.components.mqtt import schemas
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component


class Warnings(logging.Handler):
    """Keeps what Home Assistant's MQTT integration, and what it renders, complain about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("homeassistant.components", "homeassistant.helpers.template")):
            self.lines.append(f"{record.name}: {record.getMessage()}")


async def start(folder: Path, broker_port: int, http_port: int) -> core.HomeAssistant:
    """A core that is connected to the broker."""
    (folder / "configuration.yaml").touch()
    hass = core.HomeAssistant(str(folder))
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    http = {"server_host": "127.0.0.1", "server_port": http_port}
    for domain, settings in (("homeassistant", {}), ("http", http)):
        if not await async_setup_component(hass, domain, {domain: settings}):
            raise RuntimeError(f"Home Assistant cannot set up {domain}; its log says why.")
    entry = config_entries.ConfigEntry(
        version=1,
        minor_version=2,
        domain="mqtt",
        title="broker",
        source="user",
        unique_id=None,
        options={},
        discovery_keys=MappingProxyType({}),
        subentries_data=None,
        data={"broker": "127.0.0.1", "port": broker_port, "discovery": True},
    )
    await hass.config_entries.async_add(entry)
    await hass.async_start()
    return hass


def unknown_keys(payload: dict[str, Any]) -> list[str]:
    """Keys of components that their schema drops in silence; raises voluptuous.Invalid for what it refuses."""
    schemas.DEVICE_DISCOVERY_SCHEMA(payload)
    shared = {option: payload[option] for option in schemas.SHARED_OPTIONS if option in payload}
    unknown = []
    for key, component in payload["components"].items():
        platform = importlib.import_module(f"homeassistant.components.mqtt.{component['platform']}")
        checked = platform.DISCOVERY_SCHEMA({**shared, "device": payload["device"], **component})
        unknown += [f"{key}: {name}" for name in component.keys() - checked.keys() - {"platform"}]
    return unknown


async def main(folder: Path, broker_port: int, http_port: int) -> None:
    """Start, and answer commands until the input ends."""
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    hass = await start(folder, broker_port, http_port)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        reply: object = None
        match command["do"]:
            case "states":
                states = hass.states.async_all()
                reply = {each.entity_id: {"state": each.state, "attributes": each.attributes} for each in states}
            case "registry":
                devices = device_registry.async_get(hass).devices.values()
                entities = entity_registry.async_get(hass).entities.values()
                reply = {
                    "devices": [device.name for device in devices],
                    "entities": {
                        each.entity_id: [each.unique_id, each.original_name, each.entity_category] for each in entities
                    },
                }
            case "call":
                domain, _, service = command["service"].partition(".")
                await hass.services.async_call(domain, service, command["data"], blocking=True)
            case "unknown_keys":
                reply = unknown_keys(command["payload"])
            case "warnings":
                reply = warnings.lines
        print(json.dumps(reply, default=str), flush=True)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
