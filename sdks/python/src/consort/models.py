"""The documents of the interface, as the clients take and give them.

For: names in annotations, `isinstance`, and requests that have parts, such as `models.Rate`. Not for: agents.
Invariant: made from the OpenAPI document of the server.
"""

from consort._generated.models import *  # noqa: F403 - the list is generated
from consort._generated.models import __all__  # noqa: F401 - what this module exports
