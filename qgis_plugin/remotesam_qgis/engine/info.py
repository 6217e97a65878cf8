"""What is known about the installed engine, kept between sessions so that forms open at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .locate import Engine, ask, check

SNAPSHOT = Path(__file__).with_name("schema.json")
"""Settings of the engine this plugin was released with, used until an engine has answered."""


@dataclass(frozen=True)
class EngineInfo:
    """An engine's answers.

    Attributes:
        doctor: What `doctor --json` says; empty = no engine has been asked yet.
        schema: JSON Schema of its settings.
    """

    doctor: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Version of the engine; empty when none has been asked."""
        return str(self.doctor.get("remotesam", ""))

    @property
    def default_model(self) -> str:
        """The model a run uses when none is named."""
        about = self.schema.get("properties", {}).get("model", {})
        return str(about.get("default") or "nano")

    @property
    def problems(self) -> list[str]:
        """What the engine finds wrong with its installation, each with how to mend it."""
        found = [item for item in self._list("problems") if isinstance(item, Mapping)]
        return [f"{item.get('what', '?')} – {item.get('mend', '')}" for item in found]

    @property
    def models(self) -> list[str]:
        """Names of the models the engine offers, present ones first."""
        listed = [item if isinstance(item, Mapping) else {"name": item} for item in self._list("models")]
        ranked = sorted(listed, key=lambda model: not _present(model))
        names = [str(model["name"]) for model in ranked if model.get("name")]
        return names or [self.default_model]

    @property
    def devices(self) -> list[str]:
        """Names of the devices a model can run on."""
        items = self._list("devices")
        return [str(item.get("name", "?")) if isinstance(item, Mapping) else str(item) for item in items]

    def is_present(self, model: str) -> bool:
        """False when the engine says that a model's file must be fetched first."""
        listed = [item for item in self._list("models") if isinstance(item, Mapping)]
        return all(_present(item) for item in listed if item.get("name") == model)

    def _list(self, key: str) -> list[Any]:
        value = self.doctor.get(key)
        if isinstance(value, Mapping):
            return [
                {"name": name, **(about if isinstance(about, Mapping) else {})}
                for name, about in value.items()
            ]
        return list(value) if isinstance(value, (list, tuple)) else []


def _present(model: Mapping[str, Any]) -> bool:
    return bool(model.get("present", model.get("path", True)))


def fetch(engine: Engine, env: Mapping[str, str]) -> EngineInfo:
    """Ask an engine for its state and its settings.

    Raises:
        EngineError: It does not answer or speaks another protocol.
    """
    return EngineInfo(check(engine, env), ask(engine, ["schema"], env))


def save(info: EngineInfo, cache: Path) -> None:
    """Keep the answers for the next session.

    Raises:
        OSError: The file cannot be written.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps({"doctor": info.doctor, "schema": info.schema}), encoding="utf-8")


def load(cache: Path) -> EngineInfo:
    """The kept answers, or the released schema when there are none."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return EngineInfo(kept["doctor"], kept["schema"])
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the engine will be asked again
        return EngineInfo({}, json.loads(SNAPSHOT.read_text(encoding="utf-8")))
