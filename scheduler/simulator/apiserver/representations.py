"""The forms a client may ask for: the object itself, a table, or metadata alone."""

from dataclasses import dataclass
from enum import Enum

from scheduler.simulator.apiserver.errors import ApiError
from scheduler.simulator.apiserver.requests import JSON

_READABLE = ("application/json", "application/*", "*/*", "application/yaml")
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_AVAILABLE = (
    "application/json, application/yaml, application/vnd.kubernetes.protobuf, "
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
)


class Form(Enum):
    """What is made of an object."""

    OBJECT = "object"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Representation:
    """A form, and the media type in which it is written."""

    form: Form
    is_yaml: bool = False

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return "application/yaml" if self.is_yaml else JSON


def negotiate(accept: str) -> Representation:
    """The first form in the header that can be given.

    A client that takes nothing but protobuf gets JSON: those clients read it all the same.

    Raises:
        ApiError: 406: nothing in the header can be given.
    """
    if not accept:
        return Representation(Form.OBJECT)
    for clause in accept.split(","):
        media_type, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        wanted = parameters.get("as", "")
        if media_type not in (*_READABLE, _PROTOBUF):
            continue
        if not wanted:
            return Representation(Form.OBJECT, media_type == "application/yaml")
        is_meta = (parameters.get("g"), parameters.get("v")) == ("meta.k8s.io", "v1")
        if is_meta and wanted in (form.value for form in Form):
            return Representation(Form(wanted), media_type == "application/yaml")
    message = f"406: Not Acceptable\n\nAvailable representations: {_AVAILABLE}"
    raise ApiError(406, message, reason="NotAcceptable", details={})
