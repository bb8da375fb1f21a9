"""`models add`: a user's own model, written down as a card."""

from pathlib import Path

from pydantic import ValidationError

from v2abench import registry
from v2abench.baselines.workers.cards import Card, Timeouts, first_error, write_added
from v2abench.errors import V2ABenchError
from v2abench.models import added_models


def add_model(
    name: str,
    *,
    worker: tuple[str, ...] = (),
    command: tuple[str, ...] = (),
    text: str = "optional",
    licence: str | None = None,
    timeout: float = 1800.0,
    replace: bool = False,
) -> Path:
    """Write the card of a model and return its path; the commands are words, not shell lines.

    Raises `V2ABenchError` for a name that is taken, or a card that is not whole.
    """
    if bool(worker) == bool(command):
        raise V2ABenchError("give either --worker or --command")
    if name in registry.names("models"):
        raise V2ABenchError(f"{name} is a model of v2abench or of a plugin; choose another name")
    if name in added_models() and not replace:
        raise V2ABenchError(f"{name} was added before; replace it with --force, or choose another name")
    kind = "worker" if worker else "command"
    fields: dict[str, object] = {
        "name": name,
        "kind": kind,
        "title": name,
        "summary": f"added: {' '.join(worker or command)}",
        "text": text,
        "timeouts": Timeouts(clip=timeout),
        "command": worker or command,
        "folder": str(Path.cwd()),
    }
    if licence is not None:
        fields["license"] = {"code": licence, "weights": licence, "commercial_use": True}
    try:
        return write_added(Card.model_validate(fields))
    except ValidationError as error:
        raise V2ABenchError(f"models add {name}: {first_error(error)}") from error
