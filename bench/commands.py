"""The commands that measure, by name.

Each is a module with these functions:

- ``add_options(parser)`` adds the options of its command line;
- ``measure(run)`` measures, and puts what it finds into ``run.result``;
- ``report(result)`` gives the sections of its report, in Markdown;
- ``goals(result)`` gives every goal that the result says something about;
- ``readme(result)``, if there is one, gives its section of the project's README.
"""

from __future__ import annotations

from types import ModuleType

from bench import trace
from bench.compare import command as compare
from bench.loop import command as loop
from bench.networks import command as networks
from bench.scoring import command as score

COMMANDS: dict[str, ModuleType] = {
    "compare": compare,
    "loop": loop,
    "trace": trace,
    "networks": networks,
    "score": score,
}
